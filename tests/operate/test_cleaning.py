"""No secret leaves in what is shown or sent."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from tests.plugins.standing import Standing

from hubdeploy.operate import cleaning, secrets

PLANTED = [
    "password=hunter2hunter2",
    '"token": "hunter2hunter2"',
    "GET /lab?token=hunter2hunter2 HTTP/1.1",
    "Authorization: Bearer hunter2hunter2",
    "authorization: token hunter2hunter2",
    "aws_secret_access_key = hunter2hunter2",
    "AWS_SECRET_ACCESS_KEY=hunter2hunter2",
    "client_secret: 'hunter2hunter2'",
    "JUPYTERHUB_API_TOKEN=hunter2hunter2",
    "cookie_secret=hunter2hunter2",
    "postgres://hub:hunter2hunter2@db/hub",
    "Set-Cookie: hunter2hunter2",
    "--token SWMTKN-1-hunter2hunter2-abc",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2hunter2\n-----END RSA PRIVATE KEY-----",
    "id=eyJhbGciOiJI.hunter2hunter2.abcdefgh",
    "using ghp_hunter2hunter2xyz for git",
]


@pytest.mark.parametrize("text", PLANTED)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    cleaned = cleaning.clean(f"before {text} after")
    assert "hunter2" not in cleaned
    assert "***" in cleaned
    assert cleaned.startswith("before ")


@pytest.mark.parametrize(
    "text",
    [
        "worker/1: pulled the image in 12 s",
        "the token was published; secrets are masked",
        "user ada@example.org logged in",
        "https://notebooks.example.org/hub/login?next=%2Fhub%2F",
        "10 tokens left, next at 12:30",
        '{"cookie_secret": null, "token_days": 14, "secrets": []}',
    ],
)
def test_what_is_none_stays_as_it_is(text: str) -> None:
    assert cleaning.clean(text) == text


def test_what_was_json_stays_json() -> None:
    told = {
        "password": 'hunter2"hunter2',
        "deep": {"api_token": "hunter2 hunter2"},
        "cookie": None,
        "said": "password=\"hunter2 hunter2\" and token='hunter2'",
    }
    assert json.loads(cleaning.clean(json.dumps(told, indent=1))) == {
        "password": "***",
        "deep": {"api_token": "***"},
        "cookie": None,
        "said": "password=\"***\" and token='***'",
    }


def test_an_archive_holds_none_of_the_deployments_own_secrets(standing: Standing) -> None:
    aws, names = standing.aws, standing.names
    secrets.store("hub/shared-password", "open sesame", aws=aws, names=names)
    secrets.store("tls/key", "first line of it\nsecond line of it", aws=aws, names=names)
    known = cleaning.secrets_of(aws=aws, names=names)
    texts = {
        "logs/leader/hub.log": "ada tried open sesame\n",
        "status.json": '{"detail": "it said: second line of it"}',
    }
    body = cleaning.archive(texts, known=known)
    assert body == cleaning.archive(texts, known=known)
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        found = {m.name: tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]
        assert {m.mode for m in tar} == {0o600}
    assert found["logs/leader/hub.log"] == "ada tried ***\n"
    assert "line of it" not in found["status.json"]
