"""Prices from AWS's price list API: on demand, in US dollars, never from numbers in the code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from hubdeploy.aws.session import Aws

API_REGION = "us-east-1"
"""The price list API lives in few regions; this one knows the prices of all."""


UNITS = {"hour": ("hrs", "hours", "hour"), "GB-month": ("gb-mo", "gb-month")}
"""Our units, and how the list spells them for one service or another, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Sku:
    """One thing that has a price. ``unit`` is what one of it is paid by, a key of ``UNITS``."""

    name: str
    service: str
    filters: tuple[tuple[str, str], ...]
    unit: str


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars for one ``unit``; ``published`` is the list's date (ISO 8601)."""

    dollars: float
    unit: str
    published: str


def instance(kind: str) -> Sku:
    """A shared Linux instance on demand."""
    return Sku(
        name=kind,
        service="AmazonEC2",
        unit="hour",
        filters=(
            ("instanceType", kind),
            ("operatingSystem", "Linux"),
            ("tenancy", "Shared"),
            ("preInstalledSw", "NA"),
            ("capacitystatus", "Used"),
        ),
    )


GP3 = Sku(
    name="gp3",
    service="AmazonEC2",
    unit="GB-month",
    filters=(("productFamily", "Storage"), ("volumeApiName", "gp3")),
)
NAT = Sku(
    name="nat gateway",
    service="AmazonEC2",
    unit="hour",
    filters=(
        ("productFamily", "NAT Gateway"),
        ("group", "NGW:NatGateway"),
        ("groupDescription", "Hourly charge for NAT Gateways"),
    ),
)
PUBLIC_ADDRESS = Sku(
    name="public address",
    service="AmazonVPC",
    unit="hour",
    filters=(
        ("group", "VPCPublicIPv4Address"),
        ("groupDescription", "Hourly charge for In-use Public IPv4 Addresses"),
    ),
)
EFS = Sku(
    name="efs",
    service="AmazonEFS",
    unit="GB-month",
    filters=(("productFamily", "Storage"), ("storageClass", "General Purpose")),
)


def prices(skus: Iterable[Sku], *, aws: Aws) -> dict[str, Price]:
    """Prices by name; what has none in the list is missing. AWS's refusal is an ``AwsError``."""
    wanted = list({sku.name: sku for sku in skus}.values())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda sku: _price(sku, aws), wanted))
    return {sku.name: price for sku, price in zip(wanted, found, strict=True) if price}


def _price(sku: Sku, aws: Aws) -> Price | None:
    from hubdeploy.aws.errors import translated

    filters = [*sku.filters, ("regionCode", aws.region)]
    with translated("pricing", "get_products"):
        answer = aws.client("pricing", region=API_REGION).get_products(
            ServiceCode=sku.service,
            Filters=[{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in filters],
            MaxResults=20,
        )
    for text in answer["PriceList"]:
        price = parse(json.loads(text) if isinstance(text, str) else text, unit=sku.unit)
        if price is not None:
            return price
    return None


def parse(product: dict[str, Any], *, unit: str) -> Price | None:
    """The on-demand price of one product of the list by ``unit`` (a key of ``UNITS``).

    None if it has none above zero. A price by anything else (a request, a second) would be taken
    for the wrong amount.
    """
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            try:
                dollars = float(dimension["pricePerUnit"]["USD"])
            except (KeyError, ValueError):
                continue
            spelled = str(dimension.get("unit", ""))
            if dollars > 0 and spelled.lower() in UNITS[unit]:
                return Price(
                    dollars=dollars,
                    unit=spelled,
                    published=str(product.get("publicationDate", "")),
                )
    return None
