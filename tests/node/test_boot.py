"""The boot as a list of stages: order, resuming, failing."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable

import pytest

from hubdeploy.config.names import Phase, Role
from hubdeploy.errors import HubdeployError
from hubdeploy.node import boot
from hubdeploy.node.aws import Cloud
from hubdeploy.node.boot import Stage
from hubdeploy.node.machine import Metadata, MetadataError
from tests.plugins.deployment import Site


class Steps:
    """Stages that note that they ran; ``fail`` names the one that fails."""

    def __init__(self, fail: str = "") -> None:
        self.ran: list[str] = []
        self.fail = fail

    def stages(self) -> list[Stage]:
        made = [
            ("install", Phase.BOOTING, True),
            ("wait", Phase.WAITING, False),
            ("join", Phase.JOINING, False),
        ]
        return [
            Stage(name=name, phase=phase, once=once, action=self._action(name))
            for name, phase, once in made
        ]

    def _action(self, name: str) -> Callable[[Cloud], None]:
        def act(_: Cloud) -> None:
            if name == self.fail:
                raise HubdeployError(f"{name} is impossible")
            self.ran.append(name)

        return act


def phases_written(site: Site) -> list[str]:
    calls = site.account.calls.find("ssm:PutParameter", role=None)
    return [json.loads(one.params["Value"])["phase"] for one in calls]


def test_the_phases_follow_the_stages_and_end_ready(site: Site) -> None:
    steps = Steps()
    with site.machine(Role.WORKER) as cloud:
        boot.boot(cloud, steps.stages())
    assert steps.ran == ["install", "wait", "join"]
    assert phases_written(site) == ["booting", "waiting", "joining", "ready"]


def test_what_succeeded_once_is_not_done_again_after_a_reboot(site: Site) -> None:
    with site.machine(Role.WORKER) as cloud:
        boot.boot(cloud, Steps().stages())
        again = Steps()
        boot.boot(cloud, again.stages())
    assert again.ran == ["wait", "join"]


def test_a_boot_goes_on_where_it_failed(site: Site) -> None:
    with site.machine(Role.WORKER) as cloud:
        broken = Steps(fail="join")
        with pytest.raises(HubdeployError, match="join is impossible"):
            boot.boot(cloud, broken.stages())
        said = site.get_json(site.names.parameters.phase(Role.WORKER, "i-00000000000000001"))
        assert (said["phase"], said["detail"]) == ("failed", "join: join is impossible")
        mended = Steps()
        boot.boot(cloud, mended.stages())
    assert mended.ran == ["wait", "join"]


def test_an_image_made_of_a_machine_boots_from_the_beginning(site: Site) -> None:
    with site.machine(Role.WORKER, "i-0a") as cloud:
        boot.boot(cloud, Steps().stages())
        kept = cloud.machine.state("boot.json").read_text()
    with site.machine(Role.WORKER, "i-0b") as copy:
        copy.machine.state("").mkdir(parents=True)
        copy.machine.state("boot.json").write_text(kept)
        steps = Steps()
        boot.boot(copy, steps.stages())
    assert steps.ran == ["install", "wait", "join"]


def test_two_boots_at_a_time_are_refused(site: Site) -> None:
    with site.machine(Role.WORKER) as cloud:

        def again(cloud: Cloud) -> None:
            boot.boot(cloud, [])

        with pytest.raises(HubdeployError, match="Another boot"):
            boot.boot(cloud, [Stage(name="x", phase=Phase.BOOTING, action=again)])


@pytest.mark.parametrize(
    ("role", "passes"),
    [
        (Role.CHEF, [Phase.BOOTING, Phase.CONFIGURING]),
        (Role.WORKSTATION, [Phase.BOOTING, Phase.CONFIGURING, Phase.WAITING, Phase.CONFIGURING]),
        (
            Role.LEADER,
            [Phase.BOOTING, Phase.WAITING, Phase.REGISTERING, Phase.CONVERGING, Phase.JOINING],
        ),
        (
            Role.WORKER,
            [Phase.BOOTING, Phase.WAITING, Phase.REGISTERING, Phase.CONVERGING, Phase.JOINING],
        ),
    ],
)
def test_each_role_goes_through_its_phases_in_order(role: Role, passes: list[Phase]) -> None:
    seen: list[Phase] = []
    for stage in boot.stages(role):
        if not seen or seen[-1] is not stage.phase:
            seen.append(stage.phase)
    assert seen == passes
    names = [stage.name for stage in boot.stages(role)]
    assert len(set(names)) == len(names)


def test_a_network_that_is_late_is_waited_for(site: Site) -> None:
    steps = Steps()
    with site.machine(Role.WORKER) as cloud:
        late = Metadata("http://127.0.0.1:9")  # nobody answers there
        machine = dataclasses.replace(cloud.machine, metadata=late, patience=0)
        with pytest.raises(MetadataError, match="does not answer"):
            _ = machine.identity
        # whatever else gives up at once: the boot does not
        timer = threading.Timer(1.5, setattr, (late, "endpoint", site.metadata.endpoint))
        timer.start()
        boot.boot(Cloud(machine=machine), steps.stages())
        timer.join()
    assert steps.ran == ["install", "wait", "join"]
    assert phases_written(site)[-1] == "ready"


def test_metadata_that_never_come_end_the_boot(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "LATE_NETWORK", 1.0)
    with site.machine(Role.WORKER) as cloud:
        silent = Metadata("http://127.0.0.1:9")
        machine = dataclasses.replace(cloud.machine, metadata=silent)
        with pytest.raises(MetadataError, match="does not answer"):
            boot.boot(Cloud(machine=machine), Steps().stages())
    assert phases_written(site) == []
