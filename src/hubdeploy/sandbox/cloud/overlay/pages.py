"""Pagination as on AWS for what moto returns all at once.

Pages are cut when the request asks for a size, or when ``settings.page_size`` forces small ones so
that a caller that reads only the first is found out.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
_EC2 = {
    "DescribeVpcs": "Vpcs",
    "DescribeSubnets": "Subnets",
    "DescribeSecurityGroups": "SecurityGroups",
    "DescribeSecurityGroupRules": "SecurityGroupRules",
    "DescribeRouteTables": "RouteTables",
    "DescribeInternetGateways": "InternetGateways",
    "DescribeNatGateways": "NatGateways",
    "DescribeVpcEndpoints": "VpcEndpoints",
    "DescribeNetworkInterfaces": "NetworkInterfaces",
    "DescribeVolumes": "Volumes",
    "DescribeLaunchTemplates": "LaunchTemplates",
    "DescribeLaunchTemplateVersions": "LaunchTemplateVersions",
    "DescribeInstanceStatus": "InstanceStatuses",
    "DescribeInstanceTypes": "InstanceTypes",
    "DescribeInstanceTypeOfferings": "InstanceTypeOfferings",
    "DescribeInstances": "Reservations",
    "DescribeTags": "Tags",
}
_OTHERS = {
    ("servicediscovery", "ListNamespaces"): ("Namespaces", "NextToken", "MaxResults"),
    ("servicediscovery", "ListServices"): ("Services", "NextToken", "MaxResults"),
    ("servicediscovery", "ListInstances"): ("Instances", "NextToken", "MaxResults"),
    ("efs", "DescribeAccessPoints"): ("AccessPoints", "NextToken", "MaxResults"),
    ("iam", "ListRolePolicies"): ("PolicyNames", "Marker", "MaxItems"),
    ("iam", "ListAttachedRolePolicies"): ("AttachedPolicies", "Marker", "MaxItems"),
}
_DEFAULT = 1000
_MARK = "page-"


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(f"{_MARK}{offset}".encode()).decode()


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
        return int(text.removeprefix(_MARK))
    except ValueError:
        raise AwsFault("InvalidParameterValue", "The nextToken is not valid.") from None


def _paged(
    cloud: Cloud, call: Call, *, items: str, token: str, size: str, answer_token: str
) -> dict[str, Any] | None:
    asked = call.params.get(size)
    given = call.params.get(token)
    most = min(int(asked or _DEFAULT), cloud.settings.page_size or _DEFAULT)
    pages_by_itself = call.operation == "DescribeInstances"
    if not (given or asked or cloud.settings.page_size or pages_by_itself):
        return None
    whole = {k: v for k, v in call.params.items() if k not in (token, size)}
    answer = cloud.forward(call, whole)
    answer.pop("ResponseMetadata", None)
    found = list(answer.get(items) or [])
    # moto's own pages, of 100, have tokens of another kind
    while more := answer.get(answer_token):
        answer = cloud.forward(call, {**whole, token: more})
        answer.pop("ResponseMetadata", None)
        found += answer.get(items) or []
    start = _offset(given)
    answer[items] = found[start : start + most]
    if start + most < len(found):
        answer[answer_token] = _token(start + most)
        if token == "Marker":
            answer["IsTruncated"] = True
    else:
        answer.pop(answer_token, None)
    return answer


@hooks.take("ec2", *_EC2)
def ec2(cloud: Cloud, call: Call) -> dict[str, Any] | None:
    items = _EC2[call.operation]
    return _paged(
        cloud, call, items=items, token="NextToken", size="MaxResults", answer_token="NextToken"
    )


def _other(cloud: Cloud, call: Call) -> dict[str, Any] | None:
    items, token, size = _OTHERS[call.key]
    return _paged(cloud, call, items=items, token=token, size=size, answer_token=token)


for _service, _operation in _OTHERS:
    hooks.takes[_service, _operation].append(_other)
