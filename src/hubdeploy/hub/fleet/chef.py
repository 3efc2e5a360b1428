"""Deleting an ended worker's Chef node and client, as far as the leader may.

The leader holds no admin's key (whoever took over the hub would then own every machine), only its
own client's. Where the Chef server lets that delete workers, it is done at once; where it refuses,
the workstation, which has the key, sweeps up what has no instance any more.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from hubdeploy.chef.failures import ChefRefused
from hubdeploy.chef.server import ChefServer
from hubdeploy.errors import ChefError

log = logging.getLogger(__name__)

FOLDERS = (Path("/etc/cinc"), Path("/etc/chef"))
_LINE = re.compile(r"^\s*(\w+)\s+['\"]?([^'\"\s]+)['\"]?\s*$")
REFUSED = (401, 403)


def forget(node_name: str, *, folders: tuple[Path, ...] = FOLDERS) -> str:
    """Delete node and client *node_name*; missing ones are fine. Answers how it went, in words.

    Raises ChefError where the server cannot be reached; it is then tried again.
    """
    folder = next((folder for folder in folders if (folder / "client.rb").is_file()), None)
    if folder is None:
        return "left to the workstation (the leader is no Chef node)"
    try:
        with _server(folder) as server:
            gone = server.forget(node_name)
    except ChefRefused as error:
        if error.status in REFUSED:
            return "left to the workstation (the leader may not delete it)"
        raise
    except OSError as error:
        raise ChefError(f"the leader's Chef client in {folder}: {error}") from error
    words = [name for name, there in (("node", gone.node), ("client", gone.client)) if there]
    return f"deleted {' and '.join(words)}" if words else "was gone already"


def _server(folder: Path) -> ChefServer:
    said = {}
    for line in (folder / "client.rb").read_text().splitlines():
        match = _LINE.match(line)
        if match:
            said[match[1]] = match[2]
    try:
        url, client = said["chef_server_url"], said["node_name"]
    except KeyError as error:
        raise ChefError(f"{folder / 'client.rb'} lacks {error}") from error
    key = Path(said.get("client_key", str(folder / "client.pem")))
    trust = Path(
        said.get("ssl_ca_file") or said.get("trusted_certs_dir") or folder / "trusted_certs"
    )
    return ChefServer(url, client=client, key=key, trust=trust if trust.exists() else None)
