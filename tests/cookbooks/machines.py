"""Machines that have what user data leaves behind, in an account of the embedded AWS."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hubdeploy.config.names import Role
from hubdeploy.sandbox.imds import RoleKeys
from tests.cookbooks.rendering import COOKBOOKS
from tests.plugins.aws import CloudAccount
from tests.plugins.deployment import Site, settings_of
from tests.plugins.machines import Lab, LabMachine
from tests.plugins.metadata import MetadataServer


def build_wheel(folder: Path) -> Path:
    """hubdeploy's own wheel, from this source tree."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(COOKBOOKS.parent)], check=True, timeout=120)
    return next(folder.glob("hubdeploy-*.whl"))


class Trial:
    """A deployment whose leader and workers are machines of a lab.

    The account has what ``up`` makes before machines boot; the machines have what user data puts on
    them: the agent in its virtual environment and ``machine.json``.
    """

    def __init__(self, lab: Lab, account: CloudAccount, wheel: Path, folder: Path) -> None:
        self.lab, self.wheel = lab, wheel
        # the metadata come from the lab's own router
        self.site = Site(account, MetadataServer(), folder, name="trial")
        self.site.settings = settings_of(self.site.names, vpc_cidr=lab.cidr)
        self.site.publish(wheel=wheel.read_bytes())
        url = urlsplit(account.endpoint_url)
        lab.cloud.listens = (str(url.hostname), int(url.port or 0))

    def boot(self, role: Role, *, spot: bool = False) -> LabMachine:
        """A machine of that role, as it is when user data is done."""
        name = self.site.role(role)
        spec = self.lab.spec(role=name, tags={"hubdeploy:role": role.value})
        spec = replace(spec, spot=spot)
        account = self.site.account
        keys = account.cloud.role_credentials(account.account, name, session=spec.instance_id)
        self.lab.cloud.keys[name] = RoleKeys(
            access_key=keys.access_key, secret_key=keys.secret_key, token=str(keys.token)
        )
        machine = self.lab.boot(spec)
        self._user_data(machine, role)
        return machine

    def _user_data(self, machine: LabMachine, role: Role) -> None:
        digest = hashlib.sha256(self.wheel.read_bytes()).hexdigest()[:12]
        wheel = f"/opt/hubdeploy/wheels/{self.wheel.name}"
        names = self.site.names
        facts = {
            "deployment": names.deployment,
            "region": names.region,
            "role": role.value,
            "account": names.account,
            "bucket": names.bucket,
        }
        machine.out("mkdir -p /opt/hubdeploy/wheels /opt/hubdeploy/venvs /etc/hubdeploy")
        machine.put(wheel, self.wheel.read_bytes())
        machine.put("/etc/hubdeploy/machine.json", json.dumps(facts))
        venv = f"/opt/hubdeploy/venvs/{digest}"
        machine.out(
            f"python3 -m venv {venv} && {venv}/bin/pip install -q '{wheel}[node]' && "
            f"ln -sfn {venv} /opt/hubdeploy/venv",
            timeout=180,
        )


def send_tree(machine: LabMachine, source: Path, target: str) -> None:
    """Copy a folder onto a machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(source, arcname=target.lstrip("/"))
    container = machine.lab.client.containers.get(machine.container)
    container.put_archive("/", buffer.getvalue())


def converge(machine: LabMachine, run_list: str) -> dict[str, Any]:
    """One run of the cookbooks as they are here: ``updated`` (names), ``total``, ``seconds``."""
    machine.out(
        "hubdeploy-converge --local /root/cookbooks "
        f"--run-list '{run_list}' --attributes /root/attributes.json --json /root/converge.json",
        timeout=300,
    )
    result: dict[str, Any] = json.loads(machine.out("cat /root/converge.json"))
    return result


def eventually(true: Callable[[], Any], *, what: str, seconds: float = 120) -> Any:
    """The first true value; an AssertionError after *seconds*."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.3)
    return found


def fetch(url: str) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers, whatever the certificate; redirects are not followed.

    Status 0: nobody answers.
    """

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_args: Any, **_more: Any) -> None:
            return None

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)
    except OSError:
        return 0, "", {}


def reaches(machine: LabMachine, address: str, port: int, *, inside: str = "") -> bool:
    """Whether a TCP port answers to the machine itself, or to a container of the image *inside*."""
    command = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null"
    if inside:
        command = f'docker run --rm --entrypoint bash {inside} -c "{command}"'
    return machine.run(command, timeout=60).code == 0
