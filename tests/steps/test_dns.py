"""The hub's name in Route 53."""

from __future__ import annotations

from typing import Any

import pytest

from hubdeploy.errors import ConfigError
from hubdeploy.pipeline.change import Action, Unknown
from hubdeploy.pipeline.runner import PipelineFailed
from hubdeploy.steps.dns import best_zone
from tests.plugins.aws import CloudAccount
from tests.steps.rig import Rig
from tests.steps.spoiling import lose_the_address


def zone(name: str, *, private: bool = False) -> dict[str, Any]:
    return {"Id": f"/hostedzone/{name}", "Name": name, "Config": {"PrivateZone": private}}


def test_the_zone_with_the_longest_fitting_name_is_taken() -> None:
    zones = [zone("org."), zone("example.org."), zone("lab.example.org."), zone("ample.org.")]
    found = best_zone("lab.example.org", zones)
    assert found is not None
    assert found["Name"] == "lab.example.org."
    assert best_zone("example.org", zones) == zones[1]
    assert best_zone("example.com", zones) is None


def test_a_private_zone_is_none_for_the_web() -> None:
    assert best_zone("example.org", [zone("example.org.", private=True)]) is None


@pytest.fixture
def rig(cloud: CloudAccount) -> Rig:
    cloud.client("route53").create_hosted_zone(Name="example.org", CallerReference="x")
    return Rig(cloud, domain="lab.example.org")


def public_zone(cloud: CloudAccount) -> dict[str, Any]:
    """Cloud Map keeps a private one besides."""
    zones = cloud.aws.pages("route53", "list_hosted_zones", "HostedZones")
    (found,) = [item for item in zones if item["Name"] == "example.org."]
    return dict(found)


def records(cloud: CloudAccount) -> dict[str, list[str]]:
    found = public_zone(cloud)
    return {
        item["Name"]: [value["Value"] for value in item["ResourceRecords"]]
        for item in cloud.aws.pages(
            "route53", "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=found["Id"]
        )
        if item["Type"] == "A"
    }


def point(cloud: CloudAccount, name: str, address: str) -> None:
    """As somebody does by hand."""
    record = {
        "Name": name,
        "Type": "A",
        "TTL": 60,
        "ResourceRecords": [{"Value": address}],
    }
    cloud.client("route53").change_resource_record_sets(
        HostedZoneId=public_zone(cloud)["Id"],
        ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]},
    )


def test_the_hub_has_a_name_that_goes_with_it(rig: Rig, cloud: CloudAccount) -> None:
    rig.up()
    assert records(cloud) == {"notebooks.lab.example.org.": [rig.outputs["address.ip"]]}
    assert rig.plan() == []
    rig.down()
    assert records(cloud) == {}


def test_the_name_follows_when_the_address_was_given_back_by_hand(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    lost = rig.outputs["address.ip"]
    lose_the_address(rig)
    (change,) = [change for change in rig.plan() if change.resource == "dns"]
    assert (change.fields[0].old, change.fields[0].new) == (lost, Unknown("address.leader"))
    rig.up()
    assert rig.outputs["address.ip"] != lost
    assert records(cloud) == {"notebooks.lab.example.org.": [rig.outputs["address.ip"]]}
    assert rig.plan() == []
    rig.down()
    assert records(cloud) == {}


def test_down_takes_a_name_along_whose_address_was_given_back_by_hand(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    lose_the_address(rig)
    (change,) = [change for change in rig.plan_down() if change.resource == "dns"]
    (noted,) = records(cloud)["notebooks.lab.example.org."]
    assert change.title == f"DNS record notebooks.lab.example.org, which is {noted}"
    rig.down()
    assert records(cloud) == {}


def test_a_name_is_known_as_ours_also_after_an_up_that_died_before_it_moved_it(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    lose_the_address(rig)
    cloud.faults.inject("route53", "ChangeResourceRecordSets", "Died")
    with pytest.raises(PipelineFailed):
        rig.up()
    cloud.faults.clear()
    (change,) = [change for change in rig.plan() if change.resource == "dns"]
    assert change.disrupts == "", "nobody else's, so that --yes is enough"
    rig.down()
    assert records(cloud) == {}


def test_a_name_is_not_ours_for_an_address_that_another_name_had(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    (lost,) = records(cloud)["notebooks.lab.example.org."]
    lose_the_address(rig)
    point(cloud, "notebooks.example.org.", lost)
    rig.tables["domain"] = "example.org"
    rig.down()
    assert set(records(cloud)) == {"notebooks.example.org."}


def test_a_name_that_points_elsewhere_is_moved_only_when_asked(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    point(cloud, "notebooks.lab.example.org.", "192.0.2.1")
    (change,) = rig.plan()
    assert change.disrupts == "notebooks.lab.example.org points elsewhere now"
    assert (change.fields[0].old, change.fields[0].new) == ("192.0.2.1", rig.outputs["address.ip"])
    # somebody else's by now: not ours to delete, but told
    kept = [c for made in rig.down().changes.values() for c in made if c.action is Action.KEEP]
    assert records(cloud) == {"notebooks.lab.example.org.": ["192.0.2.1"]}
    (told,) = [change for change in kept if change.resource == "dns"]
    assert "notebooks.lab.example.org, which points to 192.0.2.1" in told.title
    assert "delete the record in Route 53" in told.reason


@pytest.mark.parametrize("domain", ["other.example.org", None])
def test_a_name_that_the_configuration_gives_up_goes_with_up(
    rig: Rig, cloud: CloudAccount, domain: str | None
) -> None:
    rig.up()
    changed = {"domain": domain}
    planned = [c for c in rig.plan(**changed) if c.resource == "dns"]
    assert planned[0].title.startswith("DNS record notebooks.lab.example.org, which is ")
    rig.up(**changed)
    assert set(records(cloud)) == ({f"notebooks.{domain}."} if domain else set())
    assert rig.plan(**changed) == []


def test_down_finds_the_name_that_was_set_whatever_the_configuration_says_now(
    rig: Rig, cloud: CloudAccount
) -> None:
    rig.up()
    rig.tables["domain"] = None
    rig.down()
    assert records(cloud) == {}


def test_a_domain_without_a_zone_is_refused_in_one_line(cloud: CloudAccount) -> None:
    with pytest.raises(PipelineFailed) as failed:
        Rig(cloud, domain="nowhere.example").plan()
    error = failed.value.failures["dns.zone"]
    assert isinstance(error, ConfigError)
    assert "no public Route 53 zone for nowhere.example" in error.message
    assert "create the zone" in error.hint
