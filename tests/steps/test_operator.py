"""The operator: may do what ``hubdeploy policy`` says and needs no more; has a key for SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hubdeploy.operate.policy import documents
from hubdeploy.pipeline import runner
from hubdeploy.pipeline.step import Step
from hubdeploy.remote import keys
from hubdeploy.steps import all_steps
from tests.plugins.aws import CloudAccount
from tests.steps.rig import Rig, config, context


def test_the_policy_that_hubdeploy_prints_is_enough_for_up_and_down(cloud: CloudAccount) -> None:
    rig = Rig(cloud)
    aws = cloud.restricted(*documents(rig.names))

    def steps(**more: str) -> list[Step[Any]]:
        return all_steps(context(aws, cloud.account, config(), **more))

    runner.up(steps())
    assert runner.plan(steps()).mutations == []
    runner.down(steps(delete_files="demo"))
    denied = [
        f"{call.name}"
        for call in cloud.calls
        if call.account == cloud.account and not call.role and "Denied" in call.error
    ]
    assert denied == []


def test_without_a_key_of_ones_own_one_is_made_and_kept(
    cloud: CloudAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    rig = Rig(cloud)
    rig.plan()
    assert list(tmp_path.rglob("*.ed25519")) == []
    rig.up(workers={"min_nodes": 0})
    (path,) = tmp_path.rglob("*.ed25519")
    assert path.stat().st_mode & 0o777 == 0o600
    (pair,) = cloud.aws.call("ec2", "describe_key_pairs", IncludePublicKey=True)["KeyPairs"]
    assert pair["PublicKey"].split()[:2] == keys.public_key(path).split()[:2]


def test_ones_own_key_is_taken_and_a_new_one_means_new_machines(
    cloud: CloudAccount, tmp_path: Path
) -> None:
    lines = {name: keys.public_key(keys.key_file(tmp_path, name)) for name in ("old", "new")}
    public = tmp_path / "id_ed25519.pub"
    public.write_text(f"{lines['old']} me@home\n")
    rig = Rig(cloud)
    rig.up(workers={"min_nodes": 0}, access={"ssh_key": str(public)})
    (pair,) = cloud.aws.call("ec2", "describe_key_pairs", IncludePublicKey=True)["KeyPairs"]
    assert pair["PublicKey"].split()[:2] == lines["old"].split()[:2]
    public.write_text(f"{lines['new']} me@home\n")
    changes = rig.plan(workers={"min_nodes": 0}, access={"ssh_key": str(public)})
    assert "key" in {change.resource for change in changes}


def test_a_key_that_is_not_there_is_said_so(cloud: CloudAccount) -> None:
    with pytest.raises(runner.PipelineFailed) as failed:
        Rig(cloud).up(access={"ssh_key": "/nowhere/id_ed25519"})
    assert "cannot read /nowhere/id_ed25519.pub" in str(failed.value.failures["access.key"])
