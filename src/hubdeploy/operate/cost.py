"""An estimate of what a configuration costs: idle, full, and for an hour of one user.

What is counted stands in :func:`always` and :func:`worker`; traffic, requests, logs and backups
depend on use and are left out, which the estimate says.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubdeploy.aws import pricing
from hubdeploy.aws.pricing import Price, Sku
from hubdeploy.aws.session import Aws
from hubdeploy.config.model import Config
from hubdeploy.errors import AwsError

HOURS = 730
"""Hours in a month, as AWS counts."""
GB = 1 << 30
REHEARSAL = (
    "  In the sandbox: estimated for the rehearsal's smaller machines, at made-up prices. "
    "The configuration's own costs are what `plan` without --sandbox says."
)
LEFT_OUT = "traffic, requests, logs, backups, users' files"


@dataclass(frozen=True, kw_only=True)
class Part:
    """``count`` of one thing that is paid for by the hour (or by GB and month)."""

    title: str
    sku: Sku
    count: float

    def hourly(self, prices: dict[str, Price]) -> float | None:
        """US dollars an hour, or None without a price."""
        price = prices.get(self.sku.name)
        if price is None:
            return None
        return self.count * price.dollars / (HOURS if self.sku.unit == "GB-month" else 1)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """US dollars an hour. ``problem`` says why there are no figures, ``missing`` what of it has no
    price; ``published`` is the date of the oldest price list that a figure comes from;
    ``assumed`` is what the figures take for granted."""

    idle: float | None = None
    full: float | None = None
    one_worker: float | None = None
    user_hour: float | None = None
    files_gb_month: float | None = None
    published: str = ""
    missing: tuple[str, ...] = ()
    problem: str = ""
    assumed: str = ""

    def lines(self) -> list[str]:
        """What people read."""
        if self.idle is None or self.full is None:
            return [f"Cost: no estimate ({self.problem})."]
        out = [
            f"Cost (estimate, price list of {self.published[:10] or 'unknown date'}): "
            f"${self.idle:.2f} an hour idle, ${self.full:.2f} with all workers.",
        ]
        if self.user_hour is not None:
            out.append(f"  ${self.user_hour:.3f} for a user's hour; left out: {LEFT_OUT}.")
        if self.assumed:
            out.append(f"  {self.assumed}")
        if self.missing:
            out.append(f"  No price found for: {', '.join(self.missing)}.")
        return out


def always(config: Config) -> list[Part]:
    """What runs even when nobody is there, workers left out."""
    leader, chef = config.leader, config.chef
    parts = [
        Part(title="leader", sku=pricing.instance(leader.instance_type), count=1),
        Part(title="Chef server", sku=pricing.instance(chef.instance_type), count=1),
        Part(title="workstation", sku=pricing.instance(chef.workstation_type), count=1),
        Part(title="disks", sku=pricing.GP3, count=(leader.disk + leader.state_disk) / GB + 60),
        Part(title="leader's address", sku=pricing.PUBLIC_ADDRESS, count=1),
    ]
    if config.network.egress == "nat":
        parts.append(Part(title="NAT gateway", sku=pricing.NAT, count=1))
        parts.append(Part(title="its address", sku=pricing.PUBLIC_ADDRESS, count=1))
    else:
        parts.append(Part(title="machines' addresses", sku=pricing.PUBLIC_ADDRESS, count=2))
    return parts


def worker(config: Config) -> list[Part]:
    """One worker of the preferred type, at the on-demand price."""
    parts = [
        Part(title="worker", sku=pricing.instance(config.workers.instance_types[0]), count=1),
        Part(title="its disk", sku=pricing.GP3, count=config.workers.disk / GB),
    ]
    if config.network.egress == "public":
        parts.append(Part(title="its address", sku=pricing.PUBLIC_ADDRESS, count=1))
    return parts


def assumed(config: Config) -> str:
    """What the workers are taken to be where the configuration leaves it open; else empty."""
    kind, *others = config.worker_types
    spot = config.workers.spot_share
    why = []
    if spot:
        why.append(f"spot instances ({spot} %) cost less")
    if others:
        why.append(f"{', '.join(others)} may cost more or less")
    if not why:
        return ""
    return f"Every worker is counted as {kind} at the on-demand price; {'; '.join(why)}."


def estimate(config: Config, *, prices: dict[str, Price], places: int) -> Estimate:
    """From prices by name; ``places`` is how many users one worker holds."""
    fixed = [part.hourly(prices) for part in always(config)]
    each = [part.hourly(prices) for part in worker(config)]
    everything = [*always(config), *worker(config)]
    missing = tuple(dict.fromkeys(p.sku.name for p in everything if p.hourly(prices) is None))
    base, one = sum(p or 0 for p in fixed), sum(p or 0 for p in each)
    if not prices:
        return Estimate(problem="the price list has no prices for this region")
    files = prices.get(pricing.EFS.name)
    return Estimate(
        idle=base + config.workers.min_nodes * one,
        full=base + config.workers.max_nodes * one,
        one_worker=one,
        user_hour=one / places if places else None,
        files_gb_month=files.dollars if files else None,
        published=min((p.published for p in prices.values() if p.published), default=""),
        missing=missing,
        assumed=assumed(config),
    )


def read(config: Config, *, aws: Aws) -> Estimate:
    """Asks the price list and EC2 for the worker's size; never an error, but an estimate that
    says why it has no figures."""
    skus = [part.sku for part in (*always(config), *worker(config))]
    try:
        prices = pricing.prices([*skus, pricing.EFS], aws=aws)
        places = users_on(config, aws=aws)
    except AwsError as error:
        return Estimate(problem=f"the price list cannot be read: {error.message}")
    return estimate(config, prices=prices, places=places)


SYSTEM = 0.9
"""Share of a worker's memory that is left for notebooks."""


def users_on(config: Config, *, aws: Aws) -> int:
    """How many users of the default size fit on a worker of the preferred type."""
    kind = config.workers.instance_types[0]
    found = aws.call("ec2", "describe_instance_types", InstanceTypes=[kind])["InstanceTypes"]
    if not found:
        return 0
    memory = found[0]["MemoryInfo"]["SizeInMiB"] * (1 << 20) * SYSTEM
    cpus = found[0]["VCpuInfo"]["DefaultVCpus"]
    return min(int(memory // config.hub.memory), int(cpus / config.hub.cpu))
