"""Small parts of the machines: sizes, rights, references, certificates, relays."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubdeploy.errors import SandboxError
from hubdeploy.sandbox import engine
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.machines import container, network, registry, sizes
from hubdeploy.sandbox.machines.relay import Relay
from hubdeploy.sandbox.machines.tls import Authority

REPOSITORY = Path(__file__).parents[3]


def test_sizes_are_those_of_ec2() -> None:
    assert sizes.size_of("t3.medium") == sizes.Size(vcpus=2, memory=4 * 1024**3)
    with pytest.raises(SandboxError, match="no EC2 instance type t9"):
        sizes.size_of("t9.huge")


def test_a_machine_gets_no_more_processors_than_the_host_has() -> None:
    assert sizes.cpuset(8, host_cpus=2) == "0-1"
    assert sizes.cpuset(2, host_cpus=8) == "0-1"
    assert sizes.cpuset(1, host_cpus=2) == "0"


@given(st.integers(min_value=2**28, max_value=2**42))
def test_meminfo_adds_up(memory: int) -> None:
    found = {
        line.split(":")[0]: int(line.split()[1]) for line in sizes.meminfo(memory).splitlines()
    }
    assert found["MemFree"] + found["Cached"] == found["MemTotal"] <= memory // 1024


def test_only_capabilities_that_the_host_lacks_are_dropped() -> None:
    everything = "CapBnd:\t000001ffffffffff\n"
    without_resource = "CapPrm:\t0\nCapBnd:\t000001fffeffffff\n"
    assert container.missing_capabilities(everything) == []
    assert container.missing_capabilities(without_resource) == ["SYS_RESOURCE"]


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("nginx", "registry-1.docker.io", "library/nginx:latest"),
        ("nginx:1.28-alpine", "registry-1.docker.io", "library/nginx:1.28-alpine"),
        ("jupyter/base", "registry-1.docker.io", "jupyter/base:latest"),
        ("docker.io/jupyter/base:1", "registry-1.docker.io", "jupyter/base:1"),
        ("quay.io/jupyter/base:1", "quay.io", "jupyter/base:1"),
        ("1.dkr.ecr.eu.amazonaws.com/a/b:v", "1.dkr.ecr.eu.amazonaws.com", "a/b:v"),
        ("localhost:5000/x", "localhost", "x:latest"),
    ],
)
def test_references_are_read_as_docker_does(text: str, host: str, path: str) -> None:
    found = registry.parse(text)
    assert (found.hosts, found.path) == ((host,), path)


def test_an_image_fixed_by_its_digest_cannot_be_stood_in_for() -> None:
    with pytest.raises(SandboxError, match="digest"):
        registry.parse("nginx@sha256:0")


def test_the_leaders_cookbook_runs_the_image_that_the_sandbox_provides() -> None:
    attributes = (REPOSITORY / "cookbooks/hub_leader/attributes/default.rb").read_text()
    assert f"['image'] = '{catalog.NGINX_REFERENCE}'" in attributes


def test_the_router_is_where_the_vpcs_dns_is_on_aws() -> None:
    assert network.router_address("10.20.0.0/16") == "10.20.0.2"


def test_the_registrys_certificate_holds_for_its_hosts_only(tmp_path: Path) -> None:
    authority = Authority(folder=tmp_path)
    authority.issue(["quay.io"], name="registry")
    before = authority.certificate
    assert Authority(folder=tmp_path).certificate == before, "made once"
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "registry.crt", tmp_path / "registry.key")
    trusting = ssl.create_default_context(cadata=before.decode())
    near, far = socket.socketpair()
    thread = threading.Thread(target=lambda: serving.wrap_socket(far, server_side=True).close())
    thread.start()
    with trusting.wrap_socket(near, server_hostname="quay.io") as session:
        assert session.version() in ("TLSv1.2", "TLSv1.3")
    thread.join()


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


def test_a_relay_passes_both_ways_and_the_end_too(tmp_path: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = int(server.server_address[1])
        relay = Relay(tmp_path / "r.sock", lambda: ("127.0.0.1", port))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "r.sock"))
            client.sendall(b"x" * 300_000)
            client.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: client.recv(65536), b""))
        relay.close()
        server.shutdown()
    assert received == b"x" * 300_000
    assert not (tmp_path / "r.sock").exists()


def test_a_relay_without_a_target_hangs_up() -> None:
    relay = Relay(("127.0.0.1", 0), lambda: None)
    with socket.create_connection(("127.0.0.1", relay.port)) as client:
        client.settimeout(5)
        assert client.recv(1) == b""
    relay.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", relay.port), timeout=1)


@pytest.mark.parametrize(
    ("info", "word"),
    [
        ({"OSType": "linux", "SecurityOptions": ["name=seccomp"]}, ""),
        ({"OSType": "windows"}, "windows"),
        ({"OSType": "linux", "SecurityOptions": ["name=rootless"]}, "without root"),
        ({"OSType": "linux", "SecurityOptions": ["name=userns"]}, "user ids"),
        ({"OSType": "linux", "OperatingSystem": "Docker Desktop"}, "Docker Desktop"),
    ],
)
def test_engines_that_cannot_hold_machines_are_told_by_what_they_say(
    info: dict[str, object], word: str
) -> None:
    reason = engine.unfit(info)
    assert bool(reason) == bool(word)
    assert word in reason
