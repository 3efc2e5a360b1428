"""SSM parameters that the pipeline writes; those that machines write are removed with them."""

from __future__ import annotations

import json
import secrets
from functools import partial
from typing import Any

from hubdeploy.config.limits import CHANGED, Limits, LiveChange, carried_over, parameter
from hubdeploy.config.model import Config
from hubdeploy.config.names import Role
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange, differences
from hubdeploy.steps.base import Part, pairs
from hubdeploy.steps.instances import alive
from hubdeploy.steps.leader_parts import keeps_hub

BATCH = 10
"""Parameters that one call reads or deletes."""
DOCTOR_TOKEN = "doctor-token"
"""Hub secret by which the doctor logs in to the hub."""


def limits(config: Config) -> Limits:
    """The fleet's limits that the configuration asks for."""
    workers, most = config.workers, config.limits
    return Limits(
        min_nodes=workers.min_nodes,
        max_nodes=workers.max_nodes,
        headroom=workers.headroom,
        max_cluster_memory=most.max_cluster_memory,
        max_concurrent_users=most.max_concurrent_users,
        max_disk_utilization=most.max_disk_utilization,
        idle_after=workers.idle_after,
        join_deadline=workers.join_deadline,
    )


def live_limits(part: Part[Any]) -> tuple[Limits, dict[str, LiveChange]]:
    """The limits that are to hold, and which of them were changed while the hub ran."""
    return carried_over(limits(part.config), read(part).get(part.names.parameters.limits))


def limits_hold(part: Part[Any]) -> bool:
    """Whether the limits that are to hold did so before this run began."""
    found = parsed(read(part).get(part.names.parameters.limits))
    return bool(found == json.loads(parameter(*live_limits(part))))


def _fields(old: dict[str, Any], new: dict[str, Any]) -> tuple[FieldChange, ...]:
    """What becomes other, and who had made it what it is."""
    marks = old.get(CHANGED) if isinstance(old.get(CHANGED), dict) else {}
    shown = {name: value for name, value in new.items() if name != CHANGED}
    found = []
    for field in differences(old, shown):
        mark = (marks or {}).get(field.name)
        by = f" ({mark['by']}, {mark['at']})" if isinstance(mark, dict) and "by" in mark else ""
        found.append(FieldChange(name=field.name, old=f"{field.old}{by}", new=field.new))
    return tuple(found)


def read(part: Part[Any]) -> dict[str, str]:
    """Values of the parameters that say how the deployment stands, in one call for all steps.

    Secrets are read encrypted: only whether they are there is of interest.
    """
    names = part.names.parameters

    def ask() -> dict[str, str]:
        wanted = [
            names.release,
            names.limits,
            names.chef_state,
            names.workstation_state,
            names.swarm_state,
            names.hub_state,
            names.hub_secret(DOCTOR_TOKEN),
        ]
        for role in (Role.CHEF, Role.WORKSTATION, Role.LEADER):
            wanted += [names.phase(role, item["InstanceId"]) for item in alive(part, role)[:1]]
        answer = part.call("ssm", "get_parameters", Names=wanted[:BATCH])
        return {item["Name"]: item["Value"] for item in answer["Parameters"]}

    return part.ctx.inventory.once("parameters", ask)


def parsed(text: str | None) -> dict[str, Any]:
    """A JSON parameter; empty for none and for what somebody spoiled by hand."""
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def put(part: Part[Any], name: str, value: str, *, resource: str, kind: str = "String") -> None:
    """Write a parameter; tags can only be given to a new one."""
    try:
        part.call(
            "ssm",
            "put_parameter",
            Name=name,
            Value=value,
            Type=kind,
            Tags=pairs(part.tags(resource)),
        )
    except AwsError as error:
        if error.code != "ParameterAlreadyExists":
            raise
        part.call("ssm", "put_parameter", Name=name, Value=value, Type=kind, Overwrite=True)


class Parameters(Part[dict[str, str]]):
    """The fleet's limits and the doctor's token. ``down`` removes all below the root."""

    name = "parameters"
    title = "Parameters"
    needs = ("deployment",)

    def observe(self) -> dict[str, str]:
        return read(self)

    def changes(self, observed: dict[str, str]) -> Changes:
        names = self.names.parameters
        holds, kept = live_limits(self)
        wanted = parameter(holds, kept)
        old = parsed(observed.get(names.limits))
        new = json.loads(wanted)
        if names.limits not in observed:
            yield self.create(
                "parameters.limits",
                "the fleet's limits",
                partial(put, self, names.limits, wanted, resource="parameters.limits"),
                new,
            )
        elif old != new:
            yield self.update(
                "parameters.limits",
                "the fleet's limits",
                partial(put, self, names.limits, wanted, resource="parameters.limits"),
                _fields(old, new),
            )
        if kept:
            yield self._kept(holds, kept)
        doctor = names.hub_secret(DOCTOR_TOKEN)
        if doctor not in observed:
            yield self.create(
                "parameters.doctor", "secret by which the doctor logs in", self._doctor
            )

    def _kept(self, holds: Limits, kept: dict[str, LiveChange]) -> Change:
        told = "; ".join(
            f"{name} is {getattr(holds, name)}, not {change.was}: {change.by}, {change.at}"
            for name, change in kept.items()
        )
        return Change(
            action=Action.KEEP,
            resource="parameters.limits",
            title=f"limits changed while the hub runs ({told})",
            apply=lambda: None,
            reason="the configuration file has not been edited since; another value there, or "
            "`hubdeploy scale`, ends it",
        )

    def _doctor(self) -> None:
        put(
            self,
            self.names.parameters.hub_secret(DOCTOR_TOKEN),
            secrets.token_hex(32),
            resource="parameters.doctor",
            kind="SecureString",
        )

    def destroy(self, observed: dict[str, str]) -> Changes:
        del observed
        found = [
            item["Name"]
            for item in self.ctx.aws.pages(
                "ssm",
                "get_parameters_by_path",
                "Parameters",
                Path=self.names.parameters.root,
                Recursive=True,
            )
            # held by this very run, which gives it back at its end
            if item["Name"] != self.names.parameters.lock
        ]
        if keeps_hub(self.ctx):
            kept = [name for name in found if self.names.parameters.is_kept(name)]
            found = [name for name in found if name not in kept]
            if kept:
                yield Change(
                    action=Action.KEEP,
                    resource="parameters.secrets",
                    title=f"{len(kept)} secrets of the hub",
                    apply=lambda: None,
                )
        if found:
            yield self.delete("parameters", f"{len(found)} parameters", partial(self._end, found))

    def _end(self, found: list[str]) -> None:
        for start in range(0, len(found), BATCH):
            # those that are gone already come back as invalid, which is no error
            self.call("ssm", "delete_parameters", Names=found[start : start + BATCH])
