"""A deployment whose leader and worker are born as AWS hands them out: a bare Debian 12."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hubdeploy.config.names import Role
from hubdeploy.sandbox.images import catalog
from hubdeploy.sandbox.images.recipe import Recipe
from hubdeploy.sandbox.images.surroundings import Surroundings
from tests.cookbooks.machines import send_tree
from tests.cookbooks.rendering import COOKBOOKS
from tests.node.fleet import Fleet
from tests.plugins import machines
from tests.plugins.machines import LabMachine

AMI = "ami-0ba4e0000000d12"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def debian(near: Surroundings) -> Recipe:
    """The bare machine, told how packages are reached from this host.

    On AWS they are reached as they come; here there may be a mirror, a proxy, or certificates that
    only this host trusts.
    """
    proxy = near.environment.get("http_proxy", "")
    secure = near.environment.get("https_proxy", proxy)
    apt = [f'Acquire::http::Proxy "{proxy}";'] if proxy else []
    apt += [f'Acquire::https::Proxy "{secure}";'] if secure else []
    pip = {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in near.environment.items()
        if name.startswith("PIP_")
    }
    npm = {
        "registry": near.environment.get("NPM_CONFIG_REGISTRY", ""),
        "proxy": proxy,
        "https-proxy": secure,
    }
    files = {"/etc/apt/apt.conf.d/99here": "\n".join([*apt, ""])}
    script = "set -eu\n"
    if near.ca_file:
        files["/usr/local/share/ca-certificates/here.crt"] = Path(near.ca_file).read_text()
        script += "update-ca-certificates >/dev/null 2>&1\n"
        pip["cert"] = npm["cafile"] = BUNDLE
    if secure:
        pip["proxy"] = secure
    files["/etc/pip.conf"] = _lines({"[global]": "", **pip})
    files["/root/.npmrc"] = _lines({key: value for key, value in npm.items() if value})
    parent = catalog.bare()
    return Recipe(
        name="bare-here",
        parent=parent,
        script=script,
        files={path: (text.encode(), 0o644) for path, text in files.items()},
        changes=parent.changes,
    )


def _lines(settings: dict[str, str]) -> str:
    text = [f"{key} = {value}" if value else key for key, value in settings.items()]
    return "\n".join([*text, ""])


class Newborn(Fleet):
    """Four machines by their user data; leader and worker are bare, and converge for themselves.

    ``first`` and ``second`` are what they noted of their first two converges.
    """

    def boot_all(self) -> None:
        """All at once, as ``up`` does; until leader and worker have converged twice."""
        self.images()
        amis = dict.fromkeys(Role, machines.AMI) | {Role.LEADER: AMI, Role.WORKER: AMI}
        with ThreadPoolExecutor(len(Role)) as pool:
            made = pool.map(lambda role: self.start(role, ami=amis[role]), Role)
        self.machines = dict(zip(Role, made, strict=True))
        both = (Role.LEADER, Role.WORKER)
        self.first = {role: self._converged(role) for role in both}
        with ThreadPoolExecutor(len(both)) as pool:
            self.second = dict(zip(both, pool.map(self._again, both), strict=True))

    @property
    def leader(self) -> LabMachine:
        return self.machines[Role.LEADER]

    @property
    def worker(self) -> LabMachine:
        return self.machines[Role.WORKER]

    def _converged(self, role: Role) -> dict[str, Any]:
        self.until(role, self.machines[role], "ready", seconds=900)
        return self._result(role)

    def _again(self, role: Role) -> dict[str, Any]:
        machine = self.machines[role]
        machine.out("hubdeploy-node converge", timeout=300)
        # from here on tests converge without the Chef server, with settings of their own
        send_tree(machine, COOKBOOKS, "/root/cookbooks")
        spec = machine.spec
        what = {"instance": machine.id, "type": spec.instance_type, "zone": spec.zone}
        attributes = {"hubdeploy": self.site.settings | {"machine": what}}
        machine.put("/root/attributes.json", json.dumps(attributes))
        return self._result(role)

    def _result(self, role: Role) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.machines[role].out("cat /var/lib/hubdeploy/converge.json")
        )
        return found
