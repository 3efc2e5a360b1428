"""A stand-in for CINC's and Progress's Chef server, which no package source here has.

Its control command is a real program on ``PATH`` that takes the words of ``chef-server-ctl`` 15.10,
answers in its words and with its exit codes, and writes down how it was called. Its API checks
signatures and knows users, organisations, clients and groups, as far as the agent asks for them.
Both work on one JSON file, which is what a backup holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import ssl
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hubdeploy.chef import signing

State = dict[str, Any]
"""``users`` and ``clients`` (name -> public key), ``orgs`` (name -> members and admins)."""


class Files:
    """Where one build of the server keeps what, below a machine's root."""

    def __init__(self, root: Path, name: str) -> None:
        project, server = (
            ("cinc-project", "cinc") if name.startswith("cinc") else ("opscode", "chef")
        )
        self.root, self.name = root, name
        self.config = root / f"etc/{project}/{server}-server.rb"
        self.pivotal = root / f"etc/{project}/pivotal.pem"
        self.data = root / f"var/opt/{project}/postgresql"
        self.backups = root / f"var/opt/{server}-backup"
        """Unless the configuration names another folder."""
        self.state = self.data / "state.json"
        self.calls = root / "calls.jsonl"
        self.orders = root / "orders.json"

    @property
    def version(self) -> str:
        return str(self.ordered("version") or "15.10.91")

    def read(self) -> State:
        found: State = json.loads(self.state.read_text())
        return found

    def write(self, state: State) -> None:
        self.state.parent.mkdir(parents=True, exist_ok=True)
        new = self.state.with_suffix(".new")
        new.write_text(json.dumps(state))
        new.replace(self.state)

    def ordered(self, what: str) -> Any:
        """What a test wants to go wrong."""
        return json.loads(self.orders.read_text()).get(what) if self.orders.exists() else None


# ------------------------------------------------------------------------ the control command


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def control(files: Files, words: list[str]) -> int:
    """One call of the program; its exit code."""
    with files.calls.open("a") as calls:
        calls.write(json.dumps([words, os.environ.get("CHEF_LICENSE")]) + "\n")
    command = _COMMANDS.get(words[0])
    if command is None:
        _say("I don't know that command.")
        return 1
    if files.ordered(words[0]) == "fails":
        _complain(f"[ERROR] {words[0]}: no space left on device")
        return 1
    return command(files, words[1:])


def _reconfigure(files: Files, _words: list[str]) -> int:
    if not files.config.is_file():
        return 1
    if not files.state.exists():
        key = signing.new_key()
        files.pivotal.write_text(signing.private_pem(key))
        files.write({"users": {"pivotal": signing.public_pem(key)}, "clients": {}, "orgs": {}})
    _say("Patents:       https://www.chef.io/patents\n\nCinc Server Reconfigured!")
    return 0


def _org_list(files: Files, _words: list[str]) -> int:
    _complain("WARN: no longer in hubdeploy or anywhere else")
    _say("\n".join(sorted(files.read()["orgs"])))
    return 0


def _org_create(files: Files, words: list[str]) -> int:
    name, _full, flag, file = words
    assert flag == "-f"
    state = files.read()
    if name in state["orgs"]:
        _complain("ERROR: Organization already exists.")
        return 100
    key = signing.new_key()
    state["orgs"][name] = {"members": [], "admins": []}
    state["clients"][f"{name}-validator"] = signing.public_pem(key)
    files.write(state)
    Path(file).write_text(signing.private_pem(key))
    _say(f"Created {name}")
    return 0


def _org_user_add(files: Files, words: list[str]) -> int:
    name, user, flag = words
    assert flag == "--admin"
    state = files.read()
    if user not in state["users"]:
        _complain("ERROR: The object you are looking for could not be found")
        return 100
    org = state["orgs"][name]
    if user in org["members"]:
        _say(f"User {user} already associated with organization {name}")
    org["members"] = sorted({*org["members"], user})
    org["admins"] = sorted({*org["admins"], user})
    files.write(state)
    _say(f"User {user} is added to admins and billing-admins group")
    return 0


def _backup(files: Files, words: list[str]) -> int:
    assert words[0] == "--yes"
    named = re.search(r"^backup\['export_dir'\] = '(.+)'$", files.config.read_text(), re.MULTILINE)
    folder = files.root / named[1].lstrip("/") if named else files.backups
    folder.mkdir(parents=True, exist_ok=True)
    _say("Starting Cinc Server backup\nBringing down the Cinc Server\nCreating backup tarball")
    if files.ordered("backup") != "leaves nothing":
        manifest = files.root / "manifest.json"
        manifest.write_text(json.dumps({"strategy": "tar", "version": files.version}))
        with tarfile.open(folder / "cinc-backup-2026-11-26-03-00-00.tgz", "w:gz") as tar:
            for member in (manifest, files.state, files.pivotal, files.config):
                tar.add(member, arcname=str(member.relative_to(files.root)))
        manifest.unlink()
    _say("Backup Complete!")
    return 0


def _restore(files: Files, words: list[str]) -> int:
    tarball, flag = Path(words[0]), words[1]
    assert flag == "--cleanse"
    if not tarball.is_file() or tarball.suffix != ".tgz":
        _complain(f"[ERROR] {tarball} is not a valid backup")
        return 1
    _say(f"Expanding tarball: {tarball}\nRestoring Cinc Server from backup")
    unpacked = files.root / "unpacked"
    with tarfile.open(tarball) as tar:
        tar.extractall(unpacked, filter="data")
    version = json.loads((unpacked / "manifest.json").read_text())["version"]
    if version != files.version:
        _say(
            f"package cinc-project {files.version} installed, but backup was from {version}."
            " Please install correct version, restore, then upgrade."
        )
        return 0
    for place in (files.state, files.pivotal, files.config):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(unpacked / place.relative_to(files.root), place)
    _say("Restoration Completed!")
    return 0


def _reindex(files: Files, words: list[str]) -> int:
    state = files.read()
    state["indexed"] = words
    files.write(state)
    _say(f"Reindexing orgs: {words}\n- Reindexing.")
    return 0


_COMMANDS: dict[str, Callable[[Files, list[str]], int]] = {
    "reconfigure": _reconfigure,
    "org-list": _org_list,
    "org-create": _org_create,
    "org-user-add": _org_user_add,
    "backup": _backup,
    "restore": _restore,
    "reindex": _reindex,
}


def put_on_path(folder: Path, files: Files) -> Path:
    """The program itself, in *folder*."""
    program = folder / files.name
    folder.mkdir(parents=True, exist_ok=True)
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[2])]!r}\n"
        "from tests.node.omnibus import Files, control\n"
        f"files = Files(Path({str(files.root)!r}), {files.name!r})\n"
        "sys.exit(control(files, sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    return program


# -------------------------------------------------------------------------------- the API


class _Api(ThreadingHTTPServer):
    """Shows the certificate that lies there when somebody comes."""

    daemon_threads = True

    def __init__(self, files: Files, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.certificate = files, certificate

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
            connection.settimeout(10)
            return context.wrap_socket(connection, server_side=True), address
        except OSError:
            connection.close()
            raise


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        assert isinstance(self.server, _Api)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, said = self._decide(self.server.files, body)
        except FileNotFoundError:
            status, said = 503, {"error": ["not configured yet"]}
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _decide(self, files: Files, body: bytes) -> tuple[int, Any]:
        state = files.read()
        parts = self.path.strip("/").split("/")
        org = parts[1] if parts[0] == "organizations" else None
        if org is not None and org not in state["orgs"]:
            return 404, {"error": [f"organization '{org}' does not exist."]}
        who = self.headers["X-Ops-Userid"]
        public = {**state["users"], **state["clients"]}.get(who)
        if public is None or not self._signed(public, body):
            return 401, {"error": [f"Failed to authenticate as '{who}'."]}
        status, said = _act(
            state, who, org, (self.command, *parts[2 if org else 0 :]), json.loads(body or "{}")
        )
        if files.ordered("api") == "garbles" and self.path == "/users":
            state["users"][json.loads(body)["username"]] = state["users"]["pivotal"]
            files.orders.unlink()
        if self.command != "GET" and status < 400 and files.ordered("api") != "forgets":
            files.write(state)
        return status, said

    def _signed(self, public: str, body: bytes) -> bool:
        headers = self.headers
        content = base64.b64encode(hashlib.sha256(body).digest()).decode()
        text = "\n".join(
            (
                f"Method:{self.command}",
                f"Path:{signing.canonical_path(self.path)}",
                f"X-Ops-Content-Hash:{content}",
                "X-Ops-Sign:version=1.3",
                f"X-Ops-Timestamp:{headers['X-Ops-Timestamp']}",
                f"X-Ops-UserId:{headers['X-Ops-Userid']}",
                f"X-Ops-Server-API-Version:{headers['X-Ops-Server-API-Version']}",
            )
        )
        lines = [headers.get(f"X-Ops-Authorization-{n}", "") for n in range(1, 10)]
        key = serialization.load_pem_public_key(public.encode())
        assert isinstance(key, rsa.RSAPublicKey)
        try:
            key.verify(
                base64.b64decode("".join(lines)),
                text.encode(),
                padding.PKCS1v15(),
                hashes.SHA256(),
            )
        except InvalidSignature:
            return False
        return True


def _act(
    state: State, who: str, org: str | None, request: tuple[str, ...], data: State
) -> tuple[int, Any]:
    """Status and answer; *state* is changed in place."""
    members = state["orgs"][org]["members"] if org else []
    rules = who == "pivotal" or (org is not None and who in state["orgs"][org]["admins"])
    match request:
        case "GET", "nodes":
            return 200, {}
        case "GET", "clients", name if name in state["clients"]:
            return (200, {"name": name}) if rules or who == name else (403, {"error": ["no"]})
        case "PUT", "clients", name if name in state["clients"] and rules:
            state["clients"][name] = data["public_key"]
            return 200, {"name": name}
        case "POST", "users" if org and rules:
            members.append(data["username"])
            return 201, {}
        case "DELETE", "users", name if org and rules and name in members:
            members.remove(name)
            state["orgs"][org]["admins"] = [x for x in state["orgs"][org]["admins"] if x != name]
            return 200, {}
        case "POST", "users" if not org and who == "pivotal":
            if data["username"] in state["users"]:
                return 409, {"error": [f"Username {data['username']} already in use."]}
            assert len(data["password"]) >= 6
            assert "@" in data["email"]
            state["users"][data["username"]] = data["public_key"]
            return 201, {"uri": ""}
        case "DELETE", "users", name if not org and name in state["users"] and who == "pivotal":
            del state["users"][name]
            return 200, {}
    return 404, {"error": ["not found"]}


@contextmanager
def serving(files: Files) -> Iterator[int]:
    """The API of the server whose files these are; the port."""
    api = _Api(files, files.root / "etc/hubdeploy/chef/server.crt")
    thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield api.server_address[1]
    finally:
        api.shutdown()
        api.server_close()
        thread.join()
