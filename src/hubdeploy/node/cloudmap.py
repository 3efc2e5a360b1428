"""This machine's address under a name of the deployment's Cloud Map namespace."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from hubdeploy.errors import AwsError
from hubdeploy.node.aws import Cloud
from hubdeploy.node.waiting import wait_for

log = logging.getLogger(__name__)

_SECONDS = 180


def _service_id(cloud: Cloud, service: str) -> str:
    name = cloud.machine.names.namespace
    spaces = cloud.call(
        "servicediscovery",
        "list_namespaces",
        Filters=[{"Name": "TYPE", "Values": ["DNS_PRIVATE"]}],
        MaxResults=100,
    )["Namespaces"]
    space = next((one["Id"] for one in spaces if one["Name"] == name), None)
    if space is not None:
        services = cloud.call(
            "servicediscovery",
            "list_services",
            Filters=[{"Name": "NAMESPACE_ID", "Values": [space]}],
            MaxResults=100,
        )["Services"]
        for one in services:
            if one["Name"] == service:
                return str(one["Id"])
    raise AwsError(
        f"Cloud Map has no service {service}.{name}",
        hint="hubdeploy up creates it; is it still running?",
        code="ServiceNotFound",
    )


def _registered(cloud: Cloud, service_id: str) -> Mapping[str, str]:
    """Instance id -> address."""
    found = cloud.call("servicediscovery", "list_instances", ServiceId=service_id, MaxResults=100)[
        "Instances"
    ]
    return {one["Id"]: one["Attributes"].get("AWS_INSTANCE_IPV4", "") for one in found}


def is_registered(cloud: Cloud, service: str) -> bool:
    """Whether this machine, and no other, is registered with its present address."""
    me = cloud.machine.identity
    return _registered(cloud, _service_id(cloud, service)) == {me.instance_id: me.private_ip}


def register(cloud: Cloud, service: str) -> bool:
    """Make this machine the only one of the service; whether anything changed.

    Waits until Cloud Map says that the DNS record is there.

    Raises:
        AwsError: no such service, or refused.
        WaitTimeout: Cloud Map did not finish.
    """
    me = cloud.machine.identity
    service_id = _service_id(cloud, service)
    before = _registered(cloud, service_id)
    if before == {me.instance_id: me.private_ip}:
        return False
    operations = []
    if before.get(me.instance_id) != me.private_ip:
        operations.append(
            cloud.call(
                "servicediscovery",
                "register_instance",
                ServiceId=service_id,
                InstanceId=me.instance_id,
                Attributes={"AWS_INSTANCE_IPV4": me.private_ip},
            )["OperationId"]
        )
    for other in before.keys() - {me.instance_id}:
        log.info("removing the registration of %s, which served before", other)
        operations.append(
            cloud.call(
                "servicediscovery", "deregister_instance", ServiceId=service_id, InstanceId=other
            )["OperationId"]
        )
    for operation in operations:
        _finish(cloud, operation, service)
    return True


def _finish(cloud: Cloud, operation: str, service: str) -> None:
    def status() -> str | None:
        found = cloud.call("servicediscovery", "get_operation", OperationId=operation)
        state = str(found["Operation"]["Status"])
        if state == "FAIL":
            raise AwsError(
                f"Cloud Map could not register {service}: "
                f"{found['Operation'].get('ErrorMessage', '')}",
                code=str(found["Operation"].get("ErrorCode", "")),
            )
        return state if state == "SUCCESS" else None

    wait_for(f"Cloud Map's record of {service}", status, seconds=_SECONDS)
