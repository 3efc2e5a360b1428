"""Security groups: one for each kind of machine and one for the file system."""

from __future__ import annotations

from functools import partial
from typing import Any

from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps import rules
from hubdeploy.steps.base import Part
from hubdeploy.steps.network import interfaces_in

AUTHORIZE = {"in": "authorize_security_group_ingress", "out": "authorize_security_group_egress"}
REVOKE = {"in": "revoke_security_group_ingress", "out": "revoke_security_group_egress"}
FRESH = {"IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}
"""What a group has that was just made: AWS lets everything out until told otherwise."""


def resource(group: str) -> str:
    return f"firewall.{group}"


class Firewall(Part[dict[str, dict[str, Any]]]):
    """All groups in one step, because their rules name each other."""

    name = "firewall"
    title = "Security groups"
    needs = ("network.vpc",)

    def observe(self) -> dict[str, dict[str, Any]]:
        return self.ctx.inventory.by_resource("describe_security_groups", "SecurityGroups")

    def changes(self, observed: dict[str, dict[str, Any]]) -> Changes:
        ids: dict[str, str] = {}
        seen: dict[str, dict[str, Any]] = {}
        for group, text in rules.GROUPS.items():
            name = resource(group)
            if name in observed:
                seen[group] = observed[name]
                ids[group] = observed[name]["GroupId"]
                yield from self.retag_ec2(observed[name], ids[group], self.tags(name))
            else:
                seen[group] = FRESH
                ids[group] = yield self.create(
                    name, f"security group of the {text}", partial(self._create, group, text)
                )
        for group, wanted in rules.wanted(self.config).items():
            yield from self._rules(
                group,
                ids[group],
                old=rules.read(seen[group]),
                new=rules.resolved(wanted, ids),
                labels={group_id: name for name, group_id in ids.items()},
            )
        self.outputs["firewall"] = ids

    def _create(self, group: str, text: str) -> str:
        made = self.settle(
            "ec2",
            "create_security_group",
            GroupName=f"{self.names.prefix}-{group}",
            Description=f"hubdeploy {self.names.deployment}: {text}",
            VpcId=self.outputs["vpc"],
            TagSpecifications=[self.tag_spec("security-group", self.tags(resource(group)))],
        )
        return str(made["GroupId"])

    def _rules(
        self,
        group: str,
        group_id: str,
        *,
        old: set[rules.Rule],
        new: set[rules.Rule],
        labels: dict[str, str],
    ) -> Changes:
        def text(rule: rules.Rule) -> str:
            return str(rules.resolved({rule}, labels).pop())

        for direction in ("in", "out"):
            missing = sorted(r for r in new - old if r.direction == direction)
            surplus = sorted(r for r in old - new if r.direction == direction)
            if missing:
                yield self.update(
                    resource(group),
                    f"add rules to the group {group} ({direction})",
                    partial(self._set, AUTHORIZE[direction], group_id, missing),
                    tuple(FieldChange(name="rule", new=text(r)) for r in missing),
                )
            if surplus:
                yield self.update(
                    resource(group),
                    f"take rules from the group {group} ({direction})",
                    partial(self._set, REVOKE[direction], group_id, surplus),
                    tuple(FieldChange(name="rule", old=text(r)) for r in surplus),
                )

    def _set(self, operation: str, group_id: str, changed: list[rules.Rule]) -> None:
        self.settle(
            "ec2",
            operation,
            GroupId=group_id,
            IpPermissions=[rules.permission(rule) for rule in changed],
        )

    def destroy(self, observed: dict[str, dict[str, Any]]) -> Changes:
        # groups that name each other cannot be deleted (hashicorp/terraform#3758): unlink all first
        for name, group in observed.items():
            linked = sorted(r for r in rules.read(group) if r.peer.startswith("sg-"))
            for direction in ("in", "out"):
                revoked = [rule for rule in linked if rule.direction == direction]
                if revoked:
                    yield self.delete(
                        name,
                        f"{len(revoked)} references of {name} to other groups",
                        partial(self._unlink, REVOKE[direction], group["GroupId"], revoked),
                    )
        for name, group in observed.items():
            group_id = group["GroupId"]
            yield self.delete(
                name,
                f"security group {group_id}",
                partial(
                    self.remove,
                    "ec2",
                    "delete_security_group",
                    GroupId=group_id,
                    blocked_by=partial(interfaces_in, self, "group-id", group_id),
                ),
            )

    def _unlink(self, operation: str, group_id: str, revoked: list[rules.Rule]) -> None:
        permissions = [rules.permission(rule) for rule in revoked]
        self.remove("ec2", operation, GroupId=group_id, IpPermissions=permissions)
