"""The price list API with the rehearsal's own made-up prices.

They stand in ``rehearsal-prices.json`` and are said to be made up in every product's attributes:
nobody may take one for AWS's.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from hubdeploy.sandbox.cloud.hooks import Hooks

if TYPE_CHECKING:
    from hubdeploy.sandbox.cloud.calls import Call
    from hubdeploy.sandbox.cloud.server import Cloud

hooks = Hooks()
_NOTE = "rehearsal: made up, not AWS's price"


@cache
def _listed() -> list[dict[str, Any]]:
    path = resources.files("hubdeploy.sandbox.cloud") / "rehearsal-prices.json"
    data: dict[str, Any] = json.loads(path.read_text())
    return list(data["products"])


def _product(entry: dict[str, Any], region: str) -> str:
    attributes = {**entry["attributes"], "regionCode": region, "note": _NOTE}
    return json.dumps(
        {
            "product": {"productFamily": entry.get("productFamily", ""), "attributes": attributes},
            "serviceCode": entry["service"],
            "terms": {
                "OnDemand": {
                    "rehearsal": {
                        "priceDimensions": {
                            "rehearsal": {
                                "unit": entry["unit"],
                                "description": _NOTE,
                                "pricePerUnit": {"USD": entry["dollars"]},
                            }
                        }
                    }
                }
            },
            "publicationDate": "2026-01-01T00:00:00Z",
            "version": "rehearsal",
        }
    )


@hooks.take("pricing", "GetProducts")
def products(_cloud: Cloud, call: Call) -> dict[str, Any]:
    wanted = {item["Field"]: item["Value"] for item in call.params.get("Filters") or []}
    region = wanted.pop("regionCode", call.region)
    found = []
    for entry in _listed():
        facts = {"productFamily": entry.get("productFamily", ""), **entry["attributes"]}
        if entry["service"] == call.params["ServiceCode"] and all(
            facts.get(field) == value for field, value in wanted.items()
        ):
            found.append(_product(entry, region))
    return {"FormatVersion": "aws_v1", "PriceList": found[: call.params.get("MaxResults") or 100]}


@hooks.take("pricing", "DescribeServices")
def services(_cloud: Cloud, _call: Call) -> dict[str, Any]:
    codes = sorted({entry["service"] for entry in _listed()})
    return {"FormatVersion": "aws_v1", "Services": [{"ServiceCode": code} for code in codes]}
