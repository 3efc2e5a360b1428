"""What others have to answer: DNS, registries, Chef's publisher, the hub's page itself."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.doctor.conftest import Examine, machine, said, tell
from tests.plugins.interception import Authority
from tests.plugins.nameserver import nameserver
from tests.plugins.standing import TEXT, Standing

from hubdeploy.config.load import parse
from hubdeploy.doctor.chefpackages import NODES
from hubdeploy.node import packages
from hubdeploy.pipeline.step import Severity

Make = Callable[[str], Standing]
BASE = 'name = "demo"\nregion = "eu-central-1"\n'
DOMAIN = BASE + 'domain = "lab.example.org"\n[tls]\nemail = "ada@example.org"\n'


@contextmanager
def web(
    answers: dict[str, tuple[int, bytes]], *, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A web server with these answers by path (without its query); 404 for others."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path.partition("?")[0], (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# ------------------------------------------------------------------------------------- domain


def test_a_zone_that_is_not_delegated_to_this_account_is_an_error(
    configured: Make, examine: Examine
) -> None:
    made = configured(DOMAIN)
    zone = made.aws.call(
        "route53", "create_hosted_zone", Name="example.org", CallerReference="doctor"
    )
    ours = zone["DelegationSet"]["NameServers"]
    with nameserver({}) as resolver:
        report = examine(made, "domain.zone", resolver=resolver)
    assert said(report) == "DNS knows no name servers of example.org"
    assert ours[0] in report.findings[0].hint
    with nameserver({("example.org", "NS"): ["ns1.elsewhere.net."]}) as resolver:
        report = examine(made, "domain.zone", resolver=resolver)
    assert said(report) == "example.org is delegated to ns1.elsewhere.net, not to its hosted zone"
    with nameserver({("example.org", "NS"): [f"{ours[0]}."]}) as resolver:
        assert examine(made, "domain.zone", resolver=resolver).findings == []


def test_dns_has_to_answer_with_the_leaders_address(standing: Standing, examine: Examine) -> None:
    named = replace(standing, config=parse(f'{TEXT}\n[tls]\nkind = "self-signed"\n'))
    named = replace(named, config=named.config.model_copy(update={"domain": "example.org"}))
    address, host = machine(standing, "leader").public_ip, "notebooks.example.org"
    with nameserver({}) as resolver:
        report = examine(named, "domain.answer", resolver=resolver)
    assert said(report) == f"DNS knows no address of {host}"
    with nameserver({(host, "A"): ["192.0.2.9"]}) as resolver:
        report = examine(named, "domain.answer", resolver=resolver)
    assert said(report) == f"DNS answers 192.0.2.9 for {host}, the leader is {address}"
    with nameserver({(host, "A"): [address]}) as resolver:
        assert examine(named, "domain.answer", resolver=resolver).findings == []


# ------------------------------------------------------------------------------------- images


def test_an_image_that_is_not_in_our_own_registry_is_an_error(
    configured: Make, examine: Examine
) -> None:
    made = configured(BASE)
    image = f"{made.names.registry}/{made.names.repository}:7"
    mine = configured(BASE + f'[hub]\nimage = "{image}"\n')
    mine = replace(mine, cloud=made.cloud)
    report = examine(mine, "hub.image")
    assert said(report) == f"image {image}: it is not in the repository; push it there"
    made.aws.call("ecr", "create_repository", repositoryName=made.names.repository)
    assert "push it there" in said(examine(mine, "hub.image"))
    made.aws.call(
        "ecr",
        "put_image",
        repositoryName=made.names.repository,
        imageTag="7",
        imageManifest=json.dumps({"schemaVersion": 2, "config": {}, "layers": []}),
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
    )
    assert examine(mine, "hub.image").findings == []


# ------------------------------------------------------------------------------ Chef's packages


def test_packages_that_the_publisher_has_are_fine_and_nothing_is_downloaded(
    configured: Make, examine: Examine
) -> None:
    answers: dict[str, tuple[int, bytes]] = {"/file.deb": (200, b"a whole package")}
    with web(answers) as publisher:
        offer = json.dumps({"url": f"{publisher}/file.deb", "sha256": "0"}).encode()
        answers |= {"/cinc-server/metadata": (200, offer), "/cinc/metadata": (200, offer)}
        made = configured(BASE)
        assert examine(made, "chef.packages", publisher=publisher).findings == []
        answers["/file.deb"] = (503, b"")
        report = examine(made, "chef.packages", publisher=publisher)
        assert (
            "cinc-server 15.10.91 is not in the bucket, and its publisher's file answers 503"
            in (said(report))
        )
        del answers["/cinc/metadata"]
        report = examine(made, "chef.packages", publisher=publisher)
        assert "its publisher has no such version for debian 12" in said(report)


def test_a_publisher_that_does_not_answer_is_an_error_without_the_licence(
    configured: Make, examine: Examine
) -> None:
    made = configured(BASE + '[chef]\ndistribution = "chef"\nlicence_id = "very-secret"\n')
    report = examine(made, "chef.packages", publisher="http://127.0.0.1:9")
    assert [f.subject for f in report.findings] == ["chef-server", "chef"]
    assert "does not answer (ConnectionError)" in said(report)
    assert "very-secret" not in said(report)


def test_a_package_that_the_bucket_keeps_need_not_be_had_from_its_publisher(
    standing: Standing, examine: Examine
) -> None:
    assert examine(standing, "chef.packages", publisher="http://127.0.0.1:9").findings
    version = standing.config.chef.client_version
    key = packages.kept_as(packages.Package(product="cinc", version=version), NODES)
    for name in (key, f"{key}.sha256"):
        standing.aws.call("s3", "put_object", Bucket=standing.names.bucket, Key=name, Body=b"x")
    report = examine(standing, "chef.packages", publisher="http://127.0.0.1:9")
    assert report.findings == []


def test_a_rehearsal_needs_no_publisher(configured: Make, examine: Examine) -> None:
    made = configured(BASE)
    report = examine(made, "chef.packages", publisher="http://127.0.0.1:9", sandbox=True)
    assert report.findings == []


# ------------------------------------------------------------------------------------- access


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (b"203.0.113.7\n", ""),
        (b"198.51.100.1\n", "SSH is closed to this machine's address 198.51.100.1"),
        (b"no address", ""),
    ],
)
def test_an_address_that_the_rules_do_not_let_in_is_a_hint_and_no_fault(
    configured: Make, examine: Examine, address: bytes, expected: str
) -> None:
    made = configured(TEXT + '[access]\noperator_cidrs = ["203.0.113.0/24"]\n')
    made.up()
    with web({"/": (200, address)}) as service:
        report = examine(made, "access.address", address_service=service)
    assert said(report) == expected
    assert report.severity is Severity.OK
    assert not expected or '"198.51.100.1/32" to access.operator_cidrs' in report.findings[0].hint


def test_the_rule_that_counts_is_the_one_that_stands(standing: Standing, examine: Examine) -> None:
    text = TEXT + '[access]\noperator_cidrs = ["203.0.113.0/24"]\n'
    written = replace(standing, config=parse(text))
    with web({"/": (200, b"203.0.113.7")}) as service:
        report = examine(written, "access.address", address_service=service)
    assert "SSH is closed" in said(report), "the file says so, `up` has not been run"


# ---------------------------------------------------------------------------------------- page


def at(standing: Standing, url: str) -> None:
    """The hub is said to be there; its leader is none of the simulated ones."""
    standing.aws.call(
        "ssm",
        "put_parameter",
        Name=standing.names.parameters.hub_state,
        Value=json.dumps({"url": f"{url}/hub/login"}),
        Type="String",
        Overwrite=True,
    )
    tell(standing, lambda _: {})


def test_a_page_that_cannot_be_opened_from_here_is_an_error(
    standing: Standing, examine: Examine
) -> None:
    answers = {"/hub/health": (200, b"{}")}
    with web(answers) as page:
        at(standing, page)
        assert examine(standing, "hub.url").findings == []
        answers["/hub/health"] = (503, b"")
        assert said(examine(standing, "hub.url")) == f"{page} answers 503"
    report = examine(standing, "hub.url")
    assert said(report) == f"{page} does not answer from here (ConnectionError)"


def test_a_certificate_that_nobody_trusts_is_an_error_where_it_should_be_trusted(
    standing: Standing, examine: Examine, tmp_path: Path
) -> None:
    trusted = standing.config.model_copy(update={"domain": "example.org"})
    with web({"/hub/health": (200, b"{}")}, tls=Authority(tmp_path).context("127.0.0.1")) as page:
        at(standing, page)
        assert examine(standing, "hub.url").findings == [], "without a domain it is self-signed"
        report = examine(replace(standing, config=trusted), "hub.url")
    assert f"{page} has a certificate that is not trusted: " in said(report)
    assert len(said(report)) < 200


def test_a_hub_that_has_never_answered_is_an_error(standing: Standing, examine: Examine) -> None:
    at(standing, "http://127.0.0.1:9")
    standing.aws.call("ssm", "delete_parameter", Name=standing.names.parameters.hub_state)
    assert said(examine(standing, "hub.url")) == "no hub has answered yet"
