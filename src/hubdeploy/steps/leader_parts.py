"""What the leader has for good: its public address and the volume with the hub's state."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from hubdeploy.aws.inventory import tags_of
from hubdeploy.aws.waiting import retry_codes
from hubdeploy.config.limits import format_size
from hubdeploy.config.names import TAG_KEEP, TAG_RESOURCE
from hubdeploy.errors import AwsError, ConfigError
from hubdeploy.pipeline.change import Action, Change, Changes, FieldChange, Unknown
from hubdeploy.pipeline.step import Context
from hubdeploy.steps.base import Part, token
from hubdeploy.steps.nat import allocate, release

GIB = 1 << 30
ADDRESS = "address.leader"
VOLUME = "volume.leader"
NOT_YET = frozenset({"InvalidInstanceID", "IncorrectInstanceState", "InvalidInstanceID.NotFound"})
"""What AssociateAddress says of an instance that is still pending."""


def keeps_hub(ctx: Context) -> bool:
    """Whether ``down`` spares what the hub knows: accounts, settings, secrets."""
    wanted = ctx.config.storage.keep == "files-and-hub"
    return wanted and ctx.delete_files != ctx.names.deployment


def gib(size: int) -> int:
    """Whole GiB, rounded up, as EBS takes them."""
    return -(-size // GIB)


class Address(Part[dict[str, Any]]):
    """The leader's Elastic IP: users' bookmarks and DNS survive another instance."""

    name = "leader.address"
    title = "Leader's address"
    needs = ("deployment",)

    def observe(self) -> dict[str, Any]:
        found = self.ctx.inventory.by_resource("describe_addresses", "Addresses")
        return found.get(ADDRESS, {})

    def changes(self, observed: dict[str, Any]) -> Changes:
        if observed:
            allocation = observed["AllocationId"]
            self.outputs["address.ip"] = observed["PublicIp"]
            yield from self.retag_ec2(observed, allocation, self.tags(ADDRESS))
        else:
            allocation = yield self.create(ADDRESS, "address of the leader", self._allocate)
            if isinstance(allocation, Unknown):
                self.outputs["address.ip"] = allocation
        self.outputs["address"] = allocation

    def _allocate(self) -> str:
        allocation = allocate(self, ADDRESS)
        found = self.settle("ec2", "describe_addresses", AllocationIds=[allocation])
        self.outputs["address.ip"] = found["Addresses"][0]["PublicIp"]
        return allocation

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if observed:
            allocation = observed["AllocationId"]
            yield self.delete(
                ADDRESS, f"address {observed['PublicIp']}", partial(self._release, allocation)
            )

    def _release(self, allocation: str) -> None:
        # an instance that was ended has let go by itself, but not always at once
        found = self.call(
            "ec2",
            "describe_addresses",
            Filters=[{"Name": "allocation-id", "Values": [allocation]}],
        )["Addresses"]
        for item in found:
            if item.get("AssociationId"):
                self.remove("ec2", "disassociate_address", AssociationId=item["AssociationId"])
        if found:
            release(self, allocation)


class AttachAddress(Part[dict[str, Any]]):
    """The address points to the leader that is there."""

    name = "leader.attach"
    title = "Leader reachable"
    needs = ("leader.address", "machine.leader")

    def observe(self) -> dict[str, Any]:
        found = self.ctx.inventory.by_resource("describe_addresses", "Addresses")
        return found.get(ADDRESS, {})

    def changes(self, observed: dict[str, Any]) -> Changes:
        instance = self.outputs["instance.leader"]
        old = str(observed.get("InstanceId") or "")
        if old != instance:
            allocation = self.outputs["address"]
            yield self.update(
                ADDRESS,
                "point the leader's address to the leader",
                partial(self._associate, allocation, instance),
                (FieldChange(name="instance", old=old, new=instance),),
            )

    def _associate(self, allocation: str, instance: str) -> None:
        retry_codes(
            lambda: self.call(
                "ec2",
                "associate_address",
                AllocationId=allocation,
                InstanceId=instance,
                AllowReassociation=True,
            ),
            what=f"{instance} to run, so that it can have the address",
            codes=NOT_YET,
            deadline=self.config.waits.aws,
            every=2.0,
            say=self.ctx.say,
            cancelled=self.ctx.cancelled,
        )


class Volume(Part[dict[str, Any]]):
    """The hub's database and secrets; the leader mounts it, whichever instance that is."""

    name = "leader.volume"
    title = "Leader's volume"
    needs = ("network.subnets",)

    def observe(self) -> dict[str, Any]:
        found = [
            item
            for item in self.ctx.inventory.ec2("describe_volumes", "Volumes")
            if tags_of(item).get(TAG_RESOURCE) == VOLUME
            and item["State"] in ("creating", "available", "in-use")
        ]
        return found[0] if found else {}

    def changes(self, observed: dict[str, Any]) -> Changes:
        size = gib(self.config.leader.state_disk)
        if not observed:
            zone = self.outputs["zones"][0]
            self.outputs["volume.zone"] = zone
            self.outputs["volume"] = yield self.create(
                VOLUME,
                "encrypted volume for the hub's state",
                partial(self._create, zone, size),
                {"size": f"{size}G", "zone": zone},
            )
            return
        volume = observed["VolumeId"]
        self.outputs["volume"] = volume
        self.outputs["volume.zone"] = observed["AvailabilityZone"]
        yield from self._adopt(observed, volume)
        yield from self.retag_ec2(observed, volume, self.tags(VOLUME))
        if size < observed["Size"]:
            raise ConfigError(
                f"leader.state_disk: {format_size(self.config.leader.state_disk)} is less than "
                f"the volume has ({observed['Size']}G), and volumes cannot shrink",
                hint=f'set state_disk = "{observed["Size"]}G" or more',
            )
        if size > observed["Size"]:
            yield self.update(
                VOLUME,
                "grow the volume",
                partial(self.settle, "ec2", "modify_volume", VolumeId=volume, Size=size),
                (FieldChange(name="size", old=f"{observed['Size']}G", new=f"{size}G"),),
            )

    def _adopt(self, observed: dict[str, Any], volume: str) -> Changes:
        zone, zones = observed["AvailabilityZone"], self.outputs["zones"]
        if zone not in zones:
            raise ConfigError(
                f"the leader's volume {volume} is in zone {zone}, outside network.zones "
                f"({', '.join(zones)})",
                hint=f'name the zones, "{zone}" among them',
            )
        kept = tags_of(observed).get(TAG_KEEP)
        if kept:
            yield self.update(
                VOLUME,
                f"take up the hub's volume {volume} that was kept on {kept[:10]}",
                partial(
                    self.settle,
                    "ec2",
                    "delete_tags",
                    Resources=[volume],
                    Tags=[{"Key": TAG_KEEP}],
                ),
                (FieldChange(name=TAG_KEEP, old=kept),),
            )

    def _create(self, zone: str, size: int) -> str:
        seed = token("volume", self.names.account, self.outputs["vpc"], zone)
        for _ in range(5):
            made = self.call(
                "ec2",
                "create_volume",
                AvailabilityZone=zone,
                Size=size,
                VolumeType="gp3",
                Encrypted=True,
                ClientToken=seed,
                TagSpecifications=[self.tag_spec("volume", self.tags(VOLUME))],
            )
            volume = str(made["VolumeId"])
            if made.get("State", "creating") in ("creating", "available"):
                return volume
            # the token remembers a volume that was deleted since
            seed = token(seed, volume)
        raise AwsError(f"no new volume could be made in {zone}", operation="create_volume")

    def destroy(self, observed: dict[str, Any]) -> Changes:
        del observed
        for item in self.ctx.inventory.ec2("describe_volumes", "Volumes"):
            volume = item["VolumeId"]
            resource = tags_of(item).get(TAG_RESOURCE, "")
            # the root disk of an instance goes with it
            goes_by_itself = resource.startswith("instance.") and item["State"] == "in-use"
            if goes_by_itself or item["State"] in ("deleting", "deleted"):
                continue
            if resource == VOLUME and keeps_hub(self.ctx):
                yield self._kept(item, volume)
                continue
            yield self.delete(
                resource or volume,
                f"volume {volume}",
                partial(
                    self.remove,
                    "ec2",
                    "delete_volume",
                    wait_on={"VolumeInUse", "IncorrectState"},
                    VolumeId=volume,
                ),
            )

    def _kept(self, item: dict[str, Any], volume: str) -> Change:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        mark = partial(
            self.settle,
            "ec2",
            "create_tags",
            Resources=[volume],
            Tags=[{"Key": TAG_KEEP, "Value": now}],
        )
        return Change(
            action=Action.KEEP,
            resource=VOLUME,
            title=f"volume {volume} with the hub's accounts and settings",
            apply=(lambda: None) if TAG_KEEP in tags_of(item) else mark,
            reason='the next `hubdeploy up` takes it up; without keep = "files-and-hub" in '
            "[storage], `hubdeploy down` deletes it",
        )
