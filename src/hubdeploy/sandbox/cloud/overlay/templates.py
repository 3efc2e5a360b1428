"""Launch templates: versions made from versions, read in full, tags that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.fault import AwsFault
from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
_MERGED = (
    "BlockDeviceMappings",
    "DisableApiTermination",
    "EbsOptimized",
    "IamInstanceProfile",
    "ImageId",
    "InstanceInitiatedShutdownBehavior",
    "InstanceMarketOptions",
    "InstanceType",
    "KeyName",
    "MetadataOptions",
    "Monitoring",
    "NetworkInterfaces",
    "Placement",
    "SecurityGroupIds",
    "UserData",
)


def launch_template_data(cloud: Cloud, call: Call, spec: dict[str, Any]) -> tuple[Any, Any]:
    """(template, version) as moto holds them, for a specification by id or name and version."""
    ec2 = cloud.backend("ec2", call.account, call.region)
    name, ident = spec.get("LaunchTemplateName"), spec.get("LaunchTemplateId")
    found = [t for t in ec2.launch_templates.values() if ident == t.id or name == t.name]
    if not found:
        code = "Name.NotFoundException" if name else "Id.NotFound"
        raise AwsFault(
            f"InvalidLaunchTemplate{code}",
            f"The launch template {name or ident} does not exist.",
        )
    template = found[0]
    wanted = str(spec.get("Version") or "$Default")
    if wanted == "$Latest":
        wanted = str(template.latest_version_number)
    if wanted == "$Default":
        wanted = str(template.default_version_number)
    for version in template.versions:
        if str(version.number) == wanted:
            return template, version
    raise AwsFault(
        "InvalidLaunchTemplateId.VersionNotFound",
        f"Could not find launch template version {wanted} of {template.id}.",
    )


@hooks.amend("ec2", "CreateLaunchTemplateVersion")
def version_created(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    """A version made from another has all of that one's data that it does not change."""
    source = call.params.get("SourceVersion")
    if not source:
        return
    spec = {k: v for k, v in call.params.items() if k.startswith("LaunchTemplate")}
    spec.pop("LaunchTemplateData")
    _, old = launch_template_data(cloud, call, {**spec, "Version": source})
    number = result["LaunchTemplateVersion"]["VersionNumber"]
    _, new = launch_template_data(cloud, call, {**spec, "Version": str(number)})
    new.data = {**old.data, **new.data}
    result["LaunchTemplateVersion"]["LaunchTemplateData"] = {
        key: value for key, value in new.data.items() if value is not None
    }


def merge_template(cloud: Cloud, call: Call) -> tuple[dict[str, Any], dict[str, str]]:
    """The request with its launch template's data filled in, and AWS's own tags of it."""
    params = dict(call.params)
    spec = params.pop("LaunchTemplate", None)
    if not spec:
        return params, {}
    template, version = launch_template_data(cloud, call, spec)
    data = version.data
    for name in _MERGED:
        if name in data and name not in params:
            params[name] = data[name]
    if "NetworkInterfaces" in params and "SubnetId" in params:
        interfaces = [dict(nic) for nic in params["NetworkInterfaces"]]
        interfaces[0]["SubnetId"] = params.pop("SubnetId")
        params["NetworkInterfaces"] = interfaces
    specifications = {
        s["ResourceType"]: list(s["Tags"]) for s in params.get("TagSpecifications", [])
    }
    for s in data.get("TagSpecifications", []):
        mine = specifications.setdefault(s["ResourceType"], [])
        keys = {tag["Key"] for tag in mine}
        mine.extend(tag for tag in s["Tags"] if tag["Key"] not in keys)
    params["TagSpecifications"] = [
        {"ResourceType": kind, "Tags": tags} for kind, tags in specifications.items()
    ]
    tags = {
        "aws:ec2launchtemplate:id": template.id,
        "aws:ec2launchtemplate:version": str(version.number),
    }
    return params, tags


@hooks.amend("ec2", "DescribeLaunchTemplates")
def described(cloud: Cloud, call: Call, result: dict[str, Any]) -> None:
    """moto shows the tags of the template's making for ever."""
    tags = cloud.backend("ec2", call.account, call.region).tags
    for entry in result["LaunchTemplates"]:
        held = tags.get(entry["LaunchTemplateId"], {})
        entry["Tags"] = [{"Key": key, "Value": value} for key, value in held.items()]


@hooks.take("ec2", "DeleteLaunchTemplateVersions")
def delete_versions(cloud: Cloud, call: Call) -> dict[str, Any]:
    held = cloud.backend("ec2", call.account, call.region).launch_templates.values()
    wanted = (call.params.get("LaunchTemplateId"), call.params.get("LaunchTemplateName"))
    for template in held:
        if template.id in wanted or template.name in wanted:
            break
    else:
        raise AwsFault("InvalidLaunchTemplateId.NotFound", "The launch template does not exist.")
    gone = [
        version
        for version in template.versions
        if str(version.number) in call.params["Versions"]
        and version.number != template.default_version_number
    ]
    latest = template.latest_version_number
    template.versions = [version for version in template.versions if version not in gone]
    # moto counts versions to number the next one; AWS never gives a number twice
    template.hubdeploy_latest = latest
    return {
        "SuccessfullyDeletedLaunchTemplateVersions": [
            {
                "LaunchTemplateId": template.id,
                "LaunchTemplateName": template.name,
                "VersionNumber": version.number,
            }
            for version in gone
        ],
        "UnsuccessfullyDeletedLaunchTemplateVersions": [],
    }
