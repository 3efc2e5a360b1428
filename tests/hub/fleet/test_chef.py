"""Forgetting ended workers against a real Chef server, with and without the right to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hubdeploy.chef.objects import Node
from hubdeploy.errors import ChefError
from hubdeploy.hub.fleet.chef import forget
from tests.plugins.goiardi import Goiardi, start_goiardi

pytestmark = pytest.mark.goiardi
LEADER, WORKER = "demo-leader-i-1", "demo-worker-i-2"


@pytest.fixture(scope="module")
def chef(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Goiardi]:
    # named localhost: the fleet dials what stands in client.rb
    server = start_goiardi(tmp_path_factory.mktemp("goiardi"), host="localhost")
    yield server
    server.stop()


def _client(chef: Goiardi, folder: Path, *, client: str, key: str) -> Path:
    """A folder as the machine's Chef client has it."""
    folder.mkdir()
    (folder / "client.pem").write_text(key)
    (folder / "trusted_certs").mkdir()
    (folder / "trusted_certs" / "chef.crt").write_text(chef.certificate)
    (folder / "client.rb").write_text(
        f"chef_server_url '{chef.url}'\n"
        f'node_name  "{client}"\n'
        f"client_key '{folder / 'client.pem'}'\n"
        f"trusted_certs_dir '{folder / 'trusted_certs'}'\n"
        "ssl_verify_mode :verify_peer\n"
    )
    return folder


def test_the_leader_without_the_right_leaves_it_to_the_workstation(
    chef: Goiardi, tmp_path: Path
) -> None:
    with chef.server() as admin:
        key = admin.create_client(LEADER)
        admin.create_client(WORKER)
        admin.save_node(Node(name=WORKER))
    folder = _client(chef, tmp_path / "cinc", client=LEADER, key=key)
    said = forget(WORKER, folders=(tmp_path / "none", folder))
    assert said == "left to the workstation (the leader may not delete it)"
    with chef.server() as admin:
        assert WORKER in admin.nodes()
        assert WORKER in admin.clients()


def test_with_the_right_node_and_client_are_deleted_and_again_does_no_harm(
    chef: Goiardi, tmp_path: Path
) -> None:
    with chef.server() as admin:
        admin.create_client("demo-worker-i-3")
        admin.save_node(Node(name="demo-worker-i-3"))
    folder = _client(chef, tmp_path / "cinc", client="admin", key=chef.admin_key)
    assert forget("demo-worker-i-3", folders=(folder,)) == "deleted node and client"
    assert forget("demo-worker-i-3", folders=(folder,)) == "was gone already"


def test_a_leader_that_is_no_chef_node_leaves_it_to_the_workstation(tmp_path: Path) -> None:
    said = forget(WORKER, folders=(tmp_path,))
    assert said == "left to the workstation (the leader is no Chef node)"


def test_a_server_that_cannot_be_reached_or_a_broken_client_is_tried_again(
    chef: Goiardi, tmp_path: Path
) -> None:
    folder = _client(chef, tmp_path / "cinc", client="admin", key=chef.admin_key)
    text = (folder / "client.rb").read_text()
    (folder / "client.rb").write_text(text.replace(str(chef.port), "1"))
    with pytest.raises(ChefError):
        forget(WORKER, folders=(folder,))
    (folder / "client.rb").write_text("# nothing\n")
    with pytest.raises(ChefError, match="chef_server_url"):
        forget(WORKER, folders=(folder,))
    (folder / "client.rb").write_text(text)
    (folder / "client.pem").unlink()
    with pytest.raises(ChefError):
        forget(WORKER, folders=(folder,))
