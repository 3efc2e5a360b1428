"""What makes an image's name, and what a build may know of the host."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import tarfile
from importlib import resources
from pathlib import Path

import pytest

from hubdeploy.sandbox.images import catalog, requirements
from hubdeploy.sandbox.images.recipe import Recipe
from hubdeploy.sandbox.images.surroundings import CA_MOUNT, survey

BASE = Recipe(name="base", parent=None, script="x")
CHILD = Recipe(name="child", parent=BASE, script="y", files={"/etc/a": (b"1", 0o644)})


def test_the_same_inputs_give_the_same_name() -> None:
    assert CHILD.tag == dataclasses.replace(CHILD).tag
    assert CHILD.tag.startswith("hubdeploy-sandbox/child:")


@pytest.mark.parametrize(
    "change",
    [
        {"script": "z"},
        {"files": {"/etc/a": (b"2", 0o644)}},
        {"files": {"/etc/a": (b"1", 0o755)}},
        {"changes": ("CMD x",)},
        {"holds": (BASE,)},
        {"parent": dataclasses.replace(BASE, script="other")},
    ],
)
def test_any_change_of_an_input_gives_another_name(change: dict[str, object]) -> None:
    assert dataclasses.replace(CHILD, **change).digest != CHILD.digest  # type: ignore[arg-type]


def test_files_are_laid_down_with_their_modes() -> None:
    with tarfile.open(fileobj=io.BytesIO(CHILD.archive())) as tar:
        member = tar.getmember("etc/a")
        assert (member.mode, member.uid, member.size) == (0o644, 0, 1)


def test_the_machine_image_holds_what_the_wheel_asks_for() -> None:
    node, hub = requirements.of_extra("node"), requirements.of_extra("hub")
    assert any(line.startswith("boto3") for line in node)
    assert any(line.startswith("jupyterhub") for line in hub)
    assert not any(line.startswith(("moto", "pytest")) for line in node + hub)


def test_hub_and_notebooks_speak_one_version() -> None:
    name, _, version = requirements.pinned("jupyterhub").partition("==")
    assert name == "jupyterhub"
    assert version
    assert requirements.pinned("jupyterhub") in catalog.notebook().script


def test_scripts_that_run_in_images_are_clean() -> None:
    folder = Path(str(resources.files(catalog.__package__ or "").joinpath("files")))
    scripts = [path for path in folder.iterdir() if path.read_bytes()[:6] in (b"#!/bin",)]
    assert len(scripts) >= 6
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["system", "machine", "nginx", "router", "notebook"])
def test_build_scripts_are_clean(name: str) -> None:
    script = getattr(catalog, name)().script
    check = ["shellcheck", "--shell=dash", "-"]
    done = subprocess.run(check, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def etc(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


DEB822 = """# comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://security.example/debian
Suites: bookworm-security

Types: deb
URIs: http://off.example
Suites: other
Enabled: no
"""


def test_the_mirror_is_the_one_that_this_hosts_apt_uses(tmp_path: Path) -> None:
    found = survey(environ={}, etc=etc(tmp_path, {"apt/sources.list.d/debian.sources": DEB822}))
    assert found.mirror == "http://mirror.example/debian"
    assert found.security_mirror == "http://security.example/debian"


def test_one_line_sources_are_read_too(tmp_path: Path) -> None:
    text = (
        "# deb http://no.example bookworm main\ndeb [arch=amd64] http://a.example bookworm main\n"
    )
    found = survey(environ={}, etc=etc(tmp_path, {"apt/sources.list": text}))
    assert (found.mirror, found.security_mirror) == ("http://a.example", None)


def test_another_distributions_mirror_is_not_taken(tmp_path: Path) -> None:
    text = "deb http://ubuntu.example jammy main\n"
    assert survey(environ={}, etc=etc(tmp_path, {"apt/sources.list": text})).mirror is None


def test_a_proxy_and_its_certificate_reach_the_build(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text("-----BEGIN CERTIFICATE-----")
    environ = {"https_proxy": "http://p:3128", "PIP_CERT": str(bundle), "AWS_PROFILE": "mine"}
    found = survey(environ=environ, etc=tmp_path)
    assert found.ca_file == str(bundle)
    assert found.environment["https_proxy"] == "http://p:3128"
    assert found.environment["SSL_CERT_FILE"] == found.environment["PIP_CERT"] == CA_MOUNT
    assert "AWS_PROFILE" not in found.environment


def test_a_certificate_that_is_not_there_is_not_named(tmp_path: Path) -> None:
    found = survey(environ={"SSL_CERT_FILE": str(tmp_path / "none")}, etc=tmp_path)
    assert found.ca_file is None
    assert "SSL_CERT_FILE" not in found.environment


def test_an_index_in_a_local_folder_stays_outside(tmp_path: Path) -> None:
    text = "[global]\nindex-url = https://index.example/simple\nextra-index-url = file:///opt/x\n"
    found = survey(environ={}, etc=etc(tmp_path, {"pip.conf": text}))
    assert found.environment == {"PIP_INDEX_URL": "https://index.example/simple"}
