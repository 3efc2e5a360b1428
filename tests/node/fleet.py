"""A deployment whose machines are containers with systemd: real cloud-init, real user data.

AWS is the embedded one, and every call of a machine is held against its role's policy.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

from hubdeploy.chef.archive import pack
from hubdeploy.config.assets import cookbooks_dir
from hubdeploy.config.hub import HubSection
from hubdeploy.config.names import Role
from hubdeploy.config.userdata import render
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.imds import RoleKeys
from hubdeploy.steps.wheel import build
from tests.plugins.aws import CloudAccount
from tests.plugins.deployment import Site, settings_of
from tests.plugins.machines import AMI, Lab, LabMachine
from tests.plugins.metadata import MetadataServer

NGINX = "nginx:1.28-alpine"
NOTEBOOK = "quay.io/jupyter/base-notebook:latest"


class CloudMapNames(dict[str, list[str]]):
    """What the VPC's resolver answers: the names of the namespace, as registered now."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def get(self, name: str, _: object = None) -> list[str] | None:  # type: ignore[override]
        service, _dot, space = name.partition(".")
        if space != self._site.names.namespace or service not in self._site.services:
            return super().get(name)
        return list(self._site.registered(service).values())


class Fleet:
    """Machines of one deployment in a lab."""

    def __init__(self, lab: Lab, account: CloudAccount, folder: Path) -> None:
        self.lab = lab
        self.metadata = MetadataServer()  # the machines' own come from the lab's router
        self.site = Site(account, self.metadata, folder)
        self.site.settings = settings_of(
            self.site.names,
            vpc_cidr=lab.cidr,
            hub=HubSection(image=NOTEBOOK, admins=["ada"]).model_dump(),
            limits={
                "max_cluster_memory": 64 << 30,
                "max_concurrent_users": 20,
                "max_disk_utilization": 100 << 30,
            },
        )
        self._wheel, self._cookbooks = build().data, pack(cookbooks_dir()).data
        self.publish()
        lab.cloud.names = CloudMapNames(self.site)
        lab.cloud.names[self.site.settings["efs"]["dns_name"]] = ["10.0.0.5"]
        url = urlsplit(account.endpoint_url)
        lab.cloud.listens = (str(url.hostname), int(url.port or 0))

    def publish(self) -> None:
        """A release of this source tree with the present settings."""
        self.site.publish(wheel=self._wheel, cookbooks=self._cookbooks)

    def images(self) -> None:
        """What leader and workers pull."""
        self.lab.machines.publish(catalog.nginx().tag, NGINX, cidr=self.lab.cidr)
        self.lab.machines.publish(catalog.notebook().tag, NOTEBOOK, cidr=self.lab.cidr)

    def start(self, role: Role, *, size: str = "t3.medium", ami: str = AMI) -> LabMachine:
        """Boot a machine with its role's user data and rights; it runs, its agent not yet."""
        site = self.site
        name = site.role(role)
        spec = self.lab.spec(
            instance_type=size,
            user_data=render(role, site.names),
            role=name,
            tags={"hubdeploy:role": role.value},
            ami=ami,
        )
        keys = site.account.cloud.role_credentials(
            site.account.account, name, session=spec.instance_id
        )
        self.lab.cloud.keys[name] = RoleKeys(
            access_key=keys.access_key, secret_key=keys.secret_key, token=keys.token or ""
        )
        machine = self.lab.start(spec)
        machine.wait("running")
        return machine

    def phase(self, role: Role, machine: LabMachine) -> dict[str, str]:
        """What the machine says of itself; empty before it does."""
        return self.site.get_json(self.site.names.parameters.phase(role, machine.id))

    def until(self, role: Role, machine: LabMachine, phase: str, *, seconds: float) -> float:
        """Wait for a phase; seconds it took. Fails at once when the machine says ``failed``."""
        began = time.monotonic()
        said: dict[str, str] = {}
        while time.monotonic() - began < seconds:
            said = self.phase(role, machine)
            if said.get("phase") == phase:
                return time.monotonic() - began
            if said.get("phase") == "failed":
                raise AssertionError(f"{role}: {said['detail']}\n{said['log']}")
            time.sleep(0.2)
        log = machine.run("journalctl -u hubdeploy-boot -n 60 --no-pager -o cat").stdout
        raise AssertionError(f"{role} is {said} after {seconds} s\n{log}\n{machine.console()}")
