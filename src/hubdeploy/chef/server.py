"""One Chef server as an explicit object.

Works against Chef Infra Server / CINC Server 15 (the URL holds ``/organizations/NAME``) and
goiardi 0.11 (no organisations). Every call has a deadline and raises
:class:`hubdeploy.errors.ChefError` or a subclass of it from :mod:`hubdeploy.chef.failures`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric import rsa

from hubdeploy.chef import pychef, signing
from hubdeploy.chef.api import TIMEOUT, PrivateKey, SignedApi
from hubdeploy.chef.failures import ChefConflict, ChefNotFound
from hubdeploy.chef.objects import Client, Forgotten, Json, Node, Role
from hubdeploy.errors import ChefError

log = logging.getLogger(__name__)

_PAGE = 500
"""Search rows a request."""


class ChefServer(SignedApi):
    """A Chef server's nodes, clients, users, roles, search and data bags.

    Arguments as of :class:`hubdeploy.chef.api.SignedApi`; may be shared between threads.
    """

    def __init__(
        self,
        url: str,
        *,
        client: str,
        key: PrivateKey,
        trust: str | Path | None = None,
        timeout: float = TIMEOUT,
        connect: str | None = None,
    ) -> None:
        super().__init__(url, client=client, key=key, trust=trust, timeout=timeout, connect=connect)
        self._api = pychef.make_api(self.request, url=self.url, client=client)

    # -------------------------------------------------------------------- nodes

    def nodes(self) -> list[str]:
        """Names, sorted."""
        return sorted(pychef.load().Node.list(api=self._api))

    def node(self, name: str) -> Node:
        """Raises :class:`ChefNotFound` where there is none."""
        found = pychef.load().Node(_safe(name), api=self._api)
        if not found.exists:
            raise _missing("node", name, self.url)
        return Node(
            name=name,
            run_list=list(found.run_list),
            environment=found.chef_environment or "_default",
            automatic=found.automatic.to_dict(),
            default=found.default.to_dict(),
            normal=found.normal.to_dict(),
            override=found.override.to_dict(),
        )

    def save_node(self, node: Node) -> None:
        """Create or replace."""
        raw = pychef.load().Node(_safe(node.name), api=self._api, skip_load=True)
        raw.exists = True
        raw._populate(
            {
                "automatic": node.automatic,
                "default": node.default,
                "normal": node.normal,
                "override": node.override,
                "run_list": node.run_list,
                "chef_environment": node.environment,
            }
        )
        raw.save()

    def delete_node(self, name: str) -> bool:
        """Whether there was one."""
        return self._delete(f"/nodes/{_safe(name)}")

    # ------------------------------------------------------------------ clients

    def clients(self) -> list[str]:
        """Names, sorted."""
        return sorted(pychef.load().Client.list(api=self._api))

    def client_object(self, name: str) -> Client:
        """Raises :class:`ChefNotFound` where there is none."""
        raw = self.request("GET", f"/clients/{_safe(name)}")
        return Client(
            name=name,
            public_key=raw.get("public_key") or raw.get("certificate") or "",
            admin=bool(raw.get("admin", False)),
            validator=bool(raw.get("validator", False)),
        )

    def create_client(self, name: str, *, key: rsa.RSAPrivateKey | None = None) -> str:
        """Register a client with a key pair made here; the private key as PEM.

        Only the public half is sent. As a validator this is how a machine becomes known.

        Raises:
            ChefConflict: a client of that name is there: forget it first, or
                :meth:`replace_client_key` (both as an administrator).
        """
        key = key or signing.new_key()
        body = {"name": _safe(name), "admin": False, "public_key": signing.public_pem(key)}
        try:
            self.request("POST", "/clients", body)
        except ChefConflict as error:
            raise ChefConflict(
                f"The Chef server has a client '{name}' already",
                hint="a left-over of an earlier machine blocks the registration (chef/chef#4391): "
                "delete node and client first",
                status=error.status,
                words=error.words,
            ) from error
        return signing.private_pem(key)

    def replace_client_key(self, name: str, *, key: rsa.RSAPrivateKey | None = None) -> str:
        """Give an existing client a new key pair made here; the private key as PEM."""
        key = key or signing.new_key()
        body = {"name": _safe(name), "admin": False, "public_key": signing.public_pem(key)}
        self.request("PUT", f"/clients/{_safe(name)}", body)
        return signing.private_pem(key)

    def delete_client(self, name: str) -> bool:
        """Whether there was one."""
        return self._delete(f"/clients/{_safe(name)}")

    def forget(self, node_name: str) -> Forgotten:
        """Delete a machine's node and its client; missing ones are fine.

        Both, because a left-over client blocks the next registration under that name
        (chef/chef#4391). A node may forget itself: the client goes last.
        """
        node = self.delete_node(node_name)
        return Forgotten(node=node, client=self.delete_client(node_name))

    # -------------------------------------------------------------------- users

    def users(self) -> list[str]:
        """Names, sorted: of the server (goiardi) or of the organisation."""
        raw = self.request("GET", "/users")
        if isinstance(raw, list):  # Chef Server: [{"user": {"username": …}}]
            return sorted(entry["user"]["username"] for entry in raw)
        return sorted(raw)

    def create_user(
        self, name: str, *, password: str, email: str = "", key: rsa.RSAPrivateKey | None = None
    ) -> str:
        """A person's account with a key pair made here; the private key as PEM.

        On a Chef Server only ``pivotal`` may do this, and the user joins the URL's organisation.
        """
        key = key or signing.new_key()
        body: Json = {"name": _safe(name), "public_key": signing.public_pem(key)}
        if self.organisation is None:
            self.request("POST", "/users", body | {"password": password, "admin": False})
            return signing.private_pem(key)
        person = {
            "username": name,
            "display_name": name,
            "first_name": name,
            "last_name": name,
            "email": email or f"{name}@{self.organisation}.invalid",
            "password": password,
        }
        self.request_root("POST", "/users", {"public_key": body["public_key"]} | person)
        self.request("POST", "/users", {"username": name})
        return signing.private_pem(key)

    def delete_user(self, name: str) -> bool:
        """Whether there was one."""
        if self.organisation is not None:
            self._delete(f"/users/{_safe(name)}")
        try:
            self.request_root("DELETE", f"/users/{_safe(name)}")
        except ChefNotFound:
            return False
        return True

    # -------------------------------------------------------------------- roles

    def roles(self) -> list[str]:
        """Names, sorted."""
        return sorted(pychef.load().Role.list(api=self._api))

    def role(self, name: str) -> Role:
        """Raises :class:`ChefNotFound` where there is none."""
        raw = pychef.load().Role(_safe(name), api=self._api)
        if not raw.exists:
            raise _missing("role", name, self.url)
        return Role(
            name=name,
            run_list=list(raw.run_list),
            description=raw.description,
            default_attributes=dict(raw.default_attributes),
            override_attributes=dict(raw.override_attributes),
        )

    def ensure_role(self, role: Role) -> bool:
        """Create or update; whether anything had to be written."""
        try:
            if self.role(role.name) == role:
                return False
        except ChefNotFound:
            log.debug("role %s is not there yet", role.name)
        raw = pychef.load().Role(_safe(role.name), api=self._api, skip_load=True)
        raw.run_list = role.run_list
        raw.description = role.description
        raw.default_attributes = role.default_attributes
        raw.override_attributes = role.override_attributes
        raw.save()
        return True

    def delete_role(self, name: str) -> bool:
        """Whether there was one."""
        return self._delete(f"/roles/{_safe(name)}")

    # ------------------------------------------------------------------- search

    def search(
        self, index: str, query: str = "*:*", *, keys: dict[str, list[str]] | None = None
    ) -> list[Json]:
        """All rows, page by page.

        ``keys`` asks for parts only: ``{"ip": ["ipaddress"]}`` gives ``[{"ip": "10.…"}]``.
        A new node finds itself only after its first converge has saved it.
        """
        found: list[Json] = []
        start = 0
        while True:
            if keys is None:
                page = (
                    pychef.load()
                    .Search(_safe(index), query, rows=_PAGE, start=start, api=self._api)
                    .data
                )
                rows = page["rows"]
            else:
                arguments = urlencode({"q": query, "rows": _PAGE, "start": start})
                page = self.request("POST", f"/search/{_safe(index)}?{arguments}", keys)
                rows = [row["data"] if row else None for row in page["rows"]]
            # a row is null when its object was deleted after it was indexed
            found += [row for row in rows if row is not None]
            start += len(rows)
            # 'total' is of no use: goiardi gives the number of rows in the page
            if len(rows) < _PAGE:
                return found

    # ---------------------------------------------------------------- data bags

    def data_bag(self, name: str) -> list[str]:
        """Names of its items, sorted. Raises :class:`ChefNotFound` where there is no such bag."""
        return sorted(self.request("GET", f"/data/{_safe(name)}"))

    def data_bag_item(self, bag: str, item: str) -> Json:
        """Raises :class:`ChefNotFound` where there is none."""
        raw: Json = self.request("GET", f"/data/{_safe(bag)}/{_safe(item)}")
        return raw

    def _delete(self, path: str) -> bool:
        try:
            self.request("DELETE", path)
        except ChefNotFound:
            return False
        return True


def _safe(name: str) -> str:
    """A name that goes into a path as it is; Chef's names need no quoting.

    Raises:
        ChefError: it would lead elsewhere.
    """
    if not name or quote(name, safe="") != name or name in (".", ".."):
        raise ChefError(
            f"Not a name that Chef takes: {name!r}",
            hint="letters, digits, '-', '_' and '.' only",
        )
    return name


def _missing(kind: str, name: str, url: str) -> ChefNotFound:
    return ChefNotFound(f"The Chef server has no {kind} '{name}' ({url})", status=404)
