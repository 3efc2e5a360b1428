"""The page, its buttons and the rest of HTTP: a real hub and proxy, the service as its child."""

from __future__ import annotations

import math
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from hubdeploy.config.limits import Limits, live_changes
from hubdeploy.config.use import Use
from hubdeploy.hub.fleet.model import LABEL_FLEET
from hubdeploy.node.use import tell
from tests.hub.fleet.conftest import TYPE, Yard
from tests.plugins.browser import browser
from tests.plugins.hubprocess import HubProcess, free_port, hub_settings, running_hub

PASSWORD = "only-in-this-test"


@dataclass
class Site:
    """A running hub with the fleet service, and the deployment that it sees."""

    hub: HubProcess
    yard: Yard
    nodes: list[str]

    @property
    def url(self) -> str:
        return f"{self.hub.url}/services/fleet/"

    def login(self, user: str) -> requests.Session:
        """A browser's session, logged in to the hub."""
        session = requests.Session()
        page = session.get(f"{self.hub.url}/hub/login")
        token = _xsrf(page.text)
        session.post(
            f"{self.hub.url}/hub/login?_xsrf={token}",
            data={"username": user, "password": PASSWORD, "_xsrf": token},
        )
        return session

    def look(self, session: requests.Session, holds: str, *, seconds: float = 20.0) -> str:
        """The page, once it *holds* a text."""
        deadline = time.monotonic() + seconds
        while True:
            text = session.get(self.url).text
            if holds in text:
                return text
            assert time.monotonic() < deadline, f"no {holds!r} on the page:\n{text}"
            time.sleep(0.1)


def _xsrf(text: str) -> str:
    found = re.search(r'name="_xsrf"\s+value="([^"]+)"', text)
    assert found, text
    return found[1]


@pytest.fixture
def site(yard: Yard, tmp_path: Path) -> Iterator[Site]:
    """Two machines with users, one on its way, one server too big to fit."""
    yard.cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=yard.names.workers_group(TYPE), DesiredCapacity=3
    )
    first, second, _ = yard.started(3)
    nodes = [yard.join(first), yard.join(second)]
    for node in nodes:
        yard.swarm.set_node(node, availability="active")
    for number in range(5):
        yard.start_server(f"student{number}", node=nodes[0])
    yard.start_server("teacher", node=nodes[1])
    yard.start_server("greedy", memory=64 << 30)
    settings = hub_settings(authenticator={"kind": "dummy", "allow_all": True}, admins=["ada"]) | {
        "deployment": "demo",
        "region": yard.cloud.region,
        "account": yard.cloud.account,
        "workers": {"instance_types": [TYPE]},
        "efs": {"file_system": yard.file_system},
    }
    state = tmp_path / "hub"
    state.mkdir()
    extra = f"""
from hubdeploy.config.limits import Limits, live_changes
from hubdeploy.hub.fleet.wiring import VARIABLE, hub_role, hub_service
import json
c.DummyAuthenticator.password = {PASSWORD!r}
c.Authenticator.password = {PASSWORD!r}
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.services = [hub_service(
    json.load(open({str(state / "hub.json")!r})),
    Limits(max_nodes=4, headroom=2, max_concurrent_users=50, max_cluster_memory=100 << 30,
           max_disk_utilization=1 << 40),
    state_dir={str(state)!r}, homes={str(state / "homes")!r}, port={free_port()})]
told = c.JupyterHub.services[0]["environment"]
more = {{"sweep_every": 0.5, "use": {str(state / "use")!r}}}
told[VARIABLE] = json.dumps({{**json.loads(told[VARIABLE]), **more}})
c.JupyterHub.load_roles = [hub_role()]
"""
    now = time.time()
    tell(state / "use", first, Use(at=now, memory=3 << 29, cpu=10**9 // 4))
    tell(state / "use", second, Use(at=now - 300, memory=0, cpu=0))
    with running_hub(state, yard.swarm.url, settings, extra=extra) as hub:
        (state / "secrets" / "metrics-token").write_text("for-prometheus-alone\n")
        (state / "homes" / "ann").mkdir(parents=True, exist_ok=True)
        (state / "homes" / "ann" / "data.bin").write_bytes(b"x" * 50_000)
        made = Site(hub, yard, nodes)
        yard.cloud.wait(
            lambda: requests.get(f"{made.url}health").status_code == 200,
            what="the fleet service",
            timeout=30,
        )
        yield made


def test_the_page_shows_the_fleet_and_its_buttons_work(site: Site) -> None:
    admin = site.login("ada")
    text = site.look(admin, "student3")
    for instance in site.yard.instances():
        assert instance in text
    assert "greedy" in text
    assert "64 GiB" in text
    assert "too-big" in text
    assert "3 of 4" in text
    assert '<svg class="chart"' in text
    used = site.look(admin, "10 GiB / 1.5 GiB of 16 GiB")
    assert "2.5 / 0.25 of 4" in used
    assert re.search(r"2 GiB / 0 B of 16 GiB <span class=\"quiet\">\(5 min", used), used

    # draining: with the form's token, not without
    instance = site.nodes[1].removeprefix("node-")
    without = {"instance": instance, "max_nodes": "9"}
    for path in ("drain", "undrain", "limits", "resume"):
        for data in (without, {**without, "_xsrf": "made up"}):
            refused = admin.post(f"{site.url}{path}", data=data, allow_redirects=False)
            assert refused.status_code == 403, path
    form = {"instance": instance, "_xsrf": _xsrf(text)}
    done = admin.post(f"{site.url}drain", data=form)
    assert done.status_code == 200
    assert "takes no new servers" in done.text
    spec = site.yard.swarm.cluster.node(site.nodes[1])["Spec"]
    assert spec["Availability"] == "pause"
    assert spec["Labels"][LABEL_FLEET].startswith("operator:")
    kept = site.look(admin, "Keep after all")
    admin.post(f"{site.url}undrain", data={"instance": instance, "_xsrf": _xsrf(kept)})
    assert site.yard.swarm.cluster.node(site.nodes[1])["Spec"]["Availability"] == "active"
    unknown = {"instance": "i-0bad", "_xsrf": _xsrf(kept)}
    assert admin.post(f"{site.url}drain", data=unknown).status_code == 404

    # the most machines: kept in the parameter that `hubdeploy scale` writes
    changed = admin.post(f"{site.url}limits", data={"max_nodes": "7", "_xsrf": _xsrf(kept)})
    assert "At most 7 machines from now on (was 4)." in changed.text
    stored = site.yard.cloud.client("ssm").get_parameter(Name=site.yard.names.parameters.limits)
    assert '"max_nodes": 7' in stored["Parameter"]["Value"]
    change = live_changes(stored["Parameter"]["Value"])["max_nodes"]
    assert (change.by, change.was) == ("ada on the page", 4)
    for wrong in ("-1", "many", "100000"):
        answer = admin.post(f"{site.url}limits", data={"max_nodes": wrong, "_xsrf": _xsrf(kept)})
        assert answer.status_code == 400, wrong

    # a restarted hub brings its service back, with its history
    site.hub.restart()
    again = site.look(site.login("ada"), "student3")
    assert "ada asked for it on the page" in again
    assert "of 7" in again

    # a server of this deployment that the hub does not know of
    site.yard.start_server(
        "zoe", node=site.nodes[1], deployment="demo", created="2026-01-01T00:00:00Z"
    )
    site.look(admin, "the hub knows no such server of zoe")
    left = set(site.yard.swarm.services())
    assert "jupyter-zoe" not in left
    assert {"jupyter-teacher", "jupyter-student3"} <= left


def test_only_those_with_a_login_of_an_admin_or_a_token_see_anything(site: Site) -> None:
    stranger = requests.Session()
    for path in ("", "api/state", "failed/i-0123"):
        answer = stranger.get(f"{site.url}{path}", allow_redirects=False)
        assert answer.status_code in (302, 403), path
        assert "student" not in answer.text
    for path in ("drain", "limits", "resume"):
        assert stranger.post(f"{site.url}{path}", data={}).status_code == 403
    user = site.login("student0").get(site.url)
    assert user.status_code == 403
    assert "teacher" not in user.text
    health = stranger.get(f"{site.url}health")
    assert health.json() == {"ok": True}
    assert "frame-ancestors 'none'" in health.headers["Content-Security-Policy"]

    # Prometheus and the spawner show tokens
    url = site.url
    assert requests.get(f"{url}metrics").status_code == 403
    assert requests.get(f"{url}api/admission?user=a&memory=1G").status_code == 403
    site.look(site.login("ada"), "student3")
    shown = {"Authorization": "Bearer for-prometheus-alone"}
    text = requests.get(f"{url}metrics", headers=shown).text
    assert 'hubdeploy_fleet_machines{state="active"} 2.0' in text
    assert 'hubdeploy_fleet_alarm{code="too-big"} 1.0' in text
    assert "hubdeploy_fleet_users 6.0" in text
    token = (site.hub.state / "fleet" / "admission-token").read_text()
    assert (site.hub.state / "fleet" / "admission-token").stat().st_mode & 0o777 == 0o600
    spawner = {"Authorization": f"token {token}"}
    fits = requests.get(f"{url}api/admission?user=zoe&memory=2G&cpu=0.5", headers=spawner)
    assert fits.json() == {"allowed": True, "reason": "", "waiting_for": "", "eta": None}
    big = requests.get(f"{url}api/admission?user=zoe&memory=99G", headers=spawner).json()
    assert (big["allowed"], big["waiting_for"]) == (False, "limit")
    assert requests.get(f"{url}api/limits").status_code == 403
    limits = requests.get(f"{url}api/limits", headers=spawner).text
    assert Limits.from_json(limits).max_concurrent_users == 50
    bad = requests.get(f"{url}api/admission?user=zoe&memory=much", headers=spawner)
    assert bad.status_code == 400


NAMELESS = """
return [...document.querySelectorAll('input:not([type=hidden]), button, meter, select')]
  .filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label')
    && !e.getAttribute('aria-labelledby') && !e.textContent.trim())
  .map(e => e.outerHTML);
"""
CONTRAST = """
function channel(v) { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }
function light(c) {
  const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
  return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
}
function behind(e) {
  for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c)) return c;
  }
  return 'rgb(255, 255, 255)';
}
return [...document.querySelectorAll('body *')]
  .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
  .filter(e => e.getClientRects().length && !e.closest('svg, meter, .skip'))
  .map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 120)];
  })
  .filter(([ratio]) => ratio < 4.5);
"""
WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
ARTIFACTS = Path(__file__).parents[2] / "artifacts"


@pytest.mark.browser
def test_in_a_real_browser_it_is_readable_on_a_phone_and_usable_by_keyboard(site: Site) -> None:
    site.look(site.login("ada"), "student3")
    _history(site)
    with browser() as window:
        window.resize(1280, 900)
        window.go(site.url)  # the hub asks for a login and comes back here
        window.type("input[name=username]", "ada")
        window.type("input[name=password]", PASSWORD)
        window.click("[type=submit]")
        assert window.url.startswith(site.url)
        window.picture(ARTIFACTS / "fleet-page.png")
        assert window.run(NAMELESS) == []
        assert window.run(CONTRAST) == []
        assert window.run("return document.querySelectorAll('h1').length") == 1
        assert window.run("return document.documentElement.lang") == "en"
        # the first stop of the tabulator leads past the header
        window.keys("\ue004")
        assert window.run("return document.activeElement.className") == "skip"
        window.dark(on=True)
        assert window.run(CONTRAST) == []
        window.picture(ARTIFACTS / "fleet-page-dark.png")
        window.dark(on=False)
        window.resize(390, 844)
        window.go(site.url)
        assert window.run(WIDER) <= 0, "the page is wider than a phone"
        window.picture(ARTIFACTS / "fleet-page-phone.png")
        # a button, by keyboard alone
        instance = site.nodes[0].removeprefix("node-")
        window.run(f"document.querySelector('[aria-label=\"Drain {instance}\"]').focus()")
        window.keys("\ue007")
        site.yard.cloud.wait(lambda: "notice=" in window.url, what="the answer")
        assert "takes no new servers" in window.run("return document.body.textContent")
        errors = window.run("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(name.startswith(site.hub.url) for name in errors), "something from elsewhere"


def _history(site: Site) -> None:
    """A day's samples, so that the chart has something to show."""
    now = time.time()
    with sqlite3.connect(site.hub.state / "fleet" / "fleet.sqlite", timeout=10) as db:
        for minute in range(0, 24 * 60, 5):
            wave = (1 - math.cos(2 * math.pi * minute / 1440)) / 2
            users = round(40 * wave)
            machines = max(1, math.ceil(users / 7) + 1)
            row = (now - 86400 + minute * 60, users, minute % 35 == 0, machines, 0, 0, 0, 0)
            db.execute("insert or replace into samples values (?, ?, ?, ?, ?, ?, ?, ?)", row)
