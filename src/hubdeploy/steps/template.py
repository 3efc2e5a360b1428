"""The workers' launch template: a new version for new settings, and which version is wanted."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

from hubdeploy.config import userdata
from hubdeploy.config.fields import Change as Takes
from hubdeploy.config.names import TAG_ROLE, TAG_TEMPLATE, Role
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.steps import fixed, images, wording
from hubdeploy.steps.base import Part, token
from hubdeploy.steps.machine import METADATA, blocks, digest
from hubdeploy.steps.machines import LAUNCH

RESOURCE = "template.workers"


class Template(Part[dict[str, Any]]):
    """Versions are immutable, so a version's description, the digest of its data, stands for it."""

    name = "workers.template"
    title = "Workers' launch template"
    needs = (*LAUNCH, "files.targets")

    def observe(self) -> dict[str, Any]:
        found = self.ctx.inventory.by_resource("describe_launch_templates", "LaunchTemplates")
        if RESOURCE not in found:
            return {}
        template = found[RESOURCE]
        versions = self.call(
            "ec2",
            "describe_launch_template_versions",
            LaunchTemplateId=template["LaunchTemplateId"],
            Versions=["$Default", "$Latest"],
        )["LaunchTemplateVersions"]
        default = str(template["DefaultVersionNumber"])
        by_number = {str(item["VersionNumber"]): item for item in versions}
        return {
            **template,
            "default": by_number.get(default, {}),
            "latest": by_number.get(str(template["LatestVersionNumber"]), {}),
        }

    # ---- what it should be -------------------------------------------------------------------

    def data(self, ami: str) -> dict[str, Any]:
        """The template's data without the tag that holds its digest. The groups say the type."""
        config = self.config
        public = config.network.egress == "public"
        group = self.outputs["firewall"][Role.WORKER]
        network: dict[str, Any] = (
            {
                "NetworkInterfaces": [
                    {
                        "DeviceIndex": 0,
                        "Groups": [group],
                        "AssociatePublicIpAddress": True,
                        "DeleteOnTermination": True,
                    }
                ]
            }
            if public
            else {"SecurityGroupIds": [group]}
        )
        key = self.outputs.get("key_pair")
        script = userdata.render(Role.WORKER, self.names)
        return {
            "ImageId": ami,
            "IamInstanceProfile": {"Name": self.names.machine_role(Role.WORKER)},
            "UserData": base64.b64encode(script.encode()).decode(),
            "MetadataOptions": METADATA,
            "Monitoring": {"Enabled": True},
            "InstanceInitiatedShutdownBehavior": "terminate",
            "BlockDeviceMappings": blocks(
                images.root_device(self, Role.WORKER, ami), config.workers.disk
            ),
            **network,
            **({"KeyName": key} if key else {}),
        }

    def settings(self) -> str:
        """Digest of all settings that take new workers, wherever a machine reads them."""
        values = {
            path: fixed.text(value)
            for path, value in fixed.settings(self.config, Takes.WORKERS)
            # which types and how many spot the group says; a template is not newer for it
            if path not in ("workers.instance_types", "workers.spot_share")
        }
        return digest(json.dumps(values, sort_keys=True))

    def tagged(self, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The digest, and the data with the tags that instances and disks get."""
        tags = {**self.tags("instance.worker"), TAG_ROLE: Role.WORKER.value}
        mark = digest(json.dumps([data, tags, self.settings()], sort_keys=True))
        specs = [
            self.tag_spec("instance", {**tags, TAG_TEMPLATE: mark}),
            self.tag_spec("volume", self.tags("instance.worker")),
            self.tag_spec("network-interface", self.tags("instance.worker")),
        ]
        return mark, {**data, "TagSpecifications": specs}

    # ---- comparing ---------------------------------------------------------------------------

    def changes(self, observed: dict[str, Any]) -> Changes:
        old = observed.get("default", {}).get("LaunchTemplateData", {})
        # a newer image alone is no reason for new workers, one withdrawn is
        pinned = str(old.get("ImageId", ""))
        if pinned and not images.described(self, pinned):
            pinned = ""
        ami = images.chosen(self, Role.WORKER) or pinned or images.image(self, Role.WORKER)
        mark, data = self.tagged(self.data(ami))
        self.outputs["template.digest"] = mark
        if not observed:
            self.outputs["template"] = yield self.create(
                RESOURCE,
                "launch template of the workers",
                partial(self._create, mark, data),
                {"image": ami},
            )
            return
        template = observed["LaunchTemplateId"]
        self.outputs["template"] = template
        yield from self.retag_ec2(observed, template, self.tags(RESOURCE))
        if observed["default"].get("VersionDescription") == mark:
            return
        version = str(observed["latest"].get("VersionNumber", ""))
        if observed["latest"].get("VersionDescription") != mark:
            version = yield self.update(
                RESOURCE,
                "new version of the workers' launch template",
                partial(self._new_version, template, mark, data),
                wording.template(old, data)
                or (FieldChange(name="settings", new="those listed at the release"),),
                reason="new workers replace the old ones as these become empty",
            )
        yield self.update(
            RESOURCE,
            "use the new version for new workers",
            partial(
                self.settle,
                "ec2",
                "modify_launch_template",
                LaunchTemplateId=template,
                DefaultVersion=version,
            ),
            (
                FieldChange(
                    name="version",
                    old=str(observed["default"].get("VersionNumber", "")),
                    new=version,
                ),
            ),
        )

    # ---- doing -------------------------------------------------------------------------------

    def _create(self, mark: str, data: dict[str, Any]) -> str:
        made = self.settle_profile(
            "ec2",
            "create_launch_template",
            LaunchTemplateName=self.names.instance(Role.WORKER),
            VersionDescription=mark,
            LaunchTemplateData=data,
            ClientToken=token("template", self.outputs["vpc"], mark),
            TagSpecifications=[self.tag_spec("launch-template", self.tags(RESOURCE))],
        )
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def _new_version(self, template: str, mark: str, data: dict[str, Any]) -> str:
        made = self.settle_profile(
            "ec2",
            "create_launch_template_version",
            LaunchTemplateId=template,
            VersionDescription=mark,
            LaunchTemplateData=data,
        )
        return str(made["LaunchTemplateVersion"]["VersionNumber"])

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if observed:
            yield self.delete(
                RESOURCE,
                f"launch template {observed['LaunchTemplateName']}",
                partial(
                    self.remove,
                    "ec2",
                    "delete_launch_template",
                    LaunchTemplateId=observed["LaunchTemplateId"],
                ),
            )
