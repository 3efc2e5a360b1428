"""CINC's and Progress's Chef server: an omnibus package with its own control command."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from hubdeploy.chef.failures import ChefConflict
from hubdeploy.chef.server import ChefServer
from hubdeploy.config.names import Key
from hubdeploy.config.settings import Settings
from hubdeploy.errors import ChefError
from hubdeploy.node import chefserver, packages, system
from hubdeploy.node.aws import Cloud
from hubdeploy.node.chefserver import FOLDER, Actor

log = logging.getLogger(__name__)

ORGANISATION = "hubdeploy"
ADMIN = "hubdeploy"
BACKUPS = "/var/opt/hubdeploy-backup"
"""Where the control command leaves backups; its own default differs between the two builds."""
_RECONFIGURE = 1800
_RESTORE = 5400
_DONE = "Restoration Completed!"
"""The last words of a restore (``chef_backup``). A backup of another version of the server is left
aside with a remark, and the exit code is 0 all the same."""

_CONFIG = """\
# Written by hubdeploy-node.
api_fqdn '{host}'
nginx['ssl_certificate'] = '{folder}/server.crt'
nginx['ssl_certificate_key'] = '{folder}/server.key'
nginx['ssl_protocols'] = 'TLSv1.2 TLSv1.3'
nginx['enable_non_ssl'] = false
# a deployment has a handful of nodes, and the machine 8 GB
postgresql['shared_buffers'] = '512MB'
backup['export_dir'] = '{backups}'
"""


class Omnibus:
    """``cinc-server`` or ``chef-server``, organisation ``hubdeploy``."""

    def __init__(self, cloud: Cloud, settings: Settings) -> None:
        self._cloud = cloud
        self._settings = settings
        free = settings["chef_distribution"] == "cinc"
        self._control = "cinc-server-ctl" if free else "chef-server-ctl"
        self._config = "/etc/cinc-project/cinc-server.rb" if free else "/etc/opscode/chef-server.rb"
        self._pivotal = f"{Path(self._config).parent}/pivotal.pem"
        self._data = "/var/opt/cinc-project" if free else "/var/opt/opscode"

    def _ctl(self, *arguments: str, timeout: float = _RECONFIGURE) -> str:
        licence = {"CHEF_LICENSE": "accept-no-persist"}  # of no effect on the free build
        return system.run([self._control, *arguments], timeout=timeout, environment=licence).stdout

    def url(self) -> str:
        return f"https://{self._cloud.machine.names.chef_host}/organizations/{ORGANISATION}"

    def install(self) -> None:
        if system.run(["which", self._control], check=False).returncode == 0:
            return
        system.apt_install(self._cloud.machine.root, "rsync")  # its backup asks for it
        packages.install(packages.fetch(self._cloud, packages.server(self._settings)))

    def configure(self) -> None:
        text = _CONFIG.format(
            host=self._cloud.machine.names.chef_host, folder=FOLDER, backups=BACKUPS
        )
        system.write(self._cloud.machine.path(self._config), text)
        self._ctl("reconfigure")
        chefserver.wait_until_it_answers(self._cloud, self.url())

    def actors(self, *, admin: Actor | None, validator: Actor | None) -> tuple[Actor, Actor]:
        good_admin = good_validator = None
        if self._has_organisation():
            good_admin = admin if chefserver.works(self._cloud, admin, self.url()) else None
            good_validator = (
                validator if chefserver.works(self._cloud, validator, self.url()) else None
            )
        else:
            # a new server: it answers 404 for whatever key, and knows none of before
            good_validator = self._create_organisation()
        if good_admin is None:
            good_admin = self._create_admin()
        if good_validator is None:
            name = f"{ORGANISATION}-validator"
            with chefserver.connect(self._cloud, good_admin, self.url()) as server:
                good_validator = Actor(name=name, key=server.replace_client_key(name))
        return good_admin, good_validator

    def _as_pivotal(self) -> ChefServer:
        key = self._cloud.machine.path(self._pivotal).read_text()
        return chefserver.connect(self._cloud, Actor(name="pivotal", key=key), self.url())

    def _has_organisation(self) -> bool:
        # one name a line; warnings may stand between
        listed = self._ctl("org-list", timeout=120).splitlines()
        return ORGANISATION in [line.strip() for line in listed]

    def _create_organisation(self) -> Actor:
        file = self._cloud.machine.path(f"{FOLDER}/validator.pem")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        try:
            self._ctl("org-create", ORGANISATION, ORGANISATION, "-f", str(file), timeout=120)
            return Actor(name=f"{ORGANISATION}-validator", key=file.read_text())
        finally:
            file.unlink(missing_ok=True)

    def _create_admin(self) -> Actor:
        """Through the API: the control command takes the password as an argument."""
        with self._as_pivotal() as server:
            try:
                key = server.create_user(ADMIN, password=secrets.token_urlsafe(24))
            except ChefConflict:
                log.warning("the admin is there but its key is lost: making it anew")
                server.delete_user(ADMIN)
                key = server.create_user(ADMIN, password=secrets.token_urlsafe(24))
        self._ctl("org-user-add", ORGANISATION, ADMIN, "--admin", timeout=120)
        actor = Actor(name=ADMIN, key=key)
        if not chefserver.works(self._cloud, actor, self.url()):
            raise ChefError("The Chef server does not accept the admin's new key")
        return actor

    def is_empty(self) -> bool:
        return not self._cloud.machine.path(f"{self._data}/postgresql").exists()

    def dump(self, target: Path) -> None:
        folder = self._backups()
        before = set(folder.glob("*.tgz"))
        # the server is down for the minute that this takes
        self._ctl("backup", "--yes", "--timeout", str(_RECONFIGURE))
        made = sorted(set(folder.glob("*.tgz")) - before)
        if not made:
            raise ChefError(
                f"{self._control} backup left no file in {folder}",
                hint=f"run '{self._control} backup --yes' on the machine",
            )
        made[-1].replace(target)
        target.chmod(0o600)

    def load(self, source: Path) -> None:
        # a backup holds the server's own secrets: configured first, then replaced
        chefserver.own_name(self._cloud)
        chefserver.ensure_certificate(self._cloud)
        self.configure()
        tarball = source.with_suffix("").with_suffix(".tgz")
        source.replace(tarball)
        try:
            said = self._ctl(
                "restore",
                str(tarball),
                "--cleanse",
                "--timeout",
                str(_RECONFIGURE),
                timeout=_RESTORE,
            )
        finally:
            tarball.unlink(missing_ok=True)
        if _DONE not in said:
            reason = next((x for x in reversed(said.splitlines()) if x.strip()), "it said nothing")
            raise ChefError(
                f"{self._control} did not restore the backup: {reason.strip()}",
                hint="set chef.server_version to the backup's; or, to begin anew, remove "
                f"s3://{self._cloud.machine.bucket}/{Key.CHEF_BACKUP}/",
            )
        # the search index is in no backup
        chefserver.wait_until_it_answers(self._cloud, self.url())
        self._ctl("reindex", ORGANISATION)

    def _backups(self) -> Path:
        folder = self._cloud.machine.path(BACKUPS)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
