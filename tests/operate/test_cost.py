"""The estimate comes from the price list and says what it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.plugins.standing import TEXT, Standing

from hubdeploy.aws import pricing
from hubdeploy.aws.pricing import Price
from hubdeploy.config.load import parse
from hubdeploy.operate import cost, costchange, scale

Make = Callable[[str], Standing]
BASE = 'name = "demo"\nregion = "eu-central-1"\n'


def listed(unit: str, **per_unit: str) -> dict[str, Any]:
    """A product's terms as the price list has them."""
    return {"a": {"priceDimensions": {"b": {"unit": unit, "pricePerUnit": per_unit}}}}


def test_the_estimate_is_read_from_the_price_list(configured: Make) -> None:
    made = configured(BASE)
    found = cost.read(made.config, aws=made.aws)
    assert found.problem == ""
    assert found.missing == ()
    assert found.idle is not None
    assert found.full is not None
    assert found.user_hour is not None
    assert 0 < found.user_hour < found.idle < found.full
    assert "estimate" in found.lines()[0]


def test_without_prices_there_is_a_reason_and_no_figure(configured: Make) -> None:
    made = configured(BASE)
    made.cloud.faults.inject("pricing", "GetProducts", "AccessDeniedException")
    found = cost.read(made.config, aws=made.aws)
    assert found.idle is None
    assert "no estimate" in found.lines()[0]
    assert "AccessDenied" in found.lines()[0]


def test_what_has_no_price_is_named() -> None:
    config = parse(TEXT)
    prices = {"t3.medium": Price(dollars=0.05, unit="Hrs", published="2026-01-01")}
    found = cost.estimate(config, prices=prices, places=10)
    assert "nat gateway" in found.missing
    assert any("No price found for" in line for line in found.lines())


@pytest.mark.parametrize(
    ("terms", "dollars"),
    [
        (listed("Hrs", USD="0.0104"), 0.0104),
        (listed("Hours", USD="0.0104"), 0.0104),
        (listed("GB-Mo", USD="0.0104"), None),
        (listed("Requests", USD="0.0104"), None),
        (listed("Hrs", USD="0.0"), None),
        (listed("Hrs", CNY="1"), None),
        ({}, None),
    ],
)
def test_only_a_price_above_zero_and_by_the_hour_counts(
    terms: object, dollars: float | None
) -> None:
    product = {"terms": {"OnDemand": terms}, "publicationDate": "2026-01-01"}
    price = pricing.parse(product, unit="hour")
    assert (price.dollars if price else None) == dollars


def test_more_workers_cost_more_only_when_they_run(configured: Make) -> None:
    small = configured(BASE + "[workers]\nmax_nodes = 2\n")
    large = configured(BASE + "[workers]\nmax_nodes = 20\n")
    one, other = (cost.read(m.config, aws=m.aws) for m in (small, large))
    assert one.idle == other.idle
    assert one.full is not None
    assert other.full is not None
    assert other.full > one.full


def test_the_date_is_the_oldest_of_the_lists_that_were_used() -> None:
    dates = {"t3.medium": "2026-03-01", "gp3": "2025-11-01", "nat gateway": ""}
    prices = {n: Price(dollars=1, unit="Hrs", published=date) for n, date in dates.items()}
    assert cost.estimate(parse(TEXT), prices=prices, places=1).published == "2025-11-01"


def test_what_is_taken_for_granted_of_the_workers_is_said(configured: Make) -> None:
    plain = configured(BASE)
    assert cost.read(plain.config, aws=plain.aws).assumed == ""
    made = configured(
        BASE + '[workers]\ninstance_types = ["m6i.xlarge", "m5.xlarge"]\nspot_share = 30\n'
    )
    text = "\n".join(cost.read(made.config, aws=made.aws).lines())
    assert "counted as m6i.xlarge at the on-demand price" in text
    assert "spot instances (30 %)" in text
    assert "m5.xlarge" in text


def change(made: Standing, text: str) -> costchange.CostChange:
    new = parse(text)
    estimate = cost.read(new, aws=made.aws)
    found = costchange.read(new, estimate, aws=made.aws, names=made.names)
    assert found is not None
    return found


LARGER = (
    TEXT
    + """
instance_types = ["m6i.2xlarge"]
disk = "150G"
[leader]
instance_type = "t3.large"
disk = "60G"
state_disk = "40G"
"""
)


def test_a_change_adds_to_what_stands_and_the_way_back_saves_as_much(configured: Make) -> None:
    small = configured(TEXT)
    small.up()
    assert change(small, TEXT).lines() == ["This change: costs as much as before."]
    more = change(small, LARGER)
    # by the embedded price list: the leader's hour, 50 GB more of its disks, two workers
    worker = 0.192 + 100 * 0.1 / cost.HOURS
    idle = 0.04 + 50 * 0.1 / cost.HOURS + 2 * worker
    full = idle + 8 * worker
    assert (more.idle, more.full) == pytest.approx((idle, full))
    assert more.one_worker == pytest.approx(worker)
    assert more.lines()[0].startswith(f"This change: +${idle:.2f} an hour idle (about +$")
    small.up(config=parse(LARGER))
    back = change(small, TEXT)
    assert (back.idle, back.full) == pytest.approx((-idle, -full))
    assert back.one_worker == pytest.approx(-worker)
    assert back.lines()[0].startswith("This change: -$")


def test_limits_that_were_scaled_live_are_what_stands(configured: Make) -> None:
    made = configured(TEXT)
    made.up()
    before = scale.current(aws=made.aws, names=made.names)
    scale.scale(scale.wanted(before, max_nodes=12), aws=made.aws, names=made.names)
    found = change(made, TEXT)
    assert found.idle == pytest.approx(0)
    assert found.full is not None
    assert found.full < 0


def test_nothing_stands_so_nothing_is_compared(configured: Make) -> None:
    made = configured(TEXT)
    estimate = cost.read(made.config, aws=made.aws)
    assert costchange.read(made.config, estimate, aws=made.aws, names=made.names) is None


def test_without_prices_a_change_says_why_it_has_no_figure(standing: Standing) -> None:
    standing.cloud.faults.inject("pricing", "GetProducts", "AccessDeniedException", times=99)
    found = change(standing, TEXT)
    assert found.idle is None
    assert "no estimate (the price list cannot be read" in found.lines()[0]


def test_where_one_price_is_lacking_no_difference_is_claimed() -> None:
    whole = cost.Estimate(idle=1, full=2, one_worker=0.1)
    part = cost.Estimate(idle=0.5, full=2, one_worker=0.1, missing=("x9.huge",))
    for pair in ((whole, part), (part, whole)):
        found = costchange.between(*pair)
        assert found.idle is None
        assert "x9.huge" in found.lines()[0]
