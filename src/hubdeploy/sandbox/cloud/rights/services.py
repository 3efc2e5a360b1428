"""Actions of the services whose operations are named like their actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.rights import onbehalf
from hubdeploy.sandbox.cloud.rights.needs import (
    Need,
    Unmapped,
    records,
    request_tags,
    resource_tags,
)

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

Target = tuple[str, dict[str, str]]
"""ARN and the tags that the thing bears."""
Finder = Callable[["Cloud", "Call"], list[Target]]

_PREFIX = {
    "efs": "elasticfilesystem",
    "service-quotas": "servicequotas",
    "resourcegroupstaggingapi": "tag",
}
_ANY: list[Target] = [("*", {})]


def _arn(call: Call, service: str, rest: str) -> str:
    return f"arn:aws:{service}:{call.region}:{call.account}:{rest}"


def _any(_cloud: Cloud, _call: Call) -> list[Target]:
    return _ANY


def _parameter(cloud: Cloud, call: Call) -> list[Target]:
    params = call.params
    names = params.get("Names") or [params.get("Name") or params.get("Path") or ""]
    if "ResourceId" in params:
        names = [params["ResourceId"]]
    ssm = cloud.backend("ssm", call.account, call.region)
    targets = []
    for name in names:
        public = name.startswith("/aws/")
        account = "" if public else call.account
        arn = f"arn:aws:ssm:{call.region}:{account}:parameter/{name.strip('/')}"
        targets.append((arn, {} if public else _parameter_tags(ssm, name)))
    return targets


def _parameter_tags(ssm: Any, name: str) -> dict[str, str]:
    return {str(k): str(v) for k, v in ssm._resource_tags["Parameter"].get(name, {}).items()}


def _command(cloud: Cloud, call: Call) -> list[Target]:
    """SendCommand: the document and every instance; by tag, the tags are the condition."""
    from hubdeploy.sandbox.cloud.rights.ec2 import tags_of

    document = call.params["DocumentName"]
    account = "" if document.startswith("AWS-") else call.account
    targets: list[Target] = [(f"arn:aws:ssm:{call.region}:{account}:document/{document}", {})]
    ec2 = cloud.backend("ec2", call.account, call.region)
    for ident in call.params.get("InstanceIds") or []:
        targets.append((_arn(call, "ec2", f"instance/{ident}"), tags_of(ec2, ident)))
    for target in call.params.get("Targets") or []:
        tags = {target["Key"].removeprefix("tag:"): target["Values"][0]}
        targets.append((_arn(call, "ec2", "instance/*"), tags))
    return targets


def _session(cloud: Cloud, call: Call) -> list[Target]:
    """StartSession: the document and the instance."""
    from hubdeploy.sandbox.cloud.rights.ec2 import tags_of

    # AWS's own documents have no account, but for the one that each account may change
    document = call.params.get("DocumentName", "SSM-SessionManagerRunShell")
    account = "" if document.startswith("AWS-") else call.account
    ident = call.params["Target"]
    ec2 = cloud.backend("ec2", call.account, call.region)
    return [
        (f"arn:aws:ssm:{call.region}:{account}:document/{document}", {}),
        (_arn(call, "ec2", f"instance/{ident}"), tags_of(ec2, ident)),
    ]


def _begun(_cloud: Cloud, call: Call) -> list[Target]:
    return [(_arn(call, "ssm", f"session/{call.params['SessionId']}"), {})]


def _group(cloud: Cloud, call: Call) -> list[Target]:
    params = call.params
    groups = cloud.backend("autoscaling", call.account, call.region).autoscaling_groups
    names = [params["AutoScalingGroupName"]] if params.get("AutoScalingGroupName") else []
    names += [tag["ResourceId"] for tag in params.get("Tags", []) if tag.get("ResourceId")]
    if "InstanceId" in params and not names:
        ident = params["InstanceId"]
        names = [
            group.name
            for group in groups.values()
            if ident in [state.instance.id for state in group.instance_states]
        ]
    targets = []
    for name in sorted(set(names)):
        group = groups.get(name)
        tags = {tag["Key"]: tag["Value"] for tag in group.tags} if group else {}
        ident = group._id if group else "*"
        rest = f"autoScalingGroup:{ident}:autoScalingGroupName/{name}"
        targets.append((_arn(call, "autoscaling", rest), tags))
    return targets or _ANY


def _cloud_map(cloud: Cloud, call: Call) -> list[Target]:
    params = call.params
    ident = params.get("Id") or params.get("ServiceId") or ""
    if params.get("ResourceARN"):
        return [(params["ResourceARN"], {})]
    for prefix, kind in (("ns-", "namespace"), ("srv-", "service")):
        if ident.startswith(prefix):
            arn = _arn(call, "servicediscovery", f"{kind}/{ident}")
            backend = cloud.backend("servicediscovery", call.account, call.region)
            tags = backend.tagger.get_tag_dict_for_resource(arn)
            return [(arn, tags)]
    if params.get("NamespaceId"):
        return [(_arn(call, "servicediscovery", f"namespace/{params['NamespaceId']}"), {})]
    return _ANY


def _file_system(cloud: Cloud, call: Call) -> list[Target]:
    params = call.params
    ident = params.get("FileSystemId") or params.get("ResourceId") or ""
    efs = cloud.backend("efs", call.account, call.region)
    access = params.get("AccessPointId") or (ident if ident.startswith("fsap-") else "")
    if access:
        tags = {tag["Key"]: tag["Value"] for tag in efs.list_tags_for_resource(access)}
        return [(_arn(call, "elasticfilesystem", f"access-point/{access}"), tags)]
    target = params.get("MountTargetId")
    if target:
        found = efs.mount_targets_by_id.get(target)
        ident = found.file_system_id if found else "*"
    if not ident:
        return _ANY
    tags = {tag["Key"]: tag["Value"] for tag in efs.list_tags_for_resource(ident)}
    return [(_arn(call, "elasticfilesystem", f"file-system/{ident}"), tags)]


def _recovery(cloud: Cloud, call: Call) -> list[Target]:
    """A backup bears the tags of what it is of; a vault has none of ours."""
    from hubdeploy.sandbox.cloud.overlay import recovery

    point = call.params.get("RecoveryPointArn")
    if point:
        return [(point, recovery.tags_of(cloud, call.account, call.region, point))]
    vault = call.params.get("BackupVaultName")
    return [(_arn(call, "backup", f"backup-vault:{vault}"), {})] if vault else _ANY


def _repository(_cloud: Cloud, call: Call) -> list[Target]:
    name = call.params.get("repositoryName")
    if call.params.get("resourceArn"):
        return [(call.params["resourceArn"], {})]
    names = call.params.get("repositoryNames") or ([name] if name else [])
    return [(_arn(call, "ecr", f"repository/{n}"), {}) for n in names] or _ANY


def _log_group(_cloud: Cloud, call: Call) -> list[Target]:
    params = call.params
    if params.get("resourceArn"):
        return [(params["resourceArn"], {})]
    name = params.get("logGroupName")
    if not name:
        return [(_arn(call, "logs", f"log-group:{params.get('logGroupNamePrefix', '')}*"), {})]
    stream = params.get("logStreamName")
    if stream:
        return [(_arn(call, "logs", f"log-group:{name}:log-stream:{stream}"), {})]
    return [(_arn(call, "logs", f"log-group:{name}:*"), {})]


def _alarm(_cloud: Cloud, call: Call) -> list[Target]:
    if call.params.get("ResourceARN"):
        return [(call.params["ResourceARN"], {})]
    names = call.params.get("AlarmNames") or []
    name = call.params.get("AlarmName")
    names = [*names, name] if name else names
    return [(_arn(call, "cloudwatch", f"alarm:{n}"), {}) for n in names] or _ANY


def _zone(_cloud: Cloud, call: Call) -> list[Target]:
    ident = call.params.get("HostedZoneId") or call.params.get("Id") or ""
    if call.operation == "GetChange":
        return [(f"arn:aws:route53:::change/{ident.rpartition('/')[2]}", {})]
    if not ident:
        return _ANY
    return [(f"arn:aws:route53:::hostedzone/{ident.rpartition('/')[2]}", {})]


def _iam(_cloud: Cloud, call: Call) -> list[Target]:
    params = call.params
    if params.get("InstanceProfileName"):
        return [
            (f"arn:aws:iam::{call.account}:instance-profile/{params['InstanceProfileName']}", {})
        ]
    if params.get("RoleName"):
        return [(f"arn:aws:iam::{call.account}:role/{params['RoleName']}", {})]
    if params.get("PolicyArn"):
        return [(params["PolicyArn"], {})]
    if params.get("PolicySourceArn"):
        return [(params["PolicySourceArn"], {})]
    return _ANY


_ANYWHERE = ("Describe", "List")
FINDERS: dict[str, Finder] = {
    "autoscaling": _group,
    "servicediscovery": _cloud_map,
    "efs": _file_system,
    "backup": _recovery,
    "ecr": _repository,
    "logs": _log_group,
    "cloudwatch": _alarm,
    "route53": _zone,
    "iam": _iam,
    "pricing": _any,
    "service-quotas": _any,
    "resourcegroupstaggingapi": _any,
    "kms": _any,
    "cloudformation": _any,
}
_SSM = {
    "SendCommand": _command,
    "GetCommandInvocation": _any,
    "ListCommandInvocations": _any,
    "ListCommands": _any,
    "CancelCommand": _any,
    "DescribeInstanceInformation": _any,
    "DescribeParameters": _any,
    "GetParameter": _parameter,
    "GetParameters": _parameter,
    "GetParametersByPath": _parameter,
    "GetParameterHistory": _parameter,
    "PutParameter": _parameter,
    "DeleteParameter": _parameter,
    "DeleteParameters": _parameter,
    "AddTagsToResource": _parameter,
    "RemoveTagsFromResource": _parameter,
    "ListTagsForResource": _parameter,
    "StartSession": _session,
    "TerminateSession": _begun,
}
_FREE = frozenset({"sts:GetCallerIdentity"})
_NO_RESOURCE = frozenset(
    {
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:DescribeTags",
        "autoscaling:DescribeScalingProcessTypes",
        "cloudwatch:PutMetricData",
        "cloudwatch:GetMetricData",
        "cloudwatch:GetMetricStatistics",
        "cloudwatch:ListMetrics",
        "ecr:GetAuthorizationToken",
        "route53:ListHostedZones",
        "route53:ListHostedZonesByName",
        "servicediscovery:DiscoverInstances",
        "servicediscovery:ListNamespaces",
        "servicediscovery:ListServices",
        "servicediscovery:ListOperations",
        "servicediscovery:GetOperation",
    }
)


def needs(cloud: Cloud, call: Call) -> list[Need]:
    if call.name in _FREE:
        return []
    if call.name == "sts:AssumeRole":
        return [Need(action="sts:AssumeRole", resource=call.params["RoleArn"])]
    finder = _SSM.get(call.operation) if call.service == "ssm" else FINDERS.get(call.service)
    if finder is None:
        raise Unmapped(call.name)
    action = f"{_PREFIX.get(call.service, call.service)}:{call.operation}"
    if call.operation == "DeleteParameters":
        action = "ssm:DeleteParameters"
    targets = _ANY if call.name in _NO_RESOURCE else finder(cloud, call)
    given = request_tags(_given(call.params))
    if call.name == "cloudwatch:PutMetricData":
        given["cloudwatch:namespace"] = call.params["Namespace"]
    if call.name == "route53:ChangeResourceRecordSets":
        sets = [one["ResourceRecordSet"] for one in call.params["ChangeBatch"]["Changes"]]
        given |= records([one["Name"] for one in sets], [one["Type"] for one in sets])
    given_tags = given
    given = given | _bound(cloud, call)
    wanted = [
        Need(action=action, resource=arn, context=given | resource_tags(tags, *_tag_prefix(call)))
        for arn, tags in targets
    ]
    for arn in _passed(cloud, call):
        context: dict[str, str | list[str]] = {"iam:PassedToService": "ec2.amazonaws.com"}
        wanted.append(Need(action="iam:PassRole", resource=arn, context=context))
    wanted.extend(_more(call, targets, given_tags))
    wanted.extend(onbehalf.needs(cloud, call))
    return wanted


def _bound(cloud: Cloud, call: Call) -> dict[str, str | list[str]]:
    """The boundary that a role is given, or has already where its policies are changed."""
    if call.service != "iam" or not call.params.get("RoleName"):
        return {}
    found = call.params.get("PermissionsBoundary")
    if not found and call.operation in ("PutRolePolicy", "DeleteRolePolicy", "AttachRolePolicy"):
        roles = cloud.backend("iam", call.account, "aws").roles.values()
        name = call.params["RoleName"]
        found = next((r.permissions_boundary_arn for r in roles if r.name == name), None)
    return {"iam:PermissionsBoundary": str(found)} if found else {}


def _more(call: Call, targets: list[Target], given: dict[str, str | list[str]]) -> list[Need]:
    """Tags in a create call are an action of their own for some services."""
    tagging = {
        "ssm:PutParameter": "ssm:AddTagsToResource",
        "iam:CreateRole": "iam:TagRole",
        "iam:CreateInstanceProfile": "iam:TagInstanceProfile",
        "efs:CreateFileSystem": "elasticfilesystem:TagResource",
        "efs:CreateAccessPoint": "elasticfilesystem:TagResource",
        "ecr:CreateRepository": "ecr:TagResource",
        "logs:CreateLogGroup": "logs:TagResource",
        "cloudwatch:PutMetricAlarm": "cloudwatch:TagResource",
        "servicediscovery:CreatePrivateDnsNamespace": "servicediscovery:TagResource",
        "servicediscovery:CreateService": "servicediscovery:TagResource",
        "autoscaling:CreateAutoScalingGroup": "autoscaling:CreateOrUpdateTags",
    }
    action = tagging.get(call.name)
    if action is None or not given:
        return []
    return [Need(action=action, resource=arn, context=given) for arn, _ in targets]


def _given(params: dict[str, Any]) -> dict[str, str]:
    found = params.get("Tags") or params.get("tags") or params.get("TagList") or []
    if isinstance(found, dict):
        return {str(key): str(value) for key, value in found.items()}
    return {
        str(tag.get("Key") or tag.get("key")): str(tag.get("Value") or tag.get("value") or "")
        for tag in found
        if isinstance(tag, dict)
    }


def _tag_prefix(call: Call) -> tuple[str, ...]:
    return {
        "ssm": ("ssm",),
        "autoscaling": ("autoscaling",),
        "ecr": ("ecr",),
        "iam": ("iam",),
    }.get(call.service, ())


def _passed(cloud: Cloud, call: Call) -> list[str]:
    if call.name != "iam:AddRoleToInstanceProfile":
        return []
    iam = cloud.backend("iam", call.account, "aws")
    return [role.arn for role in iam.roles.values() if role.name == call.params["RoleName"]]
