"""SSM's public parameters of machine images, which moto refuses to have put."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud import images
from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()


def _public(name: str, region: str) -> dict[str, Any] | None:
    image = images.by_parameter(name, region=region)
    if image is None:
        return None
    return {
        "Name": name,
        "Type": "String",
        "Value": image.ami,
        "Version": 1,
        "LastModifiedDate": datetime(2026, 1, 1, tzinfo=UTC),
        "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        "DataType": "aws:ec2:image",
    }


@hooks.take("ssm", "GetParameter")
def get_parameter(_cloud: Cloud, call: Call) -> dict[str, Any] | None:
    name = call.params["Name"]
    found = _public(name, call.region)
    if found is not None:
        return {"Parameter": found}
    if name.startswith(("/aws/service/debian", "/aws/service/canonical")):
        raise AwsFault("ParameterNotFound", f"Parameter {name} not found.")
    return None


@hooks.take("ssm", "GetParameters")
def get_parameters(cloud: Cloud, call: Call) -> dict[str, Any] | None:
    names = list(call.params["Names"])
    public = {name: _public(name, call.region) for name in names}
    found = [value for value in public.values() if value is not None]
    if not found:
        return None
    rest = [name for name in names if public[name] is None]
    if not rest:
        return {"Parameters": found, "InvalidParameters": []}
    answer = cloud.forward(call, call.params | {"Names": rest})
    answer["Parameters"] = answer.get("Parameters", []) + found
    return answer
