"""``up`` and ``down`` may die at any call; the next run goes on, and nothing is there twice.

The process really dies (``os._exit``), with whatever other calls were in flight. One chain of runs
dies at the first mutating call of each, so that every state in between is one that a run has to
start from; some more runs die late, when much has been done in parallel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.aws import CloudAccount
from tests.steps import account
from tests.steps.killing import DIED, Killer
from tests.steps.rig import Rig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MOST_DEATHS = 250
LATE = (23, 53, 87)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    process = Killer()
    yield process
    process.close()


class Runs:
    """Runs in processes of their own against one account."""

    def __init__(self, killer: Killer, cloud: CloudAccount) -> None:
        self.killer, self.cloud = killer, cloud
        cloud.settings.unlimited_rights = True
        keys = cloud.credentials
        self.job: dict[str, Any] = {
            "endpoint_url": cloud.endpoint_url,
            "credentials": [keys.access_key, keys.secret_key, keys.token],
            "account": cloud.account,
            "tables": {},
        }

    def run(self, direction: str, *, die_after: int = 0) -> int:
        return self.killer.run(**self.job, direction=direction, die_after=die_after)

    def chain(self, direction: str) -> int:
        """Die at the first mutating call again and again, until there is none; how often."""
        for deaths in range(MOST_DEATHS):
            code = self.run(direction, die_after=1)
            if code == 0:
                return deaths
            assert code == DIED
        raise AssertionError(f"{direction} does not come to an end")


@pytest.fixture
def runs(killer: Killer, cloud: CloudAccount) -> Runs:
    return Runs(killer, cloud)


@pytest.fixture
def undisturbed(cloud: CloudAccount) -> dict[str, list[str]]:
    """The state after an ``up`` that nobody disturbed, in another account."""
    other = CloudAccount(cloud.cloud, cloud.machines, cloud.endpoint_url)
    Rig(other).up()
    state = account.read(other)
    cloud.machines.forget(other.account)
    cloud.cloud.forget(other.account)
    return state


def test_up_killed_at_every_call_ends_as_if_it_had_not_been(
    runs: Runs, cloud: CloudAccount, undisturbed: dict[str, list[str]]
) -> None:
    assert runs.chain("up") > 40
    assert account.differences(account.read(cloud), undisturbed) == []


def test_up_killed_late_goes_on_where_it_was(
    killer: Killer, cloud: CloudAccount, undisturbed: dict[str, list[str]]
) -> None:
    for nth in LATE:
        other = CloudAccount(cloud.cloud, cloud.machines, cloud.endpoint_url)
        runs = Runs(killer, other)
        assert runs.run("up", die_after=nth) == DIED
        assert runs.run("up") == 0
        assert account.differences(account.read(other), undisturbed) == [], f"call {nth}"
        cloud.machines.forget(other.account)
        cloud.cloud.forget(other.account)


def test_down_killed_at_every_call_leaves_nothing_but_the_file_system(
    runs: Runs, cloud: CloudAccount
) -> None:
    before = account.read(cloud)
    assert runs.run("up") == 0
    assert runs.chain("down") > 30
    after = account.read(cloud)
    assert len(after.pop("FileSystems")) == 1
    assert account.differences(after, before) == []


def test_up_and_down_killed_in_turn_still_end_well(
    runs: Runs, cloud: CloudAccount, undisturbed: dict[str, list[str]]
) -> None:
    before = account.read(cloud)
    for nth in (20, 40, 60):
        assert runs.run("up", die_after=nth) == DIED
        assert runs.run("down", die_after=nth // 2) == DIED
    assert runs.run("up") == 0
    assert account.differences(account.read(cloud), undisturbed) == []
    assert runs.run("down") == 0
    after = account.read(cloud)
    assert len(after.pop("FileSystems")) == 1
    assert account.differences(after, before) == []
