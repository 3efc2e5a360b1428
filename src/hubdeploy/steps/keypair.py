"""The SSH key that the machines admit. Whether anybody reaches their SSH port is another matter:
that is closed until ``[access] operator_cidrs`` says for whom it is open."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from hubdeploy.errors import AwsError, ConfigError
from hubdeploy.pipeline.change import Changes, FieldChange
from hubdeploy.remote import keys
from hubdeploy.steps.base import Part

RESOURCE = "key"


def named(setting: str) -> str:
    """The public key line that ``[access] ssh_key`` means: the line itself, or a key's path.

    Raises:
        ConfigError: it is neither.
    """
    if setting.startswith(("ssh-", "ecdsa-", "sk-")):
        return setting.strip()
    path = Path(setting).expanduser()
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        return public.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"access.ssh_key: cannot read {public}: {error.strerror}",
            hint='give the public key\'s path or its text ("ssh-ed25519 AAAA…"), or leave it out',
        ) from None


def same(one: str, other: str) -> bool:
    """Whether two lines hold one key, whatever their comments."""
    return one.split()[:2] == other.split()[:2]


class KeyPair(Part[dict[str, Any]]):
    """EC2's key pair: the operator's own key, else one that is made and kept on this machine."""

    name = "access.key"
    title = "SSH key"
    needs = ("deployment",)

    def observe(self) -> dict[str, Any]:
        found = self.ctx.inventory.once(
            "key pairs",
            lambda: self.call(
                "ec2",
                "describe_key_pairs",
                IncludePublicKey=True,
                Filters=[{"Name": "key-name", "Values": [self.names.prefix]}],
            )["KeyPairs"],
        )
        return next((dict(i) for i in found if i["KeyName"] == self.names.prefix), {})

    def changes(self, observed: dict[str, Any]) -> Changes:
        setting = self.config.access.ssh_key
        self.outputs["key_pair"] = self.names.prefix
        if not observed:
            yield self.create(RESOURCE, "SSH key of the machines", self._import)
            return
        yield from self.retag_ec2(observed, observed["KeyPairId"], self.tags(RESOURCE))
        public = str(observed.get("PublicKey", ""))
        # a key that another operator's machine made is as good as ours
        if setting and public and not same(public, named(setting)):
            yield self.update(
                RESOURCE,
                "SSH key for new machines",
                self._exchange,
                (FieldChange(name="key", old=_short(public), new=_short(named(setting))),),
            )

    def _line(self) -> str:
        setting = self.config.access.ssh_key
        if setting:
            return named(setting)
        folder = self.ctx.key_folder or keys.state_dir()
        return keys.public_key(keys.key_file(folder, self.names.deployment))

    def _import(self) -> None:
        try:
            self.call(
                "ec2",
                "import_key_pair",
                KeyName=self.names.prefix,
                PublicKeyMaterial=self._line().encode(),
                TagSpecifications=[self.tag_spec("key-pair", self.tags(RESOURCE))],
            )
        except AwsError as error:
            # made by a run that was killed, and listed only since
            if error.code != "InvalidKeyPair.Duplicate":
                raise

    def _exchange(self) -> None:
        self.remove("ec2", "delete_key_pair", KeyName=self.names.prefix)
        self._import()

    def destroy(self, observed: dict[str, Any]) -> Changes:
        if observed:
            yield self.delete(
                RESOURCE,
                f"SSH key {observed['KeyName']}",
                partial(self.remove, "ec2", "delete_key_pair", KeyName=self.names.prefix),
            )


def _short(line: str) -> str:
    kind, _, rest = line.partition(" ")
    return f"{kind} …{rest.split()[0][-12:]}" if rest else kind
