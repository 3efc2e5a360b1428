"""What this host knows about reaching packages: mirror, proxy, certificates, index.

A build container gets it for the time of the build only.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CA_MOUNT = "/run/build/ca.crt"
"""Where a build container sees the host's certificates; on a tmpfs."""
_CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CA_IN_BUILD = (*_CA_VARIABLES, "NODE_EXTRA_CA_CERTS")
_PASSED = (
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT",
    "NPM_CONFIG_REGISTRY", "npm_config_registry",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """How builds reach the outside from here."""

    environment: dict[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    mirror: str | None = None
    """Debian mirror of this host's apt; None: debootstrap's own default."""
    security_mirror: str | None = None


def survey(
    *, environ: Mapping[str, str] = os.environ, etc: Path = Path("/etc"), suite: str = "bookworm"
) -> Surroundings:
    """Look at the environment, pip's and apt's settings of this host."""
    environment = {name: environ[name] for name in _PASSED if environ.get(name)}
    for key, variable in (
        ("index-url", "PIP_INDEX_URL"),
        ("extra-index-url", "PIP_EXTRA_INDEX_URL"),
    ):
        urls = environment.get(variable) or _pip_setting(etc / "pip.conf", key)
        # an index in a local directory is not there inside the build
        remote = [url for url in urls.split() if not url.startswith("file:")]
        environment.pop(variable, None)
        if remote:
            environment[variable] = " ".join(remote)
    named = [environ[name] for name in _CA_VARIABLES if environ.get(name)]
    ca_file = next((path for path in named if Path(path).is_file()), None)
    if ca_file:
        environment.update(dict.fromkeys(_CA_IN_BUILD, CA_MOUNT))
    mirrors = _apt_mirrors(etc / "apt")
    return Surroundings(
        environment=environment,
        ca_file=ca_file,
        mirror=mirrors.get(suite),
        security_mirror=mirrors.get(f"{suite}-security"),
    )


def _pip_setting(path: Path, key: str) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except configparser.Error:
        return ""
    return parser.get("global", key, fallback="")


def _apt_mirrors(apt: Path) -> dict[str, str]:
    """Suite -> URI of the first source that serves it, from both forms of apt's source lists."""
    mirrors: dict[str, str] = {}
    lists = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    for path in lists:
        if path.is_file():
            for line in path.read_text(errors="replace").splitlines():
                match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line.strip())
                if match:
                    mirrors.setdefault(match[2], match[1])
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text(errors="replace")):
            found = dict(re.findall(r"(?mi)^(types|uris|suites|enabled):\s*(.+?)\s*$", stanza))
            fields = {name.lower(): value for name, value in found.items()}
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
                for suite in fields.get("suites", "").split():
                    mirrors.setdefault(suite, fields.get("uris", "").split()[0])
    return mirrors
