"""The estimate comes from the price list and says what it leaves out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.plugins.standing import TEXT, Standing

from hubdeploy.aws import pricing
from hubdeploy.aws.pricing import Price
from hubdeploy.config.load import parse
from hubdeploy.operate import cost

Make = Callable[[str], Standing]
BASE = 'name = "demo"\nregion = "eu-central-1"\n'


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
        ({"a": {"priceDimensions": {"b": {"pricePerUnit": {"USD": "0.0104"}}}}}, 0.0104),
        ({"a": {"priceDimensions": {"b": {"pricePerUnit": {"USD": "0.0"}}}}}, None),
        ({"a": {"priceDimensions": {"b": {"pricePerUnit": {"CNY": "1"}}}}}, None),
        ({}, None),
    ],
)
def test_only_a_price_above_zero_counts(terms: object, dollars: float | None) -> None:
    price = pricing.parse({"terms": {"OnDemand": terms}, "publicationDate": "2026-01-01"})
    assert (price.dollars if price else None) == dollars


def test_more_workers_cost_more_only_when_they_run(configured: Make) -> None:
    small = configured(BASE + "[workers]\nmax_nodes = 2\n")
    large = configured(BASE + "[workers]\nmax_nodes = 20\n")
    one, other = (cost.read(m.config, aws=m.aws) for m in (small, large))
    assert one.idle == other.idle
    assert one.full is not None
    assert other.full is not None
    assert other.full > one.full
