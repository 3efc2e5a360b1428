"""IAM: a role and an instance profile for each kind of machine, with its own inline policy."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config.names import TAG_DEPLOYMENT, Role
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps import policies
from hubdeploy.steps.base import MISSING, Part, pairs

POLICY = "hubdeploy"
"""Name of the inline policy."""


class Iam(Part[dict[str, dict[str, Any]]]):
    """Roles by kind of machine; what is there besides the inline policy is reported as drift."""

    name = "iam"
    title = "Roles"
    needs = ("deployment", "leader.volume", "files.system", "dns.zone")

    def observe(self) -> dict[str, dict[str, Any]]:
        return {role: self._read(self.names.machine_role(role)) for role in Role}

    def _read(self, name: str) -> dict[str, Any]:
        role = self._get("get_role", "Role", RoleName=name)
        profile = self._get("get_instance_profile", "InstanceProfile", InstanceProfileName=name)
        if role is None:
            return {"role": None, "profile": profile, "policy": None, "attached": []}
        document = self._get("get_role_policy", "PolicyDocument", RoleName=name, PolicyName=POLICY)
        attached = self._get("list_attached_role_policies", "AttachedPolicies", RoleName=name)
        return {
            "role": role,
            "profile": profile,
            "policy": json.loads(document) if isinstance(document, str) else document,
            "attached": [item["PolicyArn"] for item in attached or []],
        }

    def _get(self, operation: str, key: str, **params: str) -> Any:
        try:
            return self.call("iam", operation, **params)[key]
        except AwsError as error:
            if error.code == "NoSuchEntity":
                return None
            raise

    def changes(self, observed: dict[str, dict[str, Any]]) -> Changes:
        for role in Role:
            self._refuse_strangers(role, observed[role])
            yield from self._role(role, observed[role])
            yield from self._policies(role, observed[role])
            yield from self._profile(role, observed[role])

    def _refuse_strangers(self, role: Role, seen: dict[str, Any]) -> None:
        """A role of this name that is not ours must not be given rights."""
        if seen["role"] is None:
            return
        owner = tags_of(seen["role"]).get(TAG_DEPLOYMENT)
        if owner != self.names.deployment:
            raise AwsError(
                f"the IAM role {self.names.machine_role(role)} exists and is not this deployment's",
                hint="choose another name for the deployment, or delete that role",
                code="EntityAlreadyExists",
                operation="create_role",
            )

    def _role(self, role: Role, seen: dict[str, Any]) -> Changes:
        name, resource = self.names.machine_role(role), f"iam.{role}"
        trust, boundary = policies.trust(), self.config.permissions_boundary
        if seen["role"] is None:
            yield self.create(
                resource,
                f"role {name}",
                partial(self._create_role, name, resource),
                {"boundary": boundary} if boundary else {},
            )
            return
        yield from self.retag(
            tags_of(seen["role"]),
            self.tags(resource),
            lambda new: self.settle("iam", "tag_role", RoleName=name, Tags=pairs(new)),
        )
        old_trust = seen["role"].get("AssumeRolePolicyDocument")
        if (json.loads(old_trust) if isinstance(old_trust, str) else old_trust) != trust:
            yield self.update(
                resource,
                f"who may take the role {name}",
                partial(
                    self.settle,
                    "iam",
                    "update_assume_role_policy",
                    RoleName=name,
                    PolicyDocument=json.dumps(trust),
                ),
            )
        old = seen["role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        if old != boundary:
            how = (
                partial(
                    self.settle,
                    "iam",
                    "put_role_permissions_boundary",
                    RoleName=name,
                    PermissionsBoundary=boundary,
                )
                if boundary
                else partial(self.remove, "iam", "delete_role_permissions_boundary", RoleName=name)
            )
            fields = (FieldChange(name="boundary", old=str(old or ""), new=str(boundary or "")),)
            yield self.update(resource, f"permissions boundary of {name}", how, fields)

    def _create_role(self, name: str, resource: str) -> None:
        boundary = self.config.permissions_boundary
        self.call(
            "iam",
            "create_role",
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(policies.trust()),
            Description=f"hubdeploy {self.names.deployment}: {resource}",
            Tags=pairs(self.tags(resource)),
            **({"PermissionsBoundary": boundary} if boundary else {}),
        )

    def _policies(self, role: Role, seen: dict[str, Any]) -> Changes:
        name, resource = self.names.machine_role(role), f"iam.{role}"
        wanted = policies.policy(
            role,
            self.names,
            bucket=self.names.bucket,
            state_volume=self.outputs["volume"],
            zone=self.outputs["zone"],
            file_system=self.outputs["file_system"],
        )
        if seen["policy"] != wanted:
            yield self.update(
                resource,
                f"rights of {name}",
                partial(
                    self.settle,
                    "iam",
                    "put_role_policy",
                    RoleName=name,
                    PolicyName=POLICY,
                    PolicyDocument=json.dumps(wanted),
                ),
                _difference(seen["policy"], wanted),
            )
        for arn in seen["attached"]:
            yield self.update(
                resource,
                f"take a policy from {name} that hubdeploy did not give it",
                partial(self.remove, "iam", "detach_role_policy", RoleName=name, PolicyArn=arn),
                (FieldChange(name="policy", old=arn),),
            )

    def _profile(self, role: Role, seen: dict[str, Any]) -> Changes:
        name, resource = self.names.machine_role(role), f"iam.{role}"
        profile = seen["profile"]
        if profile is None:
            yield self.create(
                resource,
                f"instance profile {name}",
                partial(
                    self.call,
                    "iam",
                    "create_instance_profile",
                    InstanceProfileName=name,
                    Tags=pairs(self.tags(resource)),
                ),
            )
        held = [item["RoleName"] for item in (profile or {}).get("Roles", [])]
        for other in held:
            if other != name:
                yield self.update(
                    resource,
                    f"take {other} out of the profile {name}",
                    partial(
                        self.remove,
                        "iam",
                        "remove_role_from_instance_profile",
                        InstanceProfileName=name,
                        RoleName=other,
                    ),
                )
        if name not in held:
            yield self.update(
                resource,
                f"put the role into the profile {name}",
                partial(
                    self.settle,
                    "iam",
                    "add_role_to_instance_profile",
                    InstanceProfileName=name,
                    RoleName=name,
                ),
            )

    def destroy(self, observed: dict[str, dict[str, Any]]) -> Changes:
        for role in Role:
            seen, name = observed[role], self.names.machine_role(role)
            ours = seen["role"] is None or (
                tags_of(seen["role"]).get(TAG_DEPLOYMENT) == self.names.deployment
            )
            if ours and (seen["role"] is not None or seen["profile"] is not None):
                yield self.delete(
                    f"iam.{role}",
                    f"role and instance profile {name}",
                    partial(self._end, name, seen),
                )

    def _end(self, name: str, seen: dict[str, Any]) -> None:
        if seen["profile"] is not None:
            for item in seen["profile"].get("Roles", []):
                self.remove(
                    "iam",
                    "remove_role_from_instance_profile",
                    InstanceProfileName=name,
                    RoleName=item["RoleName"],
                )
            self.remove("iam", "delete_instance_profile", InstanceProfileName=name)
        if seen["role"] is None:
            return
        for arn in seen["attached"]:
            self.remove("iam", "detach_role_policy", RoleName=name, PolicyArn=arn)
        try:
            inline = self.call("iam", "list_role_policies", RoleName=name)["PolicyNames"]
        except AwsError as error:
            if error.code in MISSING:
                return
            raise
        for document in inline:
            self.remove("iam", "delete_role_policy", RoleName=name, PolicyName=document)
        self.remove("iam", "delete_role", RoleName=name)


def _difference(old: Any, new: dict[str, Any]) -> tuple[FieldChange, ...]:
    """The statements that come, go or change, by their ids; the first policy needs no list."""
    if not old:
        return ()

    def by_id(document: dict[str, Any]) -> dict[str, Any]:
        return {s.get("Sid", str(n)): s for n, s in enumerate(document.get("Statement", []))}

    before, after = by_id(old), by_id(new)
    return tuple(
        FieldChange(
            name=sid,
            old="statement" if sid in before else "",
            new="statement" if sid in after else "",
        )
        for sid in (before | after)
        if before.get(sid) != after.get(sid)
    )
