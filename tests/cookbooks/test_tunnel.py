"""The tunnel to the file system, as stunnel on a machine runs it: whom it trusts, and whom not."""

from __future__ import annotations

import pytest

from hubdeploy.node import certificates
from tests.cookbooks.rendering import render
from tests.plugins.machines import Lab, LabMachine, docker_engine, lab, sandbox_images

__all__ = ["docker_engine", "lab", "sandbox_images"]
pytestmark = pytest.mark.docker

NAME = "fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com"
OTHER = "fs-0fedcba9876543210.efs.eu-central-1.amazonaws.com"


@pytest.fixture(scope="module")
def server(lab: Lab) -> LabMachine:
    """A machine with a file system's TLS end on port 2049 that answers each line backwards."""
    machine = lab.boot()
    pair = certificates.issue([NAME], days=2)
    machine.put("/etc/ssl/trial-ca.pem", pair.trust)
    machine.put("/root/server.pem", pair.key + pair.chain)
    machine.out(f"echo 127.0.0.1 {NAME} {OTHER} >> /etc/hosts")
    machine.out(
        "systemd-run --quiet --unit=trial-efs "
        "openssl s_server -accept 2049 -cert /root/server.pem -rev -quiet"
    )
    machine.out("until ss -Hltn 'sport = :2049' | grep -q .; do sleep 0.1; done", timeout=10)
    return machine


def through_tunnel(machine: LabMachine, *, dns_name: str, ca_file: str, port: int) -> str:
    """What comes back through a tunnel with these settings; empty when it was refused."""
    config = f"/etc/hubdeploy/trial-{port}.conf"
    machine.out("mkdir -p /etc/hubdeploy")
    machine.put(
        config, render("hub_base/tunnel.conf.erb", dns_name=dns_name, port=port, ca_file=ca_file)
    )
    machine.out(
        f"systemd-run --quiet --unit=trial-{port} --property=DynamicUser=yes "
        f"/usr/bin/stunnel4 {config}"
    )
    machine.out(f"until ss -Hltn 'sport = :{port}' | grep -q .; do sleep 0.1; done", timeout=10)
    talk = f"exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3; read -t 5 x <&3; echo $x"
    return machine.run(f"bash -c '{talk}'").stdout.strip()


def test_traffic_passes_to_the_file_system_that_it_is_for(server: LabMachine) -> None:
    answer = through_tunnel(server, dns_name=NAME, ca_file="/etc/ssl/trial-ca.pem", port=20050)
    assert answer == "olleh"


def test_another_file_systems_certificate_is_refused(server: LabMachine) -> None:
    answer = through_tunnel(server, dns_name=OTHER, ca_file="/etc/ssl/trial-ca.pem", port=20051)
    assert answer == ""
    assert "check" in server.out("journalctl -u trial-20051 --no-pager | tr A-Z a-z").lower()


def test_an_unknown_authority_is_refused(server: LabMachine) -> None:
    public = "/etc/ssl/certs/ca-certificates.crt"
    assert through_tunnel(server, dns_name=NAME, ca_file=public, port=20052) == ""
