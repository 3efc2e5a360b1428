"""``[hub]``: JupyterHub itself: image, who may log in, what a user gets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from hubdeploy.config.fields import Change, Section, Size, Span, setting, wrong
from hubdeploy.config.kinds import Endpoint, Image, InstanceType, Path, Slug, Url, User, Variable

SMALLEST_SERVER = 64 << 20
"""Below, not even a notebook server's own process fits."""


class Authenticator(Section):
    """``[hub.authenticator]``: who may log in and how they prove it.

    Secrets never stand here: ``hubdeploy secret set hub/NAME`` stores them.
    """

    kind: Literal[
        "native", "github", "google", "oidc", "cilogon", "lti13", "shared-password", "dummy"
    ] = setting(
        "native",
        describe="'native' (own accounts, sign-up approved by an admin), 'github', 'google', "
        "'oidc', 'cilogon', 'lti13', 'shared-password'; 'dummy' lets anybody in and is for the "
        "sandbox only. Secrets: oauth-client-secret (github, google, oidc, cilogon), "
        "shared-password (shared-password).",
        change=Change.CONVERGE,
    )
    allowed_users: list[User] = setting(
        default_factory=list, describe="Users who may log in.", change=Change.CONVERGE
    )
    allow_all: bool = setting(
        False,
        describe="Everybody whom the authenticator knows may log in.",
        change=Change.CONVERGE,
    )
    allowed_organizations: list[str] = setting(
        default_factory=list,
        describe="github: organisations; google: hosted domains; cilogon: identity providers; "
        "whose members may log in.",
        change=Change.CONVERGE,
    )
    open_signup: bool = setting(
        False,
        describe="native: accounts work without an admin's approval.",
        change=Change.CONVERGE,
    )
    client_id: str | None = setting(
        None, describe="OAuth or LTI client id.", change=Change.CONVERGE
    )
    issuer: Url | None = setting(
        None, describe="oidc, lti13: the provider's issuer URL.", change=Change.CONVERGE
    )
    authorize_url: Endpoint | None = setting(
        None, describe="oidc, lti13: authorisation endpoint.", change=Change.CONVERGE
    )
    token_url: Endpoint | None = setting(
        None, describe="oidc: token endpoint.", change=Change.CONVERGE
    )
    userdata_url: Endpoint | None = setting(
        None, describe="oidc: user info endpoint.", change=Change.CONVERGE
    )
    jwks_url: Endpoint | None = setting(
        None, describe="lti13: the platform's key set.", change=Change.CONVERGE
    )
    username_claim: str = setting(
        "preferred_username",
        describe="oidc, lti13: claim that names the user.",
        change=Change.CONVERGE,
    )
    scopes: list[str] = setting(
        default_factory=lambda: ["openid", "profile"],
        describe="oidc: scopes asked for.",
        change=Change.CONVERGE,
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "github": ("client_id",),
            "google": ("client_id",),
            "cilogon": ("client_id", "allowed_organizations"),
            "oidc": ("client_id", "authorize_url", "token_url", "userdata_url"),
            "lti13": ("client_id", "issuer", "authorize_url", "jwks_url"),
        }.get(self.kind, ())
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise wrong("kind", f'"{self.kind}" needs {", ".join(missing)}')
        return self


class Profile(Section):
    """``[[hub.profiles]]``: one choice on the spawn page."""

    name: Slug = setting(describe="Short name.", change=Change.CONVERGE)
    title: str = setting(describe="What users read.", change=Change.CONVERGE)
    description: str = setting("", describe="A line more.", change=Change.CONVERGE)
    image: Image | None = setting(None, describe="Image, if not the hub's.", change=Change.CONVERGE)
    memory: Size | None = setting(
        None, describe="Memory, if not the hub's.", change=Change.CONVERGE, ge=SMALLEST_SERVER
    )
    cpu: float | None = setting(
        None, describe="CPUs, if not the hub's.", change=Change.CONVERGE, gt=0, le=128
    )
    instance_type: InstanceType | None = setting(
        None,
        describe="Only on workers of this type. One that workers.instance_types does not name is "
        "added by itself and kept for the profiles that name it.",
        change=Change.CONVERGE,
    )


class SharedFolder(Section):
    """``[[hub.shared_folders]]``: a folder of the file system that everybody sees."""

    name: Slug = setting(describe="Folder below /efs/shared.", change=Change.CONVERGE)
    mount: Path = setting(
        describe="Where users see it, e.g. /home/jovyan/shared.", change=Change.CONVERGE
    )
    writable: bool = setting(False, describe="Users may write there.", change=Change.CONVERGE)


class HubSection(Section):
    """``[hub]``."""

    image: Image = setting(
        "quay.io/jupyter/scipy-notebook:2025-03-14",
        describe="Notebook image (public, or in the deployment's ECR repository).",
        change=Change.WORKERS,
    )
    admins: list[User] = setting(
        default_factory=list,
        describe="Admins of the hub; they may log in.",
        change=Change.CONVERGE,
    )
    memory: Size = setting(
        2 << 30,
        describe="Memory of a user's server (reserved and limited).",
        change=Change.CONVERGE,
        ge=SMALLEST_SERVER,
    )
    cpu: float = setting(
        0.5, describe="CPUs reserved for a user's server.", change=Change.CONVERGE, gt=0, le=128
    )
    cpu_limit: float | None = setting(
        None,
        describe="Most CPUs a server may use; none: all of the machine's.",
        change=Change.CONVERGE,
        gt=0,
        le=128,
    )
    idle_after: Span = setting(
        3600, describe="Servers idle this long are stopped; 0 for never.", change=Change.CONVERGE
    )
    max_age: Span = setting(
        0, describe="Servers older than this are stopped; 0 for never.", change=Change.CONVERGE
    )
    named_servers: int = setting(
        0, describe="Further named servers a user may have.", change=Change.CONVERGE, ge=0, le=20
    )
    start_timeout: Span = setting(
        900,
        describe="A server's start may take this long (a machine's boot included).",
        change=Change.CONVERGE,
    )
    announcement: str = setting(
        "", describe="Text shown on every page of the hub.", change=Change.CONVERGE
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        describe="Least weight of what the hub and the fleet service write to the journal.",
        change=Change.CONVERGE,
    )
    title: str = setting("JupyterHub", describe="Title of the pages.", change=Change.CONVERGE)
    logo: Url | None = setting(
        None, describe="URL of a logo for the login page.", change=Change.CONVERGE
    )
    environment: dict[Variable, str] = setting(
        default_factory=dict, describe="Environment of every server.", change=Change.CONVERGE
    )
    user_environment: dict[User, dict[Variable, str]] = setting(
        default_factory=dict, describe="Environment by user.", change=Change.CONVERGE
    )
    authenticator: Authenticator = Field(default_factory=Authenticator)
    profiles: list[Profile] = Field(default_factory=list)
    shared_folders: list[SharedFolder] = Field(default_factory=list)

    @model_validator(mode="after")
    def _profiles_differ(self) -> Self:
        names = [profile.name for profile in self.profiles]
        if len(set(names)) != len(names):
            double = next(n for n, name in enumerate(names) if name in names[:n])
            raise wrong(
                ("profiles", double, "name"), f'a second profile is called "{names[double]}"'
            )
        return self
