"""The choices on the spawn page: sizes, images and machines that the operator offers.

What comes back from a browser or from the API is not trusted: it names a profile or it is
refused. Everything else about a server comes from the configuration.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubdeploy.config.limits import parse_size, show_size
from hubdeploy.errors import HubdeployError

FIELD = "profile"


class ProfileError(HubdeployError):
    """The user asked for something that is not offered."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A profile with the hub's defaults filled in. Memory in bytes, CPU in cores."""

    name: str
    title: str
    description: str
    image: str
    memory: int
    cpu: float
    instance_type: str = ""


def choices(hub: Mapping[str, Any]) -> list[Choice]:
    """The profiles of the ``[hub]`` settings; the hub's own values alone when there are none."""
    memory, cpu, image = parse_size(hub["memory"], what="memory"), float(hub["cpu"]), hub["image"]
    found = [
        Choice(
            name=profile["name"],
            title=profile["title"],
            description=profile.get("description") or "",
            image=profile.get("image") or image,
            memory=parse_size(profile["memory"], what="memory")
            if profile.get("memory")
            else memory,
            cpu=float(profile.get("cpu") or cpu),
            instance_type=profile.get("instance_type") or "",
        )
        for profile in hub.get("profiles") or ()
    ]
    if found:
        return found
    return [Choice(name="", title="", description="", image=image, memory=memory, cpu=cpu)]


def choose(offered: Sequence[Choice], options: Mapping[str, Any]) -> Choice:
    """The choice that *options* (from the form or the API) name; the first where they name none.

    Raises ProfileError for an unknown profile and for any other option.
    """
    unknown = sorted(set(options) - {FIELD})
    if unknown:
        raise ProfileError(
            f"no such option: {', '.join(str(name) for name in unknown)}",
            hint=f"the only option is {FIELD!r}",
        )
    wanted = options.get(FIELD, "")
    if isinstance(wanted, (list, tuple)) and len(wanted) == 1:
        wanted = wanted[0]
    if wanted == "":
        return offered[0]
    for choice in offered:
        if choice.name == wanted:
            return choice
    raise ProfileError(
        f"no such profile: {wanted!r}",
        hint="choose one of " + ", ".join(c.name for c in offered if c.name),
    )


def from_form(form: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The options that a posted form means; fields that are not ours are left out."""
    values = form.get(FIELD) or ()
    return {FIELD: str(values[0])} if values else {}


def form(offered: Sequence[Choice], *, chosen: str = "") -> str:
    """HTML of the choices, or nothing when there is nothing to choose."""
    if len(offered) < 2:
        return ""
    names = [choice.name for choice in offered]
    selected = chosen if chosen in names else names[0]
    rows = "\n".join(_row(choice, selected == choice.name) for choice in offered)
    return f'<fieldset class="hd-profiles"><legend>Choose your server</legend>\n{rows}\n</fieldset>'


def _row(choice: Choice, checked: bool) -> str:
    name, mark = html.escape(choice.name, quote=True), " checked" if checked else ""
    size = f"{show_size(choice.memory)} of memory, {choice.cpu:g} CPU"
    if choice.instance_type:
        size += f", on {choice.instance_type}"
    about = (
        f'<span class="hd-about">{html.escape(choice.description)}</span>'
        if choice.description
        else ""
    )
    return (
        f'<label class="hd-profile" for="profile-{name}">'
        f'<input type="radio" id="profile-{name}" name="{FIELD}" value="{name}"{mark} required>'
        f'<span class="hd-title">{html.escape(choice.title)}</span>'
        f'<span class="hd-size">{html.escape(size)}</span>{about}</label>'
    )
