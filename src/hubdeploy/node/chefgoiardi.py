"""goiardi as the Chef server: Debian's package, one process that keeps its data in files."""

from __future__ import annotations

import logging
import shutil
import tarfile
from pathlib import Path

from hubdeploy.chef import failures
from hubdeploy.node import chefserver, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.chefserver import FOLDER, Actor
from hubdeploy.node.machine import Machine
from hubdeploy.node.waiting import wait_for

log = logging.getLogger(__name__)

HOME = "/var/lib/goiardi"
UNIT = "hubdeploy-goiardi.service"
_USER = "goiardi"

_TEXT = """\
[Unit]
Description=hubdeploy: Chef server (goiardi)
Wants=network-online.target
After=network-online.target
[Service]
User={user}
Group={user}
UMask=0077
AmbientCapabilities=CAP_NET_BIND_SERVICE
ExecStart=/usr/bin/goiardi --hostname={host} --port={port} --use-auth --use-ssl \\
  --ssl-cert={home}/tls/server.crt --ssl-key={home}/tls/server.key --conf-root={home}/conf \\
  --index-file={home}/index.bin --data-file={home}/data.bin --freeze-interval=2 \\
  --local-filestore-dir={home}/files --obj-max-size=104857600 --json-req-max-size=10000000
Restart=always
RestartSec=2
[Install]
WantedBy=multi-user.target
"""


class Goiardi:
    """No organisations; admin and validator are made by its first start."""

    def __init__(self, machine: Machine, *, port: int = 443) -> None:
        self._machine = machine
        self._port = port
        self._cloud = Cloud(machine=machine)
        self._home = machine.path(HOME)

    def url(self) -> str:
        port = "" if self._port == 443 else f":{self._port}"
        return f"https://{self._machine.names.chef_host}{port}"

    def install(self) -> None:
        system.apt_install(self._machine.root, "goiardi")
        # the package's own unit serves without authentication
        self._systemctl("disable", "--now", "--quiet", "goiardi.service", check=False)

    def configure(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        for name in ("conf", "files", "tls"):
            (self._home / name).mkdir(mode=0o700, exist_ok=True)
        source = self._machine.path(FOLDER)
        fresh = False
        for name in ("server.crt", "server.key"):
            fresh |= system.write(
                self._home / "tls" / name, (source / name).read_bytes(), mode=0o600
            )
        self._own(self._home)
        text = _TEXT.format(
            host=self._machine.names.chef_host, port=self._port, home=HOME, user=_USER
        )
        fresh |= system.unit(self._machine.root, UNIT, text, start=False)
        self._systemctl("restart" if fresh else "start", UNIT)
        chefserver.wait_until_it_answers(self._cloud, self.url())

    def _systemctl(self, *arguments: str, check: bool = True) -> None:
        system.systemctl(self._machine.root, *arguments, check=check)

    def _own(self, folder: Path) -> None:
        try:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, _USER, _USER)
        except (LookupError, PermissionError) as error:
            log.warning("%s stays root's: %s", folder, error)

    def actors(self, *, admin: Actor | None, validator: Actor | None) -> tuple[Actor, Actor]:
        return (
            self._actor(admin, name="admin", file="admin.pem"),
            self._actor(validator, name="chef-validator", file="chef-validator.pem"),
        )

    def _actor(self, known: Actor | None, *, name: str, file: str) -> Actor:
        if known is not None and chefserver.works(self._cloud, known, self.url()):
            return known
        path = self._home / "conf" / file
        key = wait_for(
            f"goiardi's {file}",
            lambda: path.read_text() if path.is_file() else None,
            seconds=60,
            every=0.5,
        )
        fresh = Actor(name=name, key=key)
        if not chefserver.works(self._cloud, fresh, self.url()):
            raise failures.ChefRefused(
                f"goiardi does not accept its own {file}",
                hint=f"its data and {HOME}/conf do not belong together: restore a backup",
                status=401,
            )
        return fresh

    def is_empty(self) -> bool:
        return not (self._home / "data.bin").exists()

    def dump(self, target: Path) -> None:
        # stopped for a second: data, index and files are then of one moment
        self._systemctl("stop", UNIT)
        try:
            with tarfile.open(target, "w:gz") as archive:
                for name in ("data.bin", "index.bin", "files", "conf"):
                    if (self._home / name).exists():
                        archive.add(self._home / name, arcname=name)
                archive.add(self._machine.path(FOLDER), arcname="certificate")
            target.chmod(0o600)
        finally:
            self._systemctl("start", UNIT)

    def load(self, source: Path) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        scratch = self._home / ".restore"
        shutil.rmtree(scratch, ignore_errors=True)
        with tarfile.open(source, "r:gz") as archive:
            archive.extractall(scratch, filter="data")
        certificate = self._machine.path(FOLDER)
        for path in (scratch / "certificate").iterdir():
            mode = 0o600 if path.suffix == ".key" else 0o644
            system.write(certificate / path.name, path.read_bytes(), mode=mode)
        for name in ("files", "conf", "index.bin", "data.bin"):
            if (scratch / name).exists():
                shutil.rmtree(self._home / name, ignore_errors=True)
                (scratch / name).replace(self._home / name)
        shutil.rmtree(scratch)
        self._own(self._home)
