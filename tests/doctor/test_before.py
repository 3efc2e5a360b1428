"""Before `up`: each check sees its fault, and nothing where there is none."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.doctor.conftest import Examine, said
from tests.plugins.standing import TEXT, Standing

from hubdeploy.doctor.outside import split
from hubdeploy.operate import secrets
from hubdeploy.pipeline.step import Severity

Make = Callable[[str], Standing]
BASE = 'name = "demo"\nregion = "eu-central-1"\n'


def test_all_is_well_with_the_shipped_defaults(configured: Make, examine: Examine) -> None:
    good = configured(TEXT)
    for name in ("config.login", "config.dummy", "aws.credentials", "aws.clock", "aws.types",
                 "aws.quotas", "aws.name", "config.secrets"):  # fmt: skip
        assert examine(good, name).severity is Severity.OK, name


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("", "config.login", "nobody may log in"),
        ('[hub.authenticator]\nallowed_users = ["ada"]\n', "config.login", "no admin"),
        (
            '[hub]\nadmins = ["a"]\n[hub.authenticator]\nopen_signup = true\n',
            "config.login",
            "anybody who finds",
        ),
        ('[hub.authenticator]\nkind = "dummy"\n', "config.dummy", "lets anybody in"),
        ('[workers]\nmin_nodes = 40\nmax_nodes = 50\n', "config.limits", "over max_cluster"),
        ('[hub]\nmemory = "60G"\n', "config.limits", "fits on no worker"),
        ("[limits]\nmax_concurrent_users = 5000\n", "config.limits", "below max_concurrent"),
        ('[limits]\nmax_cluster_memory = "40G"\n', "config.limits", "stops the fleet at 2 of 10"),
        (
            '[hub.authenticator]\nkind = "github"\nclient_id = "x"\n',
            "config.secrets",
            "hub/oauth-client-secret is not set",
        ),
        (
            '[hub.authenticator]\nkind = "shared-password"\n',
            "config.secrets",
            "hub/shared-password is not set",
        ),
        ('[tls]\nkind = "own"\n', "config.secrets", "tls/certificate is not set"),
        ('[leader]\ninstance_type = "t9.huge"\n', "aws.types", "t9.huge is not offered"),
        (
            'domain = "nowhere.example.org"\ntls = { email = "ada@example.org" }\n',
            "domain.zone",
            "no public hosted zone",
        ),
        ('[hub]\nimage = "127.0.0.1:1/nb:1"\n', "hub.image", "does not answer"),
    ],
)  # fmt: skip
def test_a_fault_is_found(
    configured: Make, examine: Examine, text: str, name: str, expected: str
) -> None:
    report = examine(configured(BASE + text), name)
    assert report.severity is not Severity.OK
    assert expected in said(report)
    assert all(f.hint for f in report.findings)


def test_a_secret_once_set_is_no_finding(configured: Make, examine: Examine) -> None:
    made = configured(BASE + '[hub.authenticator]\nkind = "github"\nclient_id = "x"\n')
    secrets.store("hub/oauth-client-secret", "x", aws=made.aws, names=made.names)
    assert examine(made, "config.secrets").severity is Severity.OK


@pytest.fixture
def registry() -> Iterator[str]:
    """A registry that wants an anonymous token first, as public ones do."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if self.headers.get("Authorization") != "Bearer pull":
                host = self.headers["Host"]
                self.send_response(401)
                self.send_header(
                    "WWW-Authenticate", f'Bearer realm="http://{host}/token",service="here"'
                )
            else:
                self.send_response(200 if self.path == "/v2/team/nb/manifests/7" else 404)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"token": "pull"}')

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_registry_is_asked_for_the_image_itself(
    configured: Make, examine: Examine, registry: str
) -> None:
    good = configured(BASE + f'[hub]\nimage = "{registry}/team/nb:7"\n')
    assert examine(good, "hub.image").severity is Severity.OK
    bad = configured(BASE + f'[hub]\nimage = "{registry}/team/nb:8"\n')
    assert "there is no such image" in said(examine(bad, "hub.image"))


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("debian", ("registry-1.docker.io", "library/debian", "latest")),
        ("jupyter/base:7", ("registry-1.docker.io", "jupyter/base", "7")),
        ("quay.io/a/b/c:1", ("quay.io", "a/b/c", "1")),
        ("localhost:5000/x", ("localhost:5000", "x", "latest")),
        ("ghcr.io/a/b@sha256:00", ("ghcr.io", "a/b", "sha256:00")),
    ],
)
def test_image_names_are_read_as_docker_reads_them(image: str, parts: tuple[str, str, str]) -> None:
    assert split(image) == parts
