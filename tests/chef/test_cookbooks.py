"""Cookbooks on a real Chef server (goiardi)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubdeploy.chef import cookbooks
from hubdeploy.chef.cookbooks import Uploaded
from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError
from tests.plugins.goiardi import Goiardi

pytestmark = pytest.mark.goiardi


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def tree(root: Path, *, prefix: str, version: str = "1.0.0") -> Path:
    """Two cookbooks: ``PREFIX_top`` depends on ``PREFIX_base``."""
    return write(
        root,
        {
            f"{prefix}_base/metadata.rb": f"name '{prefix}_base'\nversion '0.1'\n",
            f"{prefix}_base/recipes/default.rb": "log 'base'\n",
            f"{prefix}_top/metadata.rb": (
                f"name '{prefix}_top'\nversion '{version}'\n"
                f"depends '{prefix}_base', '>= 0.1'\ndescription 'ä'\n"
            ),
            f"{prefix}_top/README.md": "read",
            f"{prefix}_top/recipes/default.rb": f"include_recipe '{prefix}_base'\n",
            f"{prefix}_top/recipes/again.rb": "log 'base'\n",
            f"{prefix}_top/attributes/default.rb": "default['x'] = 1\n",
            f"{prefix}_top/templates/a.conf.erb": "<%= @x %>\n",
            f"{prefix}_top/templates/debian/a.conf.erb": "debian\n",
            f"{prefix}_top/files/deep/er/b.bin": bytes(range(256)),
            f"{prefix}_top/libraries/help.rb": "module Help; end\n",
            f"{prefix}_top/resources/thing.rb": "unified_mode true\n",
        },
    )


@pytest.fixture
def admin(goiardi: Goiardi) -> ChefServer:
    return goiardi.server()


def test_the_second_upload_writes_nothing(
    admin: ChefServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree(tmp_path, prefix="twice")
    assert cookbooks.upload_all(admin, folder) == [
        Uploaded(name="twice_base", version="0.1.0", changed=True, files_sent=2),
        # recipes/again.rb is byte for byte twice_base's recipe: the server has it already
        Uploaded(name="twice_top", version="1.0.0", changed=True, files_sent=9),
    ]
    asked: list[str] = []
    request = admin.request

    def note(method: str, path: str, data: object = None) -> object:
        asked.append(method)
        return request(method, path, data)

    monkeypatch.setattr(admin, "request", note)
    assert [one.changed for one in cookbooks.upload_all(admin, folder)] == [False, False]
    assert asked == ["GET", "GET"]


def test_only_changed_files_are_sent_again(admin: ChefServer, tmp_path: Path) -> None:
    folder = tree(tmp_path, prefix="part")
    cookbooks.upload_all(admin, folder)
    write(folder, {"part_top/recipes/default.rb": "log 'new in part'\n"})
    assert [(u.changed, u.files_sent) for u in cookbooks.upload_all(admin, folder)] == [
        (False, 0),
        (True, 1),
    ]
    (folder / "part_top/README.md").unlink()
    assert cookbooks.upload_all(admin, folder)[1].changed
    assert not cookbooks.upload_all(admin, folder)[1].changed


def test_a_run_list_brings_its_dependencies_byte_for_byte(
    goiardi: Goiardi, admin: ChefServer, tmp_path: Path
) -> None:
    folder = tree(tmp_path / "source", prefix="down")
    cookbooks.upload_all(admin, folder)
    validator = goiardi.server(client="chef-validator", key=goiardi.validator_key)
    machine = validator.acting_as("down-node", validator.create_client("down-node"))

    manifests = cookbooks.resolve(machine, ["down_top"])
    assert set(manifests) == {"down_top", "down_base"}
    target = tmp_path / "cache"
    assert cookbooks.download(machine, manifests.values(), target) == 12
    for file in folder.rglob("*"):
        if file.is_file():
            assert (target / file.relative_to(folder)).read_bytes() == file.read_bytes()

    (target / "down_top/recipes/stale.rb").write_text("left over")
    (target / "down_top/README.md").write_text("changed here")
    assert cookbooks.download(machine, manifests.values(), target) == 1
    assert not (target / "down_top/recipes/stale.rb").exists()


def test_a_missing_cookbook_is_named(admin: ChefServer) -> None:
    with pytest.raises(ChefError, match="nowhere_to_be_found"):
        cookbooks.resolve(admin, ["nowhere_to_be_found::default"])
    assert cookbooks.resolve(admin, []) == {}


def test_cookbooks_come_after_those_they_depend_on(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        {
            "a/metadata.rb": "name 'a'\nversion '1.0.0'\ndepends 'c'\n",
            "b/metadata.rb": "name 'b'\nversion '1.0.0'\n",
            "c/metadata.rb": "name 'c'\nversion '1.0.0'\ndepends 'b'\n",
        },
    )
    assert [one.name for one in cookbooks.load_cookbooks(folder)] == ["b", "c", "a"]
    write(folder, {"b/metadata.rb": "name 'b'\nversion '1.0.0'\ndepends 'a'\n"})
    with pytest.raises(ChefError, match="depend on each other"):
        cookbooks.load_cookbooks(folder)


def test_templates_keep_their_specificity(tmp_path: Path) -> None:
    top = cookbooks.load_cookbook(tree(tmp_path, prefix="s") / "s_top")
    records = cookbooks.manifest(top)["templates"]
    assert {(r["path"], r["specificity"]) for r in records} == {
        ("templates/a.conf.erb", "root_default"),
        ("templates/debian/a.conf.erb", "debian"),
    }
