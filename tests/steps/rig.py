"""A deployment in a test's own account: plan, up and down as the command line runs them."""

from __future__ import annotations

from typing import Any

from hubdeploy.aws.inventory import Inventory
from hubdeploy.aws.session import Aws, CallHook
from hubdeploy.config.model import Config
from hubdeploy.config.names import Names
from hubdeploy.pipeline import runner
from hubdeploy.pipeline.change import Change
from hubdeploy.pipeline.runner import Outcome
from hubdeploy.pipeline.step import Context, Step
from hubdeploy.steps import all_steps
from tests.plugins.aws import CloudAccount

WAITS = dict.fromkeys(
    ("aws", "settle", "chef_server", "workstation", "leader", "hub", "delete"), 20
)
"""Seconds: a wait that hangs ends the test, not its time limit."""


def config(name: str = "demo", region: str = "eu-central-1", **tables: Any) -> Config:
    """A valid configuration; tables are merged over short waits."""
    if "domain" in tables:
        tables.setdefault("tls", {"email": "ada@example.org"})
    return Config.model_validate({"name": name, "region": region, "waits": WAITS, **tables})


def context(aws: Aws, account: str, settings: Config, **more: Any) -> Context:
    """One run's context, as the command line makes it."""
    names = Names(deployment=settings.name, region=settings.region, account=account)
    inventory = Inventory(aws=aws, names=names)
    return Context(config=settings, names=names, aws=aws, inventory=inventory, **more)


class Rig:
    """``rig.up()`` and the others; keyword arguments change tables of the configuration."""

    def __init__(self, cloud: CloudAccount, **tables: Any) -> None:
        self.cloud = cloud
        self.tables = tables
        self.outputs: Any = None

    @property
    def names(self) -> Names:
        return Names(deployment="demo", region=self.cloud.region, account=self.cloud.account)

    def steps(
        self, *, tables: dict[str, Any] | None = None, on_call: CallHook | None = None, **more: Any
    ) -> list[Step[Any]]:
        aws = self.cloud.session(self.cloud.credentials)
        aws.on_call = on_call
        settings = config(**{"region": self.cloud.region, **self.tables, **(tables or {})})
        ctx = context(aws, self.cloud.account, settings, **more)
        self.outputs = ctx.outputs
        return all_steps(ctx)

    def plan(self, **tables: Any) -> list[Change]:
        return runner.plan(self.steps(tables=tables, planning=True)).mutations

    def up(self, **tables: Any) -> Outcome:
        return runner.up(self.steps(tables=tables))

    def plan_down(self) -> list[Change]:
        return runner.plan_down(self.steps(planning=True)).mutations

    def down(self, *, delete_files: str = "") -> Outcome:
        return runner.down(self.steps(delete_files=delete_files))
