"""A whole deployment with simulated machines, made by the pipeline itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hubdeploy.aws.inventory import Inventory
from hubdeploy.aws.session import Aws
from hubdeploy.config.load import parse
from hubdeploy.config.model import Config
from hubdeploy.config.names import Names
from hubdeploy.pipeline import runner
from hubdeploy.pipeline.step import Context
from hubdeploy.steps import all_steps
from tests.plugins.aws import CloudAccount

TEXT = """
name = "demo"
region = "eu-central-1"
[chef]
distribution = "goiardi"
[hub]
admins = ["ada"]
[workers]
min_nodes = 2
max_nodes = 10
"""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A deployment in an account of its own. ``aws`` is the operator's session."""

    cloud: CloudAccount
    config: Config
    names: Names
    operator: Aws | None = None
    """Who acts; by default somebody who may do anything."""

    @property
    def aws(self) -> Aws:
        return self.operator or self.cloud.aws

    def context(self, **options: Any) -> Context:
        return Context(
            config=options.pop("config", self.config),
            names=self.names,
            aws=options.pop("aws", self.aws),
            inventory=Inventory(aws=self.aws, names=self.names),
            **options,
        )

    def up(self, **options: Any) -> runner.Outcome:
        return runner.up(all_steps(self.context(**options)))

    def plan(self, **options: Any) -> runner.Outcome:
        return runner.plan(all_steps(self.context(planning=True, **options)))

    def down(self, **options: Any) -> runner.Outcome:
        return runner.down(all_steps(self.context(**options)))


@pytest.fixture
def configured(cloud: CloudAccount) -> Callable[[str], Standing]:
    """A deployment of a configuration's text, not yet made."""

    def make(text: str) -> Standing:
        config = parse(text)
        names = Names(deployment=config.name, region=config.region, account=cloud.account)
        return Standing(cloud=cloud, config=config, names=names)

    return make


@pytest.fixture
def standing(configured: Callable[[str], Standing]) -> Standing:
    """A deployment that is up."""
    made = configured(TEXT)
    made.up()
    made.cloud.calls.clear()
    return made
