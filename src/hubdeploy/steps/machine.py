"""A single instance: Chef server, workstation, leader.

An instance is replaced only for what cannot be changed on a running one, and a newer image is no
reason. What it was made with stands in its tags, so that the comparison needs no further call.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar

from hubdeploy.aws.inventory import tags_of
from hubdeploy.config import userdata
from hubdeploy.config.names import TAG_ROLE, Phase, Role
from hubdeploy.errors import AwsError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange, differences
from hubdeploy.steps import fixed, images, instances, parameters, wording
from hubdeploy.steps.base import Part, token
from hubdeploy.steps.leader_parts import gib

SPEC = "hubdeploy:spec:"
"""Tags with the settings that an instance was made with."""
USER_DATA = "user-data"
TAG_RELEASE = "hubdeploy:release"
"""Digest of the release that a machine was launched with or last told to converge."""
CAPACITY = frozenset({"InsufficientInstanceCapacity", "Unsupported"})
METADATA = {
    "HttpTokens": "required",
    "HttpPutResponseHopLimit": 1,
    "HttpEndpoint": "enabled",
    "InstanceMetadataTags": "disabled",
}
"""Version 2 only, and out of reach for containers, which are one hop further away."""
_TAG_TEXT = re.compile(r"[\w .:/=+@-]{0,60}")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def release_mark(release: dict[str, Any]) -> str:
    """A digest of the release parameter's content."""
    return digest(json.dumps(release, sort_keys=True))


def tag_text(value: Any) -> str:
    """A setting as a tag can hold it; what cannot stand there, or is long, by its digest."""
    text = fixed.text(value)
    return text if _TAG_TEXT.fullmatch(text) else f"sha256:{digest(text)}"


def blocks(device: str, size: int) -> list[dict[str, Any]]:
    """The root disk: encrypted, gone with the instance. ``size`` in bytes."""
    ebs = {
        "VolumeSize": gib(size),
        "VolumeType": "gp3",
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    return [{"DeviceName": device, "Ebs": ebs}]


class Machine(Part[list[dict[str, Any]]]):
    """The instance of one role; newest first in what is observed, ended ones included."""

    role: ClassVar[Role]
    disrupts: ClassVar[str]
    """What users notice while it is replaced."""

    def observe(self) -> list[dict[str, Any]]:
        # asked first: the parameters' single call names the instances' phases
        parameters.read(self)
        return instances.of_role(self, self.role)

    # ---- what it should be -------------------------------------------------------------------

    @property
    @abstractmethod
    def instance_type(self) -> str: ...

    @property
    @abstractmethod
    def disk(self) -> int:
        """Root disk in bytes."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that only a new instance can take, by key path."""
        return {"access.ssh_key": self.config.access.ssh_key}

    def subnets(self) -> list[str]:
        """Where it may be launched, first choice first."""
        found: list[str] = self.outputs["subnets.machines"]
        return found

    @property
    def public(self) -> bool:
        """Whether it gets a public address at launch (there is no NAT)."""
        return self.config.network.egress == "public"

    @property
    def resource(self) -> str:
        return f"instance.{self.role}"

    def spec(self) -> dict[str, str]:
        """Tags that remember what the instance was made with."""
        script = userdata.render(self.role, self.names)
        return {
            f"{SPEC}{USER_DATA}": digest(script),
            **{f"{SPEC}{path}": tag_text(value) for path, value in self.settings.items()},
        }

    # ---- comparing ---------------------------------------------------------------------------

    def changes(self, observed: list[dict[str, Any]]) -> Changes:
        living = [item for item in observed if item["State"]["Name"] in instances.ALIVE]
        tags = {**self.tags(self.resource), TAG_ROLE: self.role.value, **self.spec()}
        if not living:
            instance = yield self.create(
                self.resource,
                f"{self.title} ({self.instance_type})",
                partial(self._launch, tags, [item["InstanceId"] for item in observed]),
                {"type": self.instance_type},
            )
            self.outputs[self.resource] = instance
            return
        current = living[0]
        fields, reason = self._reasons(current)
        if fields or reason:
            self.outputs[self.resource] = yield Change(
                action=Action.REPLACE,
                resource=self.resource,
                title=f"{self.title} ({self.instance_type})",
                apply=partial(self._replace, current["InstanceId"], tags),
                fields=fields,
                reason=reason,
                disrupts=self.disrupts,
            )
            return
        self.outputs[self.resource] = current["InstanceId"]
        yield from self.retag_ec2(current, current["InstanceId"], tags)
        yield from self._in_place(current)

    def _reasons(self, current: dict[str, Any]) -> tuple[tuple[FieldChange, ...], str]:
        """Why the instance has to be replaced: what differs, or its failure."""
        old = {"type": current["InstanceType"]}
        new = {"type": self.instance_type}
        named = images.chosen(self, self.role)
        if named:
            old["image"], new["image"] = current["ImageId"], named
        tags = tags_of(current)
        for key, value in self.spec().items():
            # an instance that lacks the tag was made before the setting was there
            old[key.removeprefix(SPEC)] = tags.get(key, value)
            new[key.removeprefix(SPEC)] = value
        name = self.names.parameters.phase(self.role, current["InstanceId"])
        phase = parameters.parsed(parameters.read(self).get(name))
        reason = ""
        if phase.get("phase") == Phase.FAILED:
            reason = f"its set-up failed: {phase.get('detail', 'no reason given')}"
        return tuple(self._worded(current, field) for field in differences(old, new)), reason

    def _worded(self, current: dict[str, Any], field: FieldChange) -> FieldChange:
        """A difference of the tags as people say it."""
        if field.name == USER_DATA:
            return FieldChange(name="user data", new=self._script_changed(current["InstanceId"]))
        if field.old.startswith(wording.DIGEST) or field.new.startswith(wording.DIGEST):
            return FieldChange(name=field.name, new="another value")
        return FieldChange(
            name=field.name,
            old=wording.value(field.name, field.old),
            new=wording.value(field.name, field.new),
        )

    def _script_changed(self, instance: str) -> str:
        answer = self.call(
            "ec2", "describe_instance_attribute", InstanceId=instance, Attribute="userData"
        )
        old = base64.b64decode(str(answer.get("UserData", {}).get("Value", ""))).decode()
        return wording.lines_changed(old, userdata.render(self.role, self.names))

    def _in_place(self, current: dict[str, Any]) -> Changes:
        instance = current["InstanceId"]
        if current["State"]["Name"] in ("stopping", "stopped"):
            yield self.update(
                self.resource,
                f"start the {self.title.lower()} again",
                partial(self._start, instance),
                (FieldChange(name="state", old=current["State"]["Name"], new="running"),),
            )
        group = self.outputs["firewall"][self.role]
        interfaces = current.get("NetworkInterfaces") or [{"Groups": current["SecurityGroups"]}]
        groups = [item["GroupId"] for item in interfaces[0].get("Groups", [])]
        if groups != [group]:
            yield self.update(
                self.resource,
                f"security group of the {self.title.lower()}",
                partial(
                    self.settle,
                    "ec2",
                    "modify_instance_attribute",
                    InstanceId=instance,
                    Groups=[group],
                ),
                (FieldChange(name="groups", old=" ".join(groups), new=group),),
            )
        options = current.get("MetadataOptions", {})
        wrong = {key: value for key, value in METADATA.items() if options.get(key, value) != value}
        if wrong:
            yield self.update(
                self.resource,
                f"metadata service of the {self.title.lower()}",
                partial(
                    self.settle,
                    "ec2",
                    "modify_instance_metadata_options",
                    InstanceId=instance,
                    **METADATA,
                ),
                differences(options, wrong),
            )

    def _start(self, instance: str) -> None:
        self.until(
            lambda: True if instances.state_of(self, instance) != "stopping" else None,
            what=f"{instance} to have stopped",
        )
        self.settle("ec2", "start_instances", InstanceIds=[instance])

    # ---- doing -------------------------------------------------------------------------------

    def _replace(self, old: str, tags: dict[str, str]) -> str:
        instances.end(self, [old], what=f"the old {self.title.lower()}")
        return self._launch(tags, [old])

    def _launch(self, tags: dict[str, str], before: list[str]) -> str:
        """Run the instance in the first subnet whose zone has room for it."""
        subnets = self.subnets()
        for number, subnet in enumerate(subnets):
            try:
                return self._run(subnet, tags, before)
            except AwsError as error:
                if error.code not in CAPACITY or number == len(subnets) - 1:
                    raise
        raise AssertionError("there is at least one subnet")

    def _run(self, subnet: str, tags: dict[str, str], before: list[str]) -> str:
        ami = images.image(self, self.role)
        tags = {**tags, TAG_RELEASE: release_mark(self.outputs["release"])}
        request: dict[str, Any] = {
            "ImageId": ami,
            "InstanceType": self.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "IamInstanceProfile": {"Name": self.names.machine_role(self.role)},
            "UserData": userdata.render(self.role, self.names),
            "MetadataOptions": METADATA,
            "BlockDeviceMappings": blocks(images.root_device(self, self.role, ami), self.disk),
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0,
                    "SubnetId": subnet,
                    "Groups": [self.outputs["firewall"][self.role]],
                    "AssociatePublicIpAddress": self.public,
                    "DeleteOnTermination": True,
                }
            ],
            "TagSpecifications": [
                self.tag_spec(kind, tags if kind == "instance" else self.tags(self.resource))
                for kind in ("instance", "volume", "network-interface")
            ],
        }
        key = self.outputs.get("key_pair")
        if key:
            request["KeyName"] = key
        # the same after a kill at this call; another after the instance before this one ended
        seed = token("run", json.dumps(request, sort_keys=True), *sorted(before))
        for _ in range(5):
            made = self.settle_profile("ec2", "run_instances", ClientToken=seed, **request)[
                "Instances"
            ][0]
            instance = str(made["InstanceId"])
            if instances.state_of(self, instance) in instances.ALIVE:
                return instance
            # the token remembers an instance that was ended since
            seed = token(seed, instance)
        raise AwsError(f"{self.title} ends as soon as it is launched", operation="run_instances")

    def destroy(self, observed: list[dict[str, Any]]) -> Changes:
        ids = [item["InstanceId"] for item in observed if item["State"]["Name"] != "terminated"]
        if ids:
            yield self.delete(
                self.resource,
                f"{self.title} {', '.join(ids)}",
                partial(instances.end, self, ids, what=self.title.lower()),
            )
