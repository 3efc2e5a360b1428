"""Identity, phases, host keys, addresses: what a machine says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hubdeploy.config.names import Phase, Role
from hubdeploy.errors import AwsError, HubdeployError
from hubdeploy.node import cloudmap, hostkey, phases, spot
from hubdeploy.node.aws import Cloud
from hubdeploy.node.machine import Metadata, MetadataError, load
from tests.plugins.deployment import Site
from tests.plugins.metadata import MetadataServer


def test_identity_comes_from_the_metadata_by_token_only(site: Site) -> None:
    with site.machine(Role.WORKER, "i-0abc", private_ip="10.42.3.4", spot=True) as cloud:
        me = cloud.machine.identity
        assert (me.instance_id, me.private_ip, me.spot) == ("i-0abc", "10.42.3.4", True)
        assert cloud.machine.node_name == "demo-worker-i-0abc"
    assert site.metadata.unsigned == 0


def test_metadata_that_do_not_answer_are_a_clear_error() -> None:
    with pytest.raises(MetadataError, match="does not answer"):
        Metadata("http://127.0.0.1:9").get("instance-id")


def test_what_the_metadata_lack_is_nothing(metadata: MetadataServer) -> None:
    assert Metadata(metadata.endpoint).get("spot/instance-action") is None


def test_a_machine_without_its_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(HubdeployError, match="no machine of a deployment"):
        load(tmp_path / "machine.json")
    (tmp_path / "machine.json").write_text('{"role": "king"}')
    with pytest.raises(HubdeployError, match="cannot be read"):
        load(tmp_path / "machine.json")


def test_credentials_that_are_late_are_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.machine(Role.WORKER, "i-0abc") as cloud:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")  # the only one that it can reach is ours
        site.metadata.busy = 2
        fresh = Cloud(machine=cloud.machine)
        phases.put(fresh, Phase.BOOTING)
    assert site.metadata.busy == 0
    (record,) = site.account.calls.find(
        "ssm:PutParameter", role=site.names.machine_role(Role.WORKER)
    )
    assert record.error == ""


# ---------------------------------------------------------------------------------- phases


def test_a_phase_is_written_with_its_time(site: Site) -> None:
    with site.machine(Role.LEADER, "i-0abc") as cloud:
        phases.put(cloud, Phase.CONVERGING, "first converge")
        assert phases.current(cloud) is Phase.CONVERGING
    said = site.get_json(site.names.parameters.phase(Role.LEADER, "i-0abc"))
    assert said["detail"] == "first converge"
    assert said["at"].endswith("Z")


@pytest.mark.parametrize(
    "log", ["x" * 100_000, "ä€😀" * 20_000, "\x00\x1b[31m" * 5000, '"\\\n' * 9999]
)
def test_any_log_fits_into_a_parameter_and_keeps_its_end(log: str) -> None:
    text = phases.encode(Phase.FAILED, "d" * 5000, log_tail=f"{log}THE END")
    assert len(text.encode()) <= 4096
    assert json.loads(text)["log"].endswith("THE END")


def test_a_machine_cannot_write_the_phase_of_another_kind(site: Site) -> None:
    with site.machine(Role.WORKER, "i-0abc") as cloud:
        name = site.names.parameters.phase(Role.LEADER, "i-0def")
        with pytest.raises(AwsError) as refused:
            cloud.put_parameter(name, "{}")
    assert "AccessDenied" in refused.value.code


def test_throttling_at_boot_is_waited_out(site: Site) -> None:
    site.account.faults.inject("ssm", "PutParameter", "ThrottlingException", times=3)
    with site.machine(Role.WORKER, "i-0abc") as cloud:
        phases.put(cloud, Phase.BOOTING)
        assert phases.current(cloud) is Phase.BOOTING


# ------------------------------------------------------------------------------ host key, spot


def test_the_host_key_is_published_once_and_without_its_comment(site: Site) -> None:
    with site.machine(Role.LEADER, "i-0abc") as cloud:
        assert hostkey.publish(cloud) is False
        file = cloud.machine.path("/etc/ssh/ssh_host_ed25519_key.pub")
        file.parent.mkdir(parents=True)
        file.write_text("ssh-ed25519 AAAAC3Nza root@ip-10-42-1-10\n")
        assert hostkey.publish(cloud) is True
        assert hostkey.publish(cloud) is False
    assert site.get(site.names.parameters.ssh_host_key("i-0abc")) == "ssh-ed25519 AAAAC3Nza"


class Enough(Exception):
    """Ends a loop that does not end by itself."""


def test_the_spot_notice_becomes_the_phase(site: Site) -> None:
    rounds = iter([None, None])

    def pause(_: float) -> None:
        try:
            next(rounds)
        except StopIteration:
            raise Enough from None
        notice = {"action": "terminate", "time": "2026-11-24T04:00:00Z"}
        site.metadata.paths["spot/instance-action"] = json.dumps(notice)

    with site.machine(Role.WORKER, "i-0abc", spot=True) as cloud:
        phases.put(cloud, Phase.READY)
        with pytest.raises(Enough):
            spot.watch(cloud, pause=pause)
        assert phases.current(cloud) is Phase.DRAINING
    said = site.get_json(site.names.parameters.phase(Role.WORKER, "i-0abc"))
    assert said["detail"] == "spot: terminate at 2026-11-24T04:00:00Z"


def test_the_spot_notice_is_said_again_when_the_phase_was_overwritten(site: Site) -> None:
    notice = {"action": "terminate", "time": "2026-11-24T04:00:00Z"}
    site.metadata.paths["spot/instance-action"] = json.dumps(notice)
    seen = []
    with site.machine(Role.WORKER, "i-0abc", spot=True) as cloud:

        def pause(_: float) -> None:
            seen.append(phases.current(cloud))
            if len(seen) == 2:
                raise Enough
            # the boot or a rejoin, which does not know of it
            phases.put(cloud, Phase.READY)

        with pytest.raises(Enough):
            spot.watch(cloud, pause=pause)
    assert seen == [Phase.DRAINING, Phase.DRAINING]


def test_an_on_demand_machine_watches_nothing(site: Site) -> None:
    with site.machine(Role.WORKER, "i-0abc") as cloud:
        spot.watch(cloud)


# ---------------------------------------------------------------------------------- Cloud Map


def test_a_machine_is_the_only_one_under_its_name(site: Site) -> None:
    with site.machine(Role.LEADER, "i-0a", private_ip="10.42.1.1") as old:
        assert cloudmap.register(old, "leader") is True
        assert cloudmap.register(old, "leader") is False
    with site.machine(Role.LEADER, "i-0b", private_ip="10.42.1.2") as new:
        assert not cloudmap.is_registered(new, "leader")
        assert cloudmap.register(new, "leader") is True
        assert cloudmap.is_registered(new, "leader")
    assert site.registered("leader") == {"i-0b": "10.42.1.2"}


def test_a_worker_may_not_register_an_address(site: Site) -> None:
    with site.machine(Role.WORKER, "i-0a") as cloud, pytest.raises(AwsError) as refused:
        cloudmap.register(cloud, "chef")
    assert "AccessDenied" in refused.value.code


def test_a_name_that_up_has_not_made_is_named(site: Site) -> None:
    gone = pytest.raises(AwsError, match=r"no service other\.demo\.internal")
    with site.machine(Role.LEADER, "i-0a") as cloud, gone:
        cloudmap.register(cloud, "other")
