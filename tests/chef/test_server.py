"""Objects on a real Chef server (goiardi)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubdeploy.chef.failures import ChefConflict, ChefNotFound, ChefRefused
from hubdeploy.chef.objects import Forgotten, Node, Role
from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError
from tests.plugins.goiardi import Goiardi

pytestmark = pytest.mark.goiardi


@pytest.fixture
def admin(goiardi: Goiardi) -> ChefServer:
    return goiardi.server()


def register(goiardi: Goiardi, name: str) -> ChefServer:
    """A machine's way in: the validator creates the client, the client speaks for itself."""
    validator = goiardi.server(client="chef-validator", key=goiardi.validator_key)
    return validator.acting_as(name, validator.create_client(name))


def test_the_server_says_who_it_is(admin: ChefServer) -> None:
    info = admin.check()
    assert info.flavour == "goiardi"
    assert info.version.startswith("0.11")


def test_a_validator_registers_a_client_with_a_key_made_locally(
    goiardi: Goiardi, admin: ChefServer
) -> None:
    machine = register(goiardi, "demo-worker-i-01")
    machine.save_node(Node(name="demo-worker-i-01", run_list=["role[worker]"]))
    assert "demo-worker-i-01" in admin.clients()
    assert admin.client_object("demo-worker-i-01").public_key.startswith("-----BEGIN PUBLIC KEY")
    assert machine.node("demo-worker-i-01").run_list == ["role[worker]"]


def test_a_left_over_client_blocks_the_next_registration_until_it_is_forgotten(
    goiardi: Goiardi, admin: ChefServer
) -> None:
    register(goiardi, "demo-worker-i-02")
    with pytest.raises(ChefConflict, match="has a client 'demo-worker-i-02' already") as caught:
        register(goiardi, "demo-worker-i-02")
    assert "delete node and client" in caught.value.hint
    assert admin.forget("demo-worker-i-02") == Forgotten(node=False, client=True)
    register(goiardi, "demo-worker-i-02").check()


def test_forgetting_removes_node_and_client_and_bears_missing_ones(
    goiardi: Goiardi, admin: ChefServer
) -> None:
    machine = register(goiardi, "demo-worker-i-03")
    machine.save_node(Node(name="demo-worker-i-03"))
    assert admin.forget("demo-worker-i-03") == Forgotten(node=True, client=True)
    assert admin.forget("demo-worker-i-03") == Forgotten(node=False, client=False)
    assert "demo-worker-i-03" not in admin.nodes()
    assert "demo-worker-i-03" not in admin.clients()


def test_a_node_can_forget_itself(goiardi: Goiardi, admin: ChefServer) -> None:
    machine = register(goiardi, "demo-worker-i-04")
    machine.save_node(Node(name="demo-worker-i-04"))
    assert machine.forget("demo-worker-i-04") == Forgotten(node=True, client=True)
    assert "demo-worker-i-04" not in admin.clients()


def test_a_replaced_key_locks_out_the_old_one(goiardi: Goiardi, admin: ChefServer) -> None:
    machine = register(goiardi, "demo-leader-i-05")
    machine.check()
    fresh = machine.acting_as("demo-leader-i-05", admin.replace_client_key("demo-leader-i-05"))
    fresh.check()
    with pytest.raises(ChefRefused) as caught:
        machine.check()
    assert caught.value.status == 401


def test_a_node_keeps_its_attributes_by_level(admin: ChefServer) -> None:
    node = Node(
        name="levels",
        run_list=["recipe[a]", "role[b]"],
        automatic={"ipaddress": "10.0.0.7"},
        default={"x": {"y": 1}},
        normal={"tags": ["t"]},
        override={"z": None},
    )
    admin.save_node(node)
    assert admin.node("levels") == node
    node.run_list = []
    admin.save_node(node)
    assert admin.node("levels").run_list == []
    assert admin.delete_node("levels")
    assert not admin.delete_node("levels")


def test_a_missing_node_or_role_is_said_to_be_missing(admin: ChefServer) -> None:
    with pytest.raises(ChefNotFound, match="no node 'nobody'"):
        admin.node("nobody")
    with pytest.raises(ChefNotFound, match="no role 'nothing'"):
        admin.role("nothing")


def test_a_role_is_written_only_when_it_differs(admin: ChefServer) -> None:
    role = Role(
        name="leader",
        run_list=["recipe[hub_base]", "recipe[hub_leader]"],
        description="the hub",
        default_attributes={"hubdeploy": {"deployment": "demo", "list": [1, 2]}},
    )
    assert admin.ensure_role(role)
    assert not admin.ensure_role(role)
    role.default_attributes["hubdeploy"]["list"].append(3)
    assert admin.ensure_role(role)
    assert admin.role("leader") == role
    assert admin.roles() == ["leader"]
    assert admin.delete_role("leader")


def test_search_finds_nodes_by_role_and_attribute(admin: ChefServer) -> None:
    for number in range(3):
        admin.save_node(
            Node(
                name=f"found-{number}",
                run_list=["role[worker]"],
                automatic={"ipaddress": f"10.0.0.{number}", "roles": ["worker"]},
            )
        )
    rows = admin.search("node", "role:worker AND name:found-*")
    assert sorted(row["name"] for row in rows) == ["found-0", "found-1", "found-2"]
    parts = admin.search("node", "name:found-1", keys={"ip": ["ipaddress"], "who": ["name"]})
    assert parts == [{"ip": "10.0.0.1", "who": "found-1"}]
    assert admin.search("node", "name:nobody") == []


def test_search_reads_all_pages(admin: ChefServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubdeploy.chef.server._PAGE", 2)
    for number in range(5):
        admin.save_node(Node(name=f"paged-{number}"))
    assert len(admin.search("node", "name:paged-*")) == 5
    assert len(admin.search("node", "name:paged-*", keys={"n": ["name"]})) == 5


def test_a_user_is_created_with_a_key_made_locally(goiardi: Goiardi, admin: ChefServer) -> None:
    pem = admin.create_user("maria", password="long enough")
    assert "maria" in admin.users()
    goiardi.server(client="maria", key=pem).check()
    assert admin.delete_user("maria")
    assert not admin.delete_user("maria")


def test_a_node_may_not_change_another(goiardi: Goiardi, admin: ChefServer) -> None:
    admin.save_node(Node(name="demo-leader-i-06"))
    worker = register(goiardi, "demo-worker-i-06")
    with pytest.raises(ChefRefused) as caught:
        worker.delete_client("chef-validator")
    assert caught.value.status == 403
    assert "may not do that" in caught.value.message
    assert caught.value.words in caught.value.message
    assert caught.value.words


def test_names_that_would_lead_elsewhere_are_refused(admin: ChefServer) -> None:
    for name in ("", "..", "a/b", "a b", "a?b"):
        with pytest.raises(ChefError, match="Not a name"):
            admin.delete_node(name)


def test_one_server_object_serves_many_threads(admin: ChefServer) -> None:
    together = threading.Barrier(8)

    def work(number: int) -> list[str]:
        together.wait(10)
        name = f"thread-{number}"
        admin.save_node(Node(name=name, normal={"n": number}))
        assert admin.node(name).normal == {"n": number}
        return admin.nodes()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert {f"thread-{n}" for n in range(8)} <= set(admin.nodes())
