"""What the machines are told."""

from __future__ import annotations

import json
from typing import Any

from hubdeploy.config.names import Names
from hubdeploy.config.settings import Settings, encode
from hubdeploy.pipeline.step import Outputs
from hubdeploy.steps import fixed
from hubdeploy.steps.machine import tag_text
from hubdeploy.steps.parameters import limits
from hubdeploy.steps.release import flat, settings
from tests.steps.rig import config

NAMES = Names(deployment="demo", region="eu-central-1", account="123456789012")


def rendered(**tables: Any) -> Settings:
    outputs = Outputs()
    for name, value in {
        "address.ip": "192.0.2.7",
        "file_system": "fs-0123456789abcdef0",
        "access_point": "fsap-1",
        "zone": "Z1",
        "volume": "vol-1",
    }.items():
        outputs[name] = value
    return settings(config(**tables), NAMES, outputs)


def test_every_key_that_the_machines_expect_is_there() -> None:
    assert set(rendered()) == set(Settings.__annotations__)


def test_the_same_configuration_gives_the_same_digest() -> None:
    assert encode(rendered()) == encode(rendered())
    assert encode(rendered()) != encode(rendered(hub={"title": "Science"}))


def test_the_hub_is_called_by_its_domain_or_by_the_leaders_address() -> None:
    assert rendered(domain="lab.example.org")["hub_url"] == (
        "https://notebooks.lab.example.org/hub/login"
    )
    assert rendered()["hub_host"] == "192.0.2.7"


def test_without_a_domain_no_authority_is_asked_for_a_certificate() -> None:
    assert rendered()["tls"]["kind"] == "self-signed"
    assert rendered(domain="lab.example.org")["tls"]["kind"] == "letsencrypt"


def test_goiardi_has_no_organisations() -> None:
    assert rendered(chef={"distribution": "goiardi"})["chef_url"] == "https://chef.demo.internal"
    assert rendered()["chef_url"].endswith("/organizations/hubdeploy")


def test_sizes_are_bytes_and_times_are_seconds() -> None:
    found = rendered(hub={"memory": "3G"}, workers={"idle_after": "5m"})
    assert found["hub"]["memory"] == 3 << 30
    assert found["workers"]["idle_after"] == 300
    json.dumps(found)


def test_the_limits_are_those_of_the_configuration() -> None:
    found = limits(config(workers={"max_nodes": 7}, limits={"max_concurrent_users": 9}))
    assert (found.max_nodes, found.max_concurrent_users) == (7, 9)
    assert found.max_cluster_memory == 256 << 30


def test_two_nested_objects_are_compared_by_key_path() -> None:
    assert dict(flat({"a": {"b": 1, "c": []}, "d": "x"})) == {"a.b": "1", "a.c": "[]", "d": "x"}


def test_every_setting_that_cannot_change_is_remembered() -> None:
    assert set(fixed.tags(config())) == {
        f"{fixed.PREFIX}{path}"
        for path in (
            "network.cidr",
            "network.zones",
            "network.egress",
            "network.docker_pool",
            "chef.distribution",
            "storage.file_system",
        )
    }


def test_a_tag_holds_short_plain_text_as_it_is_and_the_rest_by_digest() -> None:
    assert tag_text("15.10.91") == "15.10.91"
    assert tag_text(None) == "none"
    assert tag_text("x" * 61).startswith("sha256:")
    assert tag_text("a\nb").startswith("sha256:")
