"""The release and what is fetched for it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from hubdeploy.config.names import Role
from hubdeploy.errors import AwsError, HubdeployError, WaitTimeout
from hubdeploy.node import packages, release
from hubdeploy.node.packages import Package, Platform
from tests.plugins.deployment import Site

DEBIAN = Platform(name="debian", version="12", machine="x86_64")


def test_settings_are_fetched_once_for_each_release(site: Site) -> None:
    with site.machine(Role.WORKER) as cloud:
        assert release.settings(cloud) == site.settings
        assert release.settings(cloud) == site.settings
        assert len(site.account.calls.find("s3:GetObject", role=None)) == 1
        site.settings["hub_host"] = "new.example.org"
        site.publish()
        assert release.settings(cloud)["hub_host"] == "new.example.org"


def test_settings_that_were_exchanged_in_the_bucket_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.account.client("s3").put_object(
        Bucket=site.names.bucket, Key=site.release["settings"]["key"], Body=b'{"evil": true}'
    )
    monkeypatch.setattr(release, "patiently", lambda action, **_: action())
    with site.machine(Role.WORKER) as cloud:
        with pytest.raises(AwsError, match="checksum"):
            release.settings(cloud)
        assert not cloud.machine.state("settings.json").exists()


def test_a_missing_release_ends_in_a_timeout_that_names_it(site: Site) -> None:
    site.account.client("ssm").delete_parameter(Name=site.names.parameters.release)
    late = pytest.raises(WaitTimeout, match="/hubdeploy/demo/release")
    with site.machine(Role.WORKER) as cloud, late:
        release.read(cloud, wait=0.1)


def test_a_release_without_its_parts_is_an_error() -> None:
    with pytest.raises(HubdeployError, match="wheel"):
        release.parse({"version": "1"})


def test_the_agent_is_current_when_its_link_bears_the_wheels_digest(site: Site) -> None:
    with site.machine(Role.WORKER) as cloud:
        wanted = release.read(cloud)
        assert not release.is_current(cloud, wanted)
        home = cloud.machine.path("/opt/hubdeploy")
        target = home / "venvs" / wanted.wheel.sha256[:12]
        target.mkdir(parents=True)
        (home / "venv").symlink_to(target)
        assert release.is_current(cloud, wanted)
        assert release.update(cloud, wanted) is False


# --------------------------------------------------------------------------------- packages


class Publisher:
    """The publisher's download service on loopback."""

    def __init__(self) -> None:
        self.body, self.errors, self.asked = b"a Debian package", 0, list[str]()
        self.cut = 0
        """Downloads that end in the middle."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                code, body = 200, outer.body
                if outer.errors:
                    outer.errors -= 1
                    code, body = 500, b"oops"
                elif "/metadata?" in self.path:
                    offer = {
                        "url": f"{outer.url}/file.deb",
                        "sha256": sha256(outer.body).hexdigest(),
                        "version": "18.8.54",
                    }
                    body = json.dumps(offer).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if outer.cut and self.path.endswith(".deb"):
                    outer.cut -= 1
                    body = body[: len(body) // 2]
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    server = Publisher()
    yield server
    server.close()


CINC = Package(product="cinc", version="18.8.54")


def test_a_package_is_downloaded_once_and_then_kept_in_the_bucket(
    site: Site, publisher: Publisher
) -> None:
    publisher.errors = 2  # at times it answers 500
    with site.machine(Role.WORKSTATION, "i-0a") as station:
        file = packages.fetch(station, CINC, where=DEBIAN, publisher=publisher.url)
        assert file.read_bytes() == publisher.body
    assert "/cinc/metadata?p=debian&pv=12&m=x86_64&v=18.8.54" in publisher.asked
    publisher.asked.clear()
    with site.machine(Role.WORKER, "i-0b") as worker:
        file = packages.fetch(worker, CINC, where=DEBIAN, publisher=publisher.url)
        assert file.read_bytes() == publisher.body
    assert publisher.asked == []


def test_a_kept_package_that_was_exchanged_is_refused(site: Site, publisher: Publisher) -> None:
    with site.machine(Role.WORKSTATION, "i-0a") as station:
        packages.fetch(station, CINC, where=DEBIAN, publisher=publisher.url)
    key = packages.kept_as(CINC, DEBIAN)
    site.account.client("s3").put_object(Bucket=site.names.bucket, Key=key, Body=b"evil")
    with site.machine(Role.WORKER, "i-0b") as worker:
        with pytest.raises(HubdeployError, match="checksum"):
            packages.fetch(worker, CINC, where=DEBIAN, publisher=publisher.url)
        assert not list(worker.machine.root.rglob("*.deb"))


def test_the_configured_checksum_wins_over_the_publishers(site: Site, publisher: Publisher) -> None:
    pinned = Package(product="cinc", version="18.8.54", sha256="0" * 64)
    refused = pytest.raises(HubdeployError, match="checksum")
    with site.machine(Role.WORKSTATION, "i-0a") as station, refused:
        packages.fetch(station, pinned, where=DEBIAN, publisher=publisher.url)
    assert not site.account.calls.find("s3:PutObject", role=None)


def test_a_download_that_is_cut_off_is_begun_again(site: Site, publisher: Publisher) -> None:
    publisher.cut = 2
    with site.machine(Role.WORKSTATION, "i-0a") as station:
        file = packages.fetch(station, CINC, where=DEBIAN, publisher=publisher.url)
        assert file.read_bytes() == publisher.body
        assert station.object(packages.kept_as(CINC, DEBIAN)) == publisher.body
    assert [path for path in publisher.asked if path.endswith(".deb")] == ["/file.deb"] * 3


def test_what_the_publisher_said_first_holds_for_every_later_download(
    site: Site, publisher: Publisher
) -> None:
    first = publisher.body
    key = packages.kept_as(CINC, DEBIAN)
    with site.machine(Role.WORKSTATION, "i-0a") as station:
        packages.fetch(station, CINC, where=DEBIAN, publisher=publisher.url)
    # the bucket lost the package, and the publisher has another under the same version
    site.account.client("s3").delete_object(Bucket=site.names.bucket, Key=key)
    publisher.body = b"exchanged at the publisher's"
    for role in (Role.WORKSTATION, Role.WORKER):
        with site.machine(role, "i-0b") as machine:
            with pytest.raises(HubdeployError, match="checksum"):
                packages.fetch(machine, CINC, where=DEBIAN, publisher=publisher.url)
            assert not list(machine.machine.root.rglob("*.deb"))
            assert machine.optional(key) is None
    publisher.body = first
    with site.machine(Role.WORKER, "i-0c") as worker:
        file = packages.fetch(worker, CINC, where=DEBIAN, publisher=publisher.url)
        assert file.read_bytes() == first


def test_a_note_is_written_once(site: Site) -> None:
    with site.machine(Role.WORKSTATION, "i-0a") as station:
        assert station.put_object("packages/x.sha256", b"1", overwrite=False) is True
        assert station.put_object("packages/x.sha256", b"2", overwrite=False) is False
        assert station.object("packages/x.sha256") == b"1"


def test_a_worker_takes_a_package_itself_but_keeps_it_from_the_others(
    site: Site, publisher: Publisher
) -> None:
    with site.machine(Role.WORKER, "i-0b") as worker:
        packages.fetch(worker, CINC, where=DEBIAN, publisher=publisher.url)
    assert not site.account.calls.find("s3:PutObject", role=None)


def test_a_licence_goes_to_the_paid_publisher_only() -> None:
    paid = Package(product="chef", version="18.8.54", licence="free-0000")
    assert paid.publisher == packages.CHEF
    assert CINC.publisher == packages.CINC
