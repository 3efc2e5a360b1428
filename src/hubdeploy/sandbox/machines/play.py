"""What a simulated machine does from power-on to ready: the boot of each role, as an actor."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubdeploy.config.names import TAG_DEPLOYMENT, TAG_ROLE, Names, Phase, Role
from hubdeploy.sandbox.cloud.fault import AwsFault

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.credentials import Credentials
    from hubdeploy.sandbox.cloud.server import Cloud
    from hubdeploy.sandbox.machines.interface import MachineSpec
    from hubdeploy.sandbox.machines.simulated import Plan

_POLL = 0.03
_TRANSIENT = ("ThrottlingException", "RequestLimitExceeded", "InternalServerError")


class Stopped(Exception):
    """The machine was switched off while it played."""


class Failed(Exception):
    """The machine's own boot failed; the phase parameter says why."""


class Player:
    """One boot of one machine."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        spec: MachineSpec,
        plan: Plan,
        stopping: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self.cloud, self.spec, self.plan = cloud, spec, plan
        self.stopping, self.say = stopping, say
        self.role = spec.tags.get(TAG_ROLE, "")
        self.names = Names(
            deployment=spec.tags.get(TAG_DEPLOYMENT, ""), region=spec.region, account=spec.account
        )
        self.parameters = self.names.parameters
        self._credentials: Credentials | None = None

    def play(self) -> None:
        """To the end, or until the machine is switched off (:class:`Stopped`)."""
        acts: dict[str, Callable[[], None]] = {
            Role.CHEF: self._chef,
            Role.WORKSTATION: self._workstation,
            Role.LEADER: self._leader,
            Role.WORKER: self._worker,
        }
        act = acts.get(self.role)
        if act is None or not self.names.deployment or self.spec.role_name is None:
            self.say("no role for this machine: nothing to do")
            return
        self._credentials = self.cloud.role_credentials(
            self.spec.account, self.spec.role_name, session=self.spec.instance_id
        )
        try:
            self._phase(Phase.BOOTING, "installing the node agent")
            digest = hashlib.sha256(self.spec.instance_id.encode()).hexdigest()
            self._put(
                self.parameters.ssh_host_key(self.spec.instance_id),
                f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{digest[:43]}",
            )
            act()
        except (Failed, AwsFault) as failure:
            self.say(f"boot failed: {failure}")
            self._last_words(str(failure))

    # ---- the roles ---------------------------------------------------------------------------

    def _chef(self) -> None:
        self._release()
        self._phase(Phase.CONFIGURING, "Chef server")
        self._put(self.parameters.chef_validator, self._secret("chef-validator"), secret=True)
        self._put(self.parameters.chef_admin, self._secret("hubdeploy"), secret=True)
        self._put(self.parameters.chef_certificate, "-----BEGIN CERTIFICATE-----\nrehearsal\n")
        self._register("chef")
        self._put_state(
            self.parameters.chef_state,
            url=f"https://{self.names.chef_host}/organizations/hubdeploy",
        )
        self._phase(Phase.READY)

    def _workstation(self) -> None:
        release = self._release()
        self._phase(Phase.WAITING, "the Chef server")
        self._wait_for(self.parameters.chef_state)
        self._phase(Phase.CONFIGURING, "uploading cookbooks")
        self._get(self.parameters.chef_admin)
        self._download(release.get("cookbooks"))
        self._publish(release)
        self._phase(Phase.READY)
        self._watch_release(release)

    def _publish(self, release: dict[str, Any]) -> None:
        digest = (release.get("cookbooks") or {}).get("sha256", "")
        settings = (release.get("settings") or {}).get("sha256", "")
        self._put_state(self.parameters.workstation_state, cookbooks=digest, settings=settings)

    def _watch_release(self, release: dict[str, Any]) -> None:
        """As the workstation's own service does: publish again what changed."""
        while not self.stopping.wait(max(_POLL * 10, self.plan.phase)):
            now = json.loads(self._get(self.parameters.release) or "{}")
            if now != release:
                self._publish(now)
                release = now

    def _leader(self) -> None:
        self._become_node()
        self._phase(Phase.JOINING, "starting the swarm")
        self._put(self.parameters.swarm_token, f"SWMTKN-1-{self.spec.instance_id}", secret=True)
        cluster = hashlib.sha256(self.spec.instance_id.encode()).hexdigest()[:25]
        self._put_state(
            self.parameters.swarm_state, cluster=cluster, address=f"{self.spec.private_ip}:2377"
        )
        self._register("leader")
        self._put_state(
            self.parameters.hub_state,
            url=f"https://{self.names.leader_host}/hub/",
            version="simulated",
        )
        self._phase(Phase.READY)

    def _worker(self) -> None:
        self._become_node()
        self._phase(Phase.JOINING, "the swarm")
        self._wait_for(self.parameters.swarm_state)
        self._get(self.parameters.swarm_token)
        self._phase(Phase.READY)

    def _become_node(self) -> None:
        release = self._release()
        self._phase(Phase.WAITING, "the workstation")
        self._wait_for(self.parameters.workstation_state)
        self._phase(Phase.REGISTERING)
        self._get(self.parameters.chef_validator)
        self._get(self.parameters.chef_certificate)
        if self.plan.names(self.plan.never_joins, self.spec):
            self.stopping.wait()
            raise Stopped
        self._download(release.get("settings"))
        self._phase(Phase.CONVERGING)

    # ---- what they do it with ----------------------------------------------------------------

    def _release(self) -> dict[str, Any]:
        release: dict[str, Any] = json.loads(self._wait_for(self.parameters.release))
        self._download(release.get("wheel"))
        return release

    def _call(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        while True:
            if self.stopping.is_set():
                raise Stopped
            try:
                return self.cloud.invoke(
                    service,
                    operation,
                    params,
                    region=self.spec.region,
                    credentials=self._credentials,
                )
            except AwsFault as fault:
                if fault.code not in _TRANSIENT:
                    raise
            self.stopping.wait(_POLL)

    def _phase(self, phase: Phase, detail: str = "") -> None:
        if phase != Phase.BOOTING and self.stopping.wait(self.plan.phase):
            raise Stopped
        self.say(f"phase {phase} {detail}".rstrip())
        if self.plan.failing_phase(self.spec) == phase:
            raise Failed(f"the simulated machine was told to fail while {phase}")
        self._write_phase(phase, detail)

    def _write_phase(self, phase: Phase, detail: str, log: str = "") -> None:
        value = {"phase": phase, "detail": detail, "at": _now(), "log": log}
        name = self.parameters.phase(Role(self.role), self.spec.instance_id)
        self._put(name, json.dumps(value))

    def _last_words(self, reason: str) -> None:
        try:
            self._write_phase(Phase.FAILED, reason, log=f"{reason}\n")
        except AwsFault as fault:
            # as with a real machine whose role may not even write its phase: the console has it
            self.say(f"cannot write the phase: {fault}")

    def _get(self, name: str) -> str | None:
        try:
            answer = self._call("ssm", "GetParameter", {"Name": name, "WithDecryption": True})
        except AwsFault as fault:
            if fault.code == "ParameterNotFound":
                return None
            raise
        return str(answer["Parameter"]["Value"])

    def _wait_for(self, name: str) -> str:
        while True:
            value = self._get(name)
            if value is not None:
                return value
            if self.stopping.wait(_POLL):
                raise Stopped

    def _put(self, name: str, value: str, *, secret: bool = False) -> None:
        kind = "SecureString" if secret else "String"
        params = {"Name": name, "Value": value, "Type": kind, "Overwrite": True}
        self._call("ssm", "PutParameter", params)

    def _put_state(self, name: str, **facts: str) -> None:
        state = {**facts, "instance": self.spec.instance_id, "at": _now()}
        self._put(name, json.dumps(state))

    def _secret(self, name: str) -> str:
        return json.dumps({"name": name, "key": "rehearsal key, opens nothing"})

    def _download(self, item: dict[str, str] | None) -> None:
        if not item or not item.get("key"):
            return
        params = {"Bucket": self._bucket(), "Key": item["key"]}
        body = self._call("s3", "GetObject", params)["Body"]
        digest = hashlib.sha256(body if isinstance(body, bytes) else body.read()).hexdigest()
        if item.get("sha256") and digest != item["sha256"]:
            raise Failed(f"{item['key']}: the checksum is not the release's")

    def _bucket(self) -> str:
        """As user data says; machines are never told anything else."""
        match = re.search(rb'"bucket":\s*"([^"]+)"', self.spec.user_data)
        return match[1].decode() if match else self.names.bucket

    def _register(self, service: str) -> None:
        namespaces = self._call("servicediscovery", "ListNamespaces", {})["Namespaces"]
        spaces = [one["Id"] for one in namespaces if one["Name"] == self.names.namespace]
        of_ours = {"Filters": [{"Name": "NAMESPACE_ID", "Values": spaces}]}
        services = self._call("servicediscovery", "ListServices", of_ours)["Services"]
        for entry in services:
            if entry["Name"] == service:
                params = {
                    "ServiceId": entry["Id"],
                    "InstanceId": self.spec.instance_id,
                    "Attributes": {"AWS_INSTANCE_IPV4": self.spec.private_ip},
                }
                self._call("servicediscovery", "RegisterInstance", params)
                return
        raise Failed(f"no Cloud Map service {service} in {self.names.namespace}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
