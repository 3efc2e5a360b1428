"""The release: which wheel, cookbooks and settings the machines are to run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import hubdeploy
from hubdeploy.config.limits import Limits
from hubdeploy.config.model import Config
from hubdeploy.config.names import Key, Names
from hubdeploy.config.settings import Settings, encode
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange, differences
from hubdeploy.pipeline.step import Outputs
from hubdeploy.steps import wording
from hubdeploy.steps.artifacts import Artifact, stored, upload
from hubdeploy.steps.base import Part
from hubdeploy.steps.logs import UNITS
from hubdeploy.steps.parameters import limits_hold, parsed, put, read

LIMITS = {
    f"{section}.{field.name}" for section in ("limits", "workers") for field in fields(Limits)
}
"""Settings of the machines that are limits."""
CHEF_ORGANISATION = "hubdeploy"
WAITS = ("chef_server", "workstation", "leader", "hub")
"""What machines wait for."""
_PRIVATE = frozenset({"chef_licence_id"})
"""Settings that a plan, which may go into a log, does not show."""


def chef_url(config: Config, names: Names) -> str:
    """Where Chef clients go; goiardi knows no organisations."""
    if config.chef.distribution == "goiardi":
        return f"https://{names.chef_host}"
    return f"https://{names.chef_host}/organizations/{CHEF_ORGANISATION}"


def settings(config: Config, names: Names, outputs: Outputs) -> Settings:
    """What the machines are told; pure but for the ids of what was made."""
    chef, workers, tls = config.chef, config.workers, config.tls
    host = config.hub_host or str(outputs["address.ip"])
    file_system = str(outputs["file_system"])
    return Settings(
        deployment=names.deployment,
        region=names.region,
        account=names.account,
        bucket=names.bucket,
        namespace=names.namespace,
        chef_url=chef_url(config, names),
        chef_distribution=chef.distribution,
        chef_licence_id=chef.licence_id or "",
        chef_server_version=chef.server_version,
        chef_server_sha256=chef.server_sha256 or "",
        client_version=chef.client_version,
        client_sha256=chef.client_sha256 or "",
        converge_every=chef.converge_every,
        hub_host=host,
        hub_url=f"https://{host}/hub/login",
        vpc_cidr=config.network.cidr,
        docker_pool=config.network.docker_pool,
        registry=names.registry,
        repository=names.repository,
        efs={
            "file_system": file_system,
            "access_point": str(outputs["access_point"]),
            "dns_name": names.dns_efs(file_system),
            "tls": config.storage.tls,
        },
        tls={
            # an authority certifies names, not addresses
            "kind": tls.kind if config.domain else "self-signed",
            "email": tls.email or "",
            "challenge": tls.challenge,
            "staging": tls.staging,
            "zone": str(outputs["zone"]),
        },
        hub=config.hub.model_dump(mode="python"),
        limits=config.limits.model_dump(mode="python"),
        workers={
            "instance_types": list(workers.instance_types),
            "profile_types": config.profile_types,
            "min_nodes": workers.min_nodes,
            "max_nodes": workers.max_nodes,
            "headroom": workers.headroom,
            "idle_after": workers.idle_after,
            "join_deadline": workers.join_deadline,
        },
        waits={name: getattr(config.waits, name) for name in WAITS},
        state_volume=str(outputs["volume"]),
        log_groups={unit: names.log_group(unit) for unit in UNITS},
    )


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Key paths and texts of a nested object, for comparing two."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from flat(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for number, item in enumerate(value, 1):
            yield from flat(item, f"{path}[{item.get('name', number)}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _worded(field: FieldChange) -> FieldChange:
    if field.name in _PRIVATE:
        return FieldChange(name=field.name, new="another value")
    return FieldChange(
        name=field.name,
        old=wording.value(field.name, field.old),
        new=wording.value(field.name, field.new),
    )


class Release(Part[dict[str, Any]]):
    """Written after all that it names is there; machines read it and nothing else."""

    name = "release"
    title = "Release"
    needs = (
        "artifacts",
        "files.system",
        "leader.volume",
        "leader.address",
        "dns.zone",
        "parameters",
    )

    def observe(self) -> dict[str, Any]:
        return {
            "release": parsed(read(self).get(self.names.parameters.release)),
            "stored": self.ctx.inventory.once("artifacts", partial(stored, self)),
        }

    def changes(self, observed: dict[str, Any]) -> Changes:
        body, sha256 = encode(settings(self.config, self.names, self.outputs))
        artifact = Artifact(
            what="settings", key=f"{Key.SETTINGS}/{sha256}.json", sha256=sha256, data=body
        )
        old = observed["release"]
        reference = artifact.reference
        if self._only_limits_differ(old, artifact):
            reference = old["settings"]
        elif artifact.key not in observed["stored"]:
            yield self.create(
                "release.settings",
                "upload the machines' settings",
                partial(upload, self, artifact),
                {"sha256": sha256[:12]},
            )
        wanted = {
            **self.outputs["artifacts"],
            "settings": reference,
            "version": hubdeploy.__version__,
        }
        self.outputs["release"] = wanted
        if old != wanted:
            text = json.dumps(wanted, sort_keys=True)
            apply = partial(put, self, self.names.parameters.release, text, resource="release")
            if not old:
                yield self.create("release", "release for the machines", apply)
            else:
                yield self.update(
                    "release", "release for the machines", apply, self._fields(old, wanted, body)
                )

    def _only_limits_differ(self, old: dict[str, Any], wanted: Artifact) -> bool:
        """Whether the machines' settings are as they should be but for limits that hold already.

        The hub follows the limits' parameter, and its configuration has them only as they were
        when it was written: after `hubdeploy scale` there is nothing to tell the machines.
        """
        if not old.get("settings") or not limits_hold(self):
            return False
        key = str(old["settings"].get("key"))
        if key == wanted.key:
            return False
        before, after = self._stored_settings(key), dict(flat(json.loads(wanted.data)))
        changed = {name for name in before | after if before.get(name) != after.get(name)}
        return bool(before) and changed <= LIMITS

    def _fields(
        self, old: dict[str, Any], new: dict[str, Any], body: bytes
    ) -> tuple[FieldChange, ...]:
        """Which settings changed, read from the settings that stand; else which artifacts."""
        found = []
        for name in ("version", "wheel", "cookbooks"):
            before, after = old.get(name, ""), new[name]
            if isinstance(after, dict):
                before = dict(before or {}).get("sha256", "")[:12]
                after = after["sha256"][:12]
            if before != after:
                found.append(FieldChange(name=name, old=str(before), new=str(after)))
        if old.get("settings") != new["settings"]:
            before_settings = self._stored_settings(str(dict(old.get("settings", {})).get("key")))
            found += map(_worded, differences(before_settings, dict(flat(json.loads(body)))))
        return tuple(found)

    def _stored_settings(self, key: str) -> dict[str, str]:
        try:
            answer = self.call("s3", "get_object", Bucket=self.names.bucket, Key=key)
            return dict(flat(json.loads(answer["Body"].read())))
        except AwsError as error:
            # removed by hand: the release is written anew, just without a comparison
            if error.code not in ("NoSuchKey", "NoSuchBucket"):
                raise
            return {}
