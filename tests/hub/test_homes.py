"""Users' folders: whose they are, and that no name or link leads out of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.config.names import NOTEBOOK_GID, NOTEBOOK_UID
from hubdeploy.hub.homes import HomeError, ensure_home, ensure_shared, folder_name
from hubdeploy.hub.service import service_name


@pytest.fixture
def owner() -> tuple[int, int]:
    """Root tests the real owner; anybody else can only own a folder themselves."""
    return (
        (NOTEBOOK_UID, NOTEBOOK_GID)
        if os.getuid() == 0
        else (
            os.getuid(),
            os.getgid(),
        )
    )


@pytest.mark.parametrize("user", ["alice", "bob.smith", "a-b_c", "x1"])
def test_harmless_names_stay_readable(user: str) -> None:
    assert folder_name(user) == user


@pytest.mark.parametrize(
    "user", ["../etc", ".ssh", "", "..", "a/b", "Alice", "ä", "a" * 300, "bob--0123456789"]
)
def test_other_names_become_one_safe_component(user: str) -> None:
    folder = folder_name(user)
    assert "/" not in folder
    assert not folder.startswith(".")
    assert folder != user
    assert 0 < len(folder) <= 52


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_two_users_share_a_folder(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


@given(st.text(min_size=1, max_size=80), st.text(max_size=40))
def test_every_server_has_a_service_name_that_swarm_takes(user: str, server: str) -> None:
    import re

    name = service_name(user, server)
    assert len(name) <= 63
    assert re.fullmatch(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*", name)


@given(st.tuples(st.text(max_size=20), st.text(max_size=20)), st.tuples(st.text(), st.text()))
def test_no_two_servers_share_a_service(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (service_name(*one) == service_name(*other)) == (one == other)


def test_a_folder_is_made_for_its_user_alone(tmp_path: Path, owner: tuple[int, int]) -> None:
    home = ensure_home("alice", parent=tmp_path / "home", uid=owner[0], gid=owner[1])
    found = home.stat()
    assert (found.st_uid, found.st_gid) == owner
    assert stat.S_IMODE(found.st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o711


def test_an_existing_folder_keeps_its_files_and_gets_its_mode_back(
    tmp_path: Path, owner: tuple[int, int]
) -> None:
    home = ensure_home("alice", parent=tmp_path, uid=owner[0], gid=owner[1])
    (home / "thesis.ipynb").write_text("years of work")
    home.chmod(0o777)
    ensure_home("alice", parent=tmp_path, uid=owner[0], gid=owner[1])
    assert (home / "thesis.ipynb").read_text() == "years of work"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_link_in_a_folders_place_is_refused_and_its_target_untouched(
    tmp_path: Path, owner: tuple[int, int]
) -> None:
    target = tmp_path / "etc"
    target.mkdir(mode=0o755)
    parent = tmp_path / "home"
    parent.mkdir()
    (parent / "alice").symlink_to(target)
    with pytest.raises(HomeError, match="not a folder"):
        ensure_home("alice", parent=parent, uid=owner[0], gid=owner[1])
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_a_file_in_a_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text("")
    with pytest.raises(HomeError, match="not a folder"):
        ensure_home("alice", parent=tmp_path)


def test_nothing_is_made_while_the_file_system_is_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="not mounted"):
        ensure_home("alice", parent=tmp_path / "home", mount=tmp_path)
    assert not (tmp_path / "home").exists()


def test_a_shared_folder_keeps_the_mode_that_an_admin_gave_it(
    tmp_path: Path, owner: tuple[int, int]
) -> None:
    made = ensure_shared("course", parent=tmp_path, writable=True, uid=owner[0], gid=owner[1])
    assert stat.S_IMODE(made.stat().st_mode) == 0o2775
    made.chmod(0o750)
    ensure_shared("course", parent=tmp_path, writable=True, uid=owner[0], gid=owner[1])
    assert stat.S_IMODE(made.stat().st_mode) == 0o750
