"""Instance types, machine images, quotas: what AWS does not have to give is seen beforehand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doctor.conftest import Examine, debian, said
from tests.plugins.standing import TEXT, Standing

from hubdeploy.config.load import parse
from hubdeploy.config.model import Config
from hubdeploy.doctor.families import family, vcpus
from hubdeploy.pipeline.step import Severity

Make = Callable[[str], Standing]
BASE = 'name = "demo"\nregion = "eu-central-1"\n'
SIZES = {"t3.medium": 2, "t3.large": 2, "t3.small": 2, "m6i.xlarge": 4, "g4dn.xlarge": 4}


def workers(**values: object) -> str:
    lines = [f"{key} = {str(value).replace(chr(39), chr(34))}" for key, value in values.items()]
    return BASE + "[workers]\n" + "\n".join(lines) + "\n"


def test_a_type_that_few_zones_offer_is_warned_of(configured: Make, examine: Examine) -> None:
    made = configured(BASE)
    zones = defaultdict(set)
    for offer in made.aws.pages(
        "ec2",
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
    ):
        zones[offer["InstanceType"]].add(offer["Location"])
    rare = next(kind for kind, there in sorted(zones.items()) if len(there) == 1)
    report = examine(configured(workers(instance_types=[rare])), "aws.types")
    assert report.severity is Severity.WARNING
    assert said(report) == f"{rare} is offered in 1 of 2 zones"
    twice = next(kind for kind, there in sorted(zones.items()) if len(there) == 2)
    absent = next(z for z in ("a", "b", "c") if f"eu-central-1{z}" not in zones[twice])
    named = f'[network]\nzones = ["eu-central-1{absent}", "{min(zones[twice])}"]\n'
    report = examine(configured(workers(instance_types=[twice]) + named), "aws.types")
    assert f"{twice} is offered in 1 of 2 zones" in said(report)


def test_an_image_that_is_not_there_is_an_error_for_each_machine_that_needs_it(
    configured: Make, examine: Examine
) -> None:
    assert examine(configured(TEXT), "aws.images").findings == []
    gone = configured(BASE + '[images]\ndebian = "ami-0123456789abcdef0"\n')
    report = examine(gone, "aws.images")
    assert [f.subject for f in report.findings] == ["workstation", "leader", "worker"]
    assert "image ami-0123456789abcdef0 is missing in eu-central-1" in said(report)


def test_a_region_without_published_images_is_told_what_to_set(
    configured: Make, examine: Examine
) -> None:
    made = configured(TEXT)
    made.cloud.faults.inject("ssm", "GetParameter", "ParameterNotFound")
    report = examine(made, "aws.images")
    assert "no machine image is published for eu-central-1" in said(report)
    assert "[images]" in report.findings[0].hint


def test_a_type_that_cannot_run_the_image_is_an_error(configured: Make, examine: Examine) -> None:
    report = examine(configured(workers(instance_types=["m6g.xlarge"])), "aws.images")
    assert "worker: m6g.xlarge is arm64, image ami-" in said(report)
    assert said(report).endswith("is x86_64")


@pytest.mark.parametrize(
    ("code", "quota", "text", "expected", "severity"),
    [
        ("L-1216C47A", 8, BASE, "standard instances: 0 of 8", Severity.ERROR),
        ("L-1216C47A", 20, BASE, "0 of 20 are used and 46 more", Severity.WARNING),
        (
            "L-34B43A08",
            8,
            workers(min_nodes=2, max_nodes=12, spot_share=50),
            "spot vCPUs of standard instances: 0 of 8 are used and 20 more",
            Severity.WARNING,
        ),
        (
            "L-DB2E81BA",
            0,
            workers(instance_types=["g4dn.xlarge"]),
            "vCPUs of G and VT instances: 0 of 0 are used and 40 more",
            Severity.ERROR,
        ),
        (
            "L-3819A6DF",
            0,
            workers(instance_types=["m6i.xlarge", "g4dn.xlarge"], spot_share=100),
            "spot vCPUs of G and VT instances: 0 of 0 are used and 36 more",
            Severity.ERROR,
        ),
        ("L-0263D0A3", 1, BASE, "Elastic IPs: 0 of 1 are used and 2 more", Severity.ERROR),
        ("L-F678F1CE", 1, BASE, "VPCs: 1 of 1 are used and 1 more", Severity.ERROR),
        ("L-848C634D", 0, BASE, "EFS file systems: 0 of 0 are used", Severity.ERROR),
    ],
)
def test_a_quota_too_small_says_how_to_ask_for_more(
    configured: Make,
    examine: Examine,
    code: str,
    quota: int,
    text: str,
    expected: str,
    severity: Severity,
) -> None:
    made = configured(text)
    assert examine(made, "aws.quotas").severity is Severity.OK
    made.cloud.settings.quotas[code] = quota
    report = examine(made, "aws.quotas")
    assert expected in said(report)
    assert report.severity is severity
    assert f"--quota-code {code}" in report.findings[0].hint


def test_what_others_run_counts_for_its_own_quota(configured: Make, examine: Examine) -> None:
    made = configured(TEXT)
    image = debian(made)
    made.aws.call(
        "ec2",
        "run_instances",
        ImageId=image,
        InstanceType="g4dn.xlarge",
        MinCount=1,
        MaxCount=1,
    )
    made.cloud.settings.quotas |= {"L-1216C47A": 46, "L-DB2E81BA": 0}
    assert examine(made, "aws.quotas").findings == []
    graphics = configured(workers(instance_types=["g4dn.xlarge"]))
    assert "G and VT instances: 2 of 0 are used" in said(examine(graphics, "aws.quotas"))


def test_a_quota_that_was_never_changed_has_awss_default(
    configured: Make, examine: Examine
) -> None:
    made = configured(TEXT)
    made.cloud.faults.inject("service-quotas", "GetServiceQuota", "NoSuchResourceException")
    assert examine(made, "aws.quotas").findings == []
    assert made.cloud.calls.find("service-quotas:GetAWSDefaultServiceQuota")


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("t3.large", "standard"),
        ("im4gn.large", "standard"),
        ("g5.xlarge", "G and VT"),
        ("gr6.4xlarge", "G and VT"),
        ("p4d.24xlarge", "P"),
        ("x2idn.16xlarge", "X"),
        ("inf2.xlarge", "Inf"),
        ("trn1.2xlarge", "Trn"),
        ("f1.2xlarge", "F"),
        ("u-6tb1.metal", "High Memory"),
        ("hpc6a.48xlarge", "HPC"),
        ("d3.xlarge", "standard"),
        ("dl1.24xlarge", "DL"),
    ],
)
def test_a_type_is_of_the_family_that_its_letters_say(kind: str, title: str) -> None:
    assert family(kind).title == title


def demands(config: Config) -> dict[str, tuple[int, int]]:
    return {d.code: (d.least, d.most) for d in vcpus(config, SIZES)}


@given(
    least=st.integers(0, 20),
    more=st.integers(1, 40),
    share=st.integers(0, 100),
)
def test_every_worker_is_counted_once_on_demand_or_spot(least: int, more: int, share: int) -> None:
    config = parse(workers(min_nodes=least, max_nodes=least + more, spot_share=share))
    found = demands(config)
    permanent = 6
    together = sum(most for _, most in found.values())
    assert together == permanent + 4 * (least + more)
    assert found["L-1216C47A"][1] >= permanent + 4 * least, "the least number is on demand"
    assert all(low <= high for low, high in found.values())


def test_each_family_has_to_hold_all_workers() -> None:
    config = parse(workers(instance_types=["m6i.xlarge", "g4dn.xlarge"], min_nodes=3, max_nodes=10))
    assert demands(config) == {"L-1216C47A": (6 + 12, 6 + 40), "L-DB2E81BA": (4, 40)}
