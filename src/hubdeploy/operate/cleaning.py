"""Texts without secrets, and an archive of them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Collection, Mapping

from hubdeploy.aws.masking import MASK, masked
from hubdeploy.aws.session import Aws
from hubdeploy.config.names import Names

_SHORTEST = 6
"""Characters; what is shorter would take harmless words along."""
_NAMED = re.compile(
    r"""(?ix)
    \b ((?:[\w.-]*[_.-])? (?:password|passwd|secret|token(?!_url)|credentials?|private[_-]?key
        |api[_-]?key|secret[_-]?(?:access[_-]?)?key|cookie[_-]?secret|authorization|set-cookie|cookie)
        (?:[_.-][\w.-]*)? ["']? \s* [:=] \s* (?:(?:bearer|token|basic)\s+)?)
    (?! (?: null | true | false | none | \d{1,3} ) \b )
    (?: (\\["']) .*? \2                         # in quotes, within a text in quotes
      | (["']) (?: \\. | (?!\3) [^\\\n] )* \3   # in quotes
      | [^\s,;&"'{}\[\]]+ )
    """
)
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}")
_IN_URL = re.compile(r"(?<=://)([^/\s:@]+):([^/\s@]+)@")
_BY_LOOK = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a signed token
    r"|\b(?:ghp|gho|ghs|github_pat)_\w{16,}"
    r"|\bASIA[0-9A-Z]{16}\b"
)


def clean(text: str, *, known: Collection[str] = ()) -> str:
    """A text without what looks like a secret, and without those that are ``known``."""
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = str(masked(text))
    text = _BY_LOOK.sub(MASK, text)
    text = _IN_URL.sub(rf"\1:{MASK}@", text)
    text = _NAMED.sub(_hidden, text)
    return _BEARER.sub(rf"\1{MASK}", text)


def _hidden(found: re.Match[str]) -> str:
    quote = found[2] or found[3] or ""
    return f"{found[1]}{quote}{MASK}{quote}"


def secrets_of(*, aws: Aws, names: Names) -> set[str]:
    """Every secret of the deployment, to be looked for in what goes out. Held in memory alone."""
    found = aws.pages(
        "ssm",
        "get_parameters_by_path",
        "Parameters",
        Path=names.parameters.root,
        Recursive=True,
        WithDecryption=True,
    )
    values = [str(item["Value"]).strip() for item in found if item.get("Type") == "SecureString"]
    # one of many lines (a key) may be quoted line by line
    return {line for value in values for line in value.splitlines() if len(line) >= _SHORTEST}


def archive(files: Mapping[str, str], *, known: Collection[str] = ()) -> bytes:
    """A ``tar.gz`` of cleaned texts by name; the same texts give the same bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6) as tar:
        for name, text in sorted(files.items()):
            body = clean(text, known=known).encode()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), 0o600
            tar.addfile(info, io.BytesIO(body))
    return raw.getvalue()
