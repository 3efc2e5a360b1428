"""AWS as the machines use it: parameters, objects, and clients of the machine's own role."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubdeploy.errors import AwsError
from hubdeploy.node.machine import Machine

log = logging.getLogger(__name__)

_ATTEMPTS = 10
"""Many machines boot at once and PutParameter takes three calls a second: throttling is normal."""
_METADATA_ATTEMPTS = 5
_METADATA_SECONDS = 5
"""For one attempt at the credentials of the profile."""


@dataclass(kw_only=True)
class Cloud:
    """One machine's view of AWS. Region from ``machine.json``, credentials from its profile.

    ``AWS_ENDPOINT_URL`` is honoured by boto3 itself. May be shared between threads.
    """

    machine: Machine
    _session: Any = field(default=None, repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def client(self, service: str) -> Any:
        """The shared client of a service."""
        import boto3
        import botocore.session
        from botocore.config import Config

        with self._lock:  # clients may be shared between threads, their making may not
            if self._session is None:
                core = botocore.session.get_session()
                # one attempt of a second is the default: a busy machine would have no credentials
                core.set_config_variable("metadata_service_num_attempts", _METADATA_ATTEMPTS)
                core.set_config_variable("metadata_service_timeout", _METADATA_SECONDS)
                self._session = boto3.session.Session(
                    botocore_session=core, region_name=self.machine.region
                )
            if service not in self._clients:
                self._clients[service] = self._session.client(
                    service,
                    config=Config(
                        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                        connect_timeout=10,
                        read_timeout=60,
                        # another endpoint does not resolve Cloud Map's host prefix
                        inject_host_prefix=not os.environ.get("AWS_ENDPOINT_URL"),
                    ),
                )
            return self._clients[service]

    def call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """One call.

        Raises:
            AwsError: AWS refused, or was not reached.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**params)
        except ClientError as error:
            said = error.response.get("Error", {})
            code = str(said.get("Code", ""))
            raise AwsError(
                f"{service} {operation}: {code}: {said.get('Message', '')}",
                hint=f"may the role of this {self.machine.role} do it? hubdeploy doctor tells"
                if "Denied" in code or "Unauthorized" in code
                else "",
                code=code,
                operation=operation,
            ) from error
        except BotoCoreError as error:
            raise AwsError(
                f"{service} {operation}: {error}",
                hint="is there a route to AWS, and has the instance its profile?",
                code=type(error).__name__,
                operation=operation,
            ) from error
        return answer

    # ---------------------------------------------------------------- parameters

    def parameter(self, name: str) -> str | None:
        """Value of an SSM parameter, decrypted; None where there is none."""
        try:
            answer = self.call("ssm", "get_parameter", Name=name, WithDecryption=True)
        except AwsError as error:
            if error.code == "ParameterNotFound":
                return None
            raise
        return str(answer["Parameter"]["Value"])

    def parameter_json(self, name: str) -> dict[str, Any] | None:
        """A parameter that holds a JSON object; None where there is none (or no object yet)."""
        value = self.parameter(name)
        if value is None:
            return None
        try:
            data = json.loads(value)
        except ValueError:
            log.warning("parameter %s holds no JSON", name)
            return None
        return data if isinstance(data, dict) else None

    def put_parameter(
        self, name: str, value: str, *, secret: bool = False, overwrite: bool = True
    ) -> bool:
        """Write a parameter. Without ``overwrite``: False if there is one already."""
        try:
            self.call(
                "ssm",
                "put_parameter",
                Name=name,
                Value=value,
                Type="SecureString" if secret else "String",
                Overwrite=overwrite,
            )
        except AwsError as error:
            if error.code == "ParameterAlreadyExists" and not overwrite:
                return False
            raise
        return True

    def parameters_below(self, path: str) -> dict[str, str]:
        """All parameters directly below a path, decrypted: last part of the name -> value."""
        found: dict[str, str] = {}
        token: dict[str, str] = {}
        while True:
            answer = self.call(
                "ssm", "get_parameters_by_path", Path=path, WithDecryption=True, **token
            )
            for one in answer["Parameters"]:
                found[one["Name"].rsplit("/", 1)[1]] = one["Value"]
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}

    # ------------------------------------------------------------------- objects

    def object(self, key: str) -> bytes | None:
        """An object of the deployment's bucket; None where there is none."""
        try:
            answer = self.call("s3", "get_object", Bucket=self.machine.bucket, Key=key)
        except AwsError as error:
            if error.code in ("NoSuchKey", "404"):
                return None
            raise
        body: bytes = answer["Body"].read()
        return body

    def optional(self, key: str) -> bytes | None:
        """As :meth:`object`, asking first whether it is there.

        S3 answers 403 rather than 404 to who may not list the whole bucket.
        """
        return self.object(key) if key in self.keys_below(key) else None

    def artifact(self, key: str, *, sha256: str) -> bytes:
        """An object that the release names, its digest checked.

        Raises:
            AwsError: not there, or other content than the release says.
        """
        body = self.object(key)
        if body is None:
            raise AwsError(
                f"s3://{self.machine.bucket}/{key} is missing",
                hint="hubdeploy up stores it again",
                code="NoSuchKey",
            )
        if hashlib.sha256(body).hexdigest() != sha256:
            raise AwsError(
                f"s3://{self.machine.bucket}/{key} does not have the release's checksum",
                hint="hubdeploy up stores it again; look who else writes to the bucket",
                code="ChecksumMismatch",
            )
        return body

    def put_object(self, key: str, body: bytes, *, overwrite: bool = True) -> bool:
        """Write an object. Without ``overwrite``: False if there is one already."""
        once = {} if overwrite else {"IfNoneMatch": "*"}
        try:
            self.call("s3", "put_object", Bucket=self.machine.bucket, Key=key, Body=body, **once)
        except AwsError as error:
            # the second: another writes it at this moment
            if error.code in ("PreconditionFailed", "ConditionalRequestConflict") and once:
                return False
            raise
        return True

    def download(self, key: str, path: Path) -> bool:
        """Stream a big object into a file; False where there is none."""
        try:
            answer = self.call("s3", "get_object", Bucket=self.machine.bucket, Key=key)
        except AwsError as error:
            if error.code in ("NoSuchKey", "404"):
                return False
            raise
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            for block in answer["Body"].iter_chunks(1 << 20):
                file.write(block)
        part.replace(path)
        return True

    def upload(self, path: Path, key: str) -> None:
        """Stream a big file into the bucket."""
        with path.open("rb") as file:
            self.call("s3", "put_object", Bucket=self.machine.bucket, Key=key, Body=file)

    def keys_below(self, prefix: str) -> list[str]:
        """Keys that begin so, sorted."""
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = self.call(
                "s3", "list_objects_v2", Bucket=self.machine.bucket, Prefix=prefix, **token
            )
            found += [one["Key"] for one in answer.get("Contents", [])]
            if not answer.get("IsTruncated"):
                return sorted(found)
            token = {"ContinuationToken": answer["NextContinuationToken"]}
