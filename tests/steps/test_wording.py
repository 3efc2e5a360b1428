"""A plan says what changes in words: no digest, no bytes, no base64."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from hubdeploy.config import userdata
from hubdeploy.steps import wording
from tests.plugins.aws import CloudAccount
from tests.steps.rig import WAITS, Rig


@pytest.mark.parametrize(
    ("path", "text", "shown"),
    [
        ("leader.disk", str(30 << 30), "30 GiB"),
        ("hub.memory", str(1536 << 20), "1.5 GiB"),
        ("hub.profiles[big].memory", str(8 << 30), "8 GiB"),
        ("workers.idle_after", "300", "5m"),
        ("hub.title", "Science", "Science"),
        ("hub.title", "x" * 50, "x" * 39 + "…"),
        ("workers.min_nodes", "3", "3"),
    ],
)
def test_a_value_is_shown_as_it_is_written(path: str, text: str, shown: str) -> None:
    assert wording.value(path, text) == shown


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", "1 line changed"),
        ("a\nb\n", "a\nb\nc\nd\n", "2 lines changed"),
        ("a\nb\nc\n", "x\nb\n", "2 lines changed"),
    ],
)
def test_scripts_differ_by_lines(old: str, new: str, said: str) -> None:
    assert wording.lines_changed(old, new) == said


def test_two_versions_of_a_template_differ_by_what_people_know() -> None:
    def data(script: str, size: int, **more: Any) -> dict[str, Any]:
        ebs = {"VolumeSize": size, "VolumeType": "gp3", "Encrypted": True}
        return {
            "UserData": base64.b64encode(script.encode()).decode(),
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": ebs}],
            **more,
        }

    found = wording.template(data("a\nb\n", 50), data("a\nc\n", 80, KeyName="ours"))
    assert {field.name: (field.old, field.new) for field in found} == {
        "SSH key": ("none", "ours"),
        "disk /dev/xvda": ("50 GiB gp3, encrypted", "80 GiB gp3, encrypted"),
        "user data": ("", "1 line changed"),
    }


def test_no_plan_of_a_standing_deployment_shows_a_digest_or_bytes(
    cloud: CloudAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(cloud)
    rig.up(waits=dict.fromkeys(WAITS, 100))
    render = userdata.render
    monkeypatch.setattr(userdata, "render", lambda *words: render(*words) + "# one more\n")
    changes = rig.plan(
        leader={"disk": "60G", "state_disk": "40G"},
        workers={"disk": "80G", "idle_after": "10m"},
        hub={"memory": "4G", "profiles": [{"name": "big", "title": "Big", "memory": "8G"}]},
        chef={"licence_id": "free-00000000"},
    )
    fields = {(c.resource, f.name): (f.old, f.new) for c in changes for f in c.fields}
    assert fields["instance.leader", "leader.disk"] == ("30 GiB", "60 GiB")
    assert fields["instance.leader", "user data"] == ("", "1 line changed")
    assert fields["template.workers", "user data"] == ("", "1 line changed")
    assert fields["release", "hub.memory"] == ("2 GiB", "4 GiB")
    assert fields["release", "workers.idle_after"] == ("5m", "10m")
    assert fields["release", "chef_licence_id"] == ("", "another value")
    for (_, name), texts in fields.items():
        for text in texts:
            # eight digits may be the mark of a launch template, which is hexadecimal
            words = re.sub(r"\b[a-z]+-[0-9a-f]{17}\b", "(an id)", text)
            assert not re.search(r"[0-9a-f]{13,}|\b\d{9,}\b|sha256", words), name
