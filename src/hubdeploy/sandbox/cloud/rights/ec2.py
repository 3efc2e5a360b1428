"""EC2's actions: the things a request names by id, the things it makes, and their tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.rights.needs import Need, request_tags, resource_tags

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

TYPE_OF_PREFIX = {
    "vpc": "vpc",
    "subnet": "subnet",
    "sg": "security-group",
    "igw": "internet-gateway",
    "rtb": "route-table",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "vol": "volume",
    "lt": "launch-template",
    "nat": "natgateway",
    "vpce": "vpc-endpoint",
    "snap": "snapshot",
    "dopt": "dhcp-options",
    "acl": "network-acl",
    "key": "key-pair",
}
MADE = {
    "CreateVpc": ("vpc",),
    "CreateSubnet": ("subnet",),
    "CreateSecurityGroup": ("security-group",),
    "CreateInternetGateway": ("internet-gateway",),
    "CreateRouteTable": ("route-table",),
    "AllocateAddress": ("elastic-ip",),
    "CreateVolume": ("volume",),
    "CreateLaunchTemplate": ("launch-template",),
    "CreateNatGateway": ("natgateway",),
    "CreateVpcEndpoint": ("vpc-endpoint",),
    "CreateNetworkInterface": ("network-interface",),
    "CreateSnapshot": ("snapshot",),
    "ImportKeyPair": ("key-pair",),
    "CreateKeyPair": ("key-pair",),
    "RunInstances": ("instance", "network-interface", "volume"),
}
_NO_RESOURCE = ("Describe", "Get")
_ABOUT_RESOURCE = frozenset(
    {"DescribeInstanceAttribute", "DescribeVpcAttribute", "GetConsoleOutput"}
)
_RULES = frozenset(
    {
        "AuthorizeSecurityGroupIngress",
        "AuthorizeSecurityGroupEgress",
        "RevokeSecurityGroupIngress",
        "RevokeSecurityGroupEgress",
        "UpdateSecurityGroupRuleDescriptionsIngress",
    }
)


def needs(cloud: Cloud, call: Call) -> list[Need]:
    operation, params = call.operation, call.params
    action = f"ec2:{operation}"
    if operation.startswith(_NO_RESOURCE) and operation not in _ABOUT_RESOURCE:
        return [Need(action=action, resource="*")]
    tags = _requested(params)
    ec2 = cloud.backend("ec2", call.account, call.region)
    common: dict[str, str | list[str]] = {"ec2:Region": call.region}
    wanted = []
    named = {*_idents(params, rules=operation in _RULES), *_associated(ec2, params)}
    for ident in sorted(named):
        own = tags_of(ec2, ident)
        context = common | resource_tags(own, "ec2")
        if operation in ("CreateTags", "DeleteTags"):
            context |= request_tags({t["Key"]: t.get("Value", "") for t in params.get("Tags", [])})
        wanted.append(Need(action=action, resource=_arn(call, ident), context=context))
    if operation == "DeleteKeyPair" and params.get("KeyName"):
        # the one thing that goes by its name
        name = params["KeyName"]
        pair = ec2.key_pairs.get(name)
        own = tags_of(ec2, pair.id) if pair else {}
        resource = f"arn:aws:ec2:{call.region}:{call.account}:key-pair/{name}"
        context = common | resource_tags(own, "ec2")
        wanted.append(Need(action=action, resource=resource, context=context))
    for kind in MADE.get(operation, ()):
        resource = f"arn:aws:ec2:{call.region}:{call.account}:{kind}/*"
        # tags in the request count for every kind that the request makes with tags
        context = common | request_tags(tags.get(kind, {}))
        if kind == "instance":
            context["ec2:InstanceType"] = params.get("InstanceType", "")
        wanted.append(Need(action=action, resource=resource, context=context))
    for kind, given in tags.items():
        resource = f"arn:aws:ec2:{call.region}:{call.account}:{kind}/*"
        context = common | request_tags(given) | {"ec2:CreateAction": operation}
        wanted.append(Need(action="ec2:CreateTags", resource=resource, context=context))
    wanted.extend(_passed_role(cloud, call))
    return wanted or [Need(action=action, resource="*", context=common)]


def _associated(ec2: Any, params: dict[str, Any]) -> Iterator[str]:
    """What an association, which is no resource of its own, binds."""
    association = params.get("AssociationId", "")
    for table in ec2.route_tables.values():
        if association in table._associations:
            yield table.id
    for address in ec2.addresses:
        if association and address.association_id == association:
            yield address.allocation_id


def _passed_role(cloud: Cloud, call: Call) -> Iterator[Need]:
    """Giving an instance a profile passes its role on."""
    if call.operation not in ("RunInstances", "AssociateIamInstanceProfile"):
        return
    profile = call.params.get("IamInstanceProfile")
    if not profile:
        return
    name = profile.get("Name") or profile["Arn"].rpartition("/")[2]
    for found in cloud.backend("iam", call.account, "aws").instance_profiles.values():
        if found.name == name:
            for role in found.roles:
                context: dict[str, str | list[str]] = {"iam:PassedToService": "ec2.amazonaws.com"}
                yield Need(action="iam:PassRole", resource=role.arn, context=context)


def _requested(params: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Tags in the request by resource type."""
    return {
        s["ResourceType"]: {tag["Key"]: tag.get("Value", "") for tag in s.get("Tags", [])}
        for s in params.get("TagSpecifications", [])
    }


def _idents(params: dict[str, Any], *, rules: bool) -> Iterator[str]:
    """Ids in the request; of the peers that a rule names, AWS checks none."""
    for key, value in params.items():
        if rules and key == "IpPermissions":
            continue
        if key == "LaunchTemplateData":
            continue
        yield from _within(value)


def _within(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        prefix = value.partition("-")[0]
        if value.startswith("ami-") or (prefix in TYPE_OF_PREFIX and _is_ident(value)):
            yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("Tags", "TagSpecifications"):
                yield from _within(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _within(inner)


def _is_ident(value: str) -> bool:
    tail = value.rpartition("-")[2]
    return len(tail) >= 8 and all(c in "0123456789abcdef" for c in tail)


def _arn(call: Call, ident: str) -> str:
    if ident.startswith("ami-"):
        return f"arn:aws:ec2:{call.region}::image/{ident}"
    kind = TYPE_OF_PREFIX[ident.partition("-")[0]]
    return f"arn:aws:ec2:{call.region}:{call.account}:{kind}/{ident}"


def tags_of(ec2: Any, ident: str) -> dict[str, str]:
    """Tags of any EC2 resource, as moto keeps them."""
    return {str(key): str(value or "") for key, value in ec2.tags.get(ident, {}).items()}
