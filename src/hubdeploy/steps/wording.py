"""Differences in a plan as people say them: sizes, times and lines, no bytes and digests."""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Mapping
from typing import Any

from hubdeploy.config.fields import format_span
from hubdeploy.config.limits import show_size
from hubdeploy.pipeline.change import FieldChange, differences

SIZES = frozenset({"disk", "state_disk", "memory", "max_cluster_memory", "max_disk_utilization"})
"""Settings in bytes, by the last word of their key path."""
SPANS = frozenset({"idle_after", "max_age", "start_timeout", "converge_every", "join_deadline"})
"""Settings in seconds."""
DIGEST = "sha256:"
_DIGEST = re.compile(r"[0-9a-f]{16,}")
_MARK = 8
_LONG = 40


def value(path: str, text: str) -> str:
    """A setting's value as it would be written, or cut to what tells it from another."""
    name = path.rpartition(".")[2]
    if text.isdecimal() and name in SIZES:
        return show_size(int(text))
    if text.isdecimal() and name in SPANS:
        return format_span(int(text))
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def mark(text: str) -> str:
    """Of a digest as much as tells one release from the next; other texts as they are."""
    return text[:_MARK] if _DIGEST.fullmatch(text) else text


def lines_changed(old: str, new: str) -> str:
    """``3 lines changed``: those of the longer side of each place that differs."""
    places = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    number = sum(
        max(old_end - old_begin, new_end - new_begin)
        for kind, old_begin, old_end, new_begin, new_end in places.get_opcodes()
        if kind != "equal"
    )
    return f"{number} line{'' if number == 1 else 's'} changed"


def template(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """What differs between the data of two versions of a launch template; empty if nothing that
    shows there does."""
    scripts = [_script(data) for data in (old, new)]
    changed = (
        [FieldChange(name="user data", new=lines_changed(*scripts))]
        if scripts[0] != scripts[1]
        else []
    )
    return (*differences(_flat(old), _flat(new)), *changed)


def _script(data: Mapping[str, Any]) -> str:
    try:
        return base64.b64decode(str(data.get("UserData", ""))).decode(errors="replace")
    except binascii.Error:
        return ""


def _flat(data: Mapping[str, Any]) -> dict[str, str]:
    """A launch template's data by names that people use."""
    (network,) = data.get("NetworkInterfaces") or [{}]
    groups = [*data.get("SecurityGroupIds", []), *network.get("Groups", [])]
    found = {
        "image": str(data.get("ImageId", "")),
        "instance profile": str(data.get("IamInstanceProfile", {}).get("Name", "")),
        "SSH key": str(data.get("KeyName", "none")),
        "security group": " ".join(groups),
        "public address": "yes" if network.get("AssociatePublicIpAddress") else "no",
        "detailed monitoring": "on" if data.get("Monitoring", {}).get("Enabled") else "off",
        "on shutdown": str(data.get("InstanceInitiatedShutdownBehavior", "")),
    }
    for block in data.get("BlockDeviceMappings", []):
        ebs = block.get("Ebs", {})
        encrypted = "encrypted" if ebs.get("Encrypted") else "not encrypted"
        size = f"{ebs.get('VolumeSize')} GiB {ebs.get('VolumeType')}, {encrypted}"
        found[f"disk {block.get('DeviceName')}"] = size
    for name, setting in data.get("MetadataOptions", {}).items():
        found[f"metadata {name}"] = str(setting)
    for spec in data.get("TagSpecifications", []):
        if spec["ResourceType"] == "instance":
            tags = {tag["Key"]: tag["Value"] for tag in spec["Tags"]}
            # our own say nothing that the rest does not
            found |= {f"tag {k}": v for k, v in tags.items() if not k.startswith("hubdeploy:")}
    return found
