"""The spawn page: what is offered, and that nothing else can be had."""

from __future__ import annotations

from typing import Any

import pytest

from hubdeploy.config.hub import HubSection
from hubdeploy.hub import profiles
from hubdeploy.hub.profiles import ProfileError

GIB = 1 << 30


def offered(**hub: Any) -> list[profiles.Choice]:
    return profiles.choices(HubSection.model_validate(hub).model_dump())


SMALL_AND_BIG = [
    {"name": "small", "title": "Small", "description": "For most work"},
    {
        "name": "big",
        "title": 'Big <b>"GPU"</b>',
        "memory": "16G",
        "cpu": 4,
        "image": "gpu:1",
        "instance_type": "g5.xlarge",
    },
]


def test_without_profiles_there_is_one_choice_and_no_form() -> None:
    only = offered(memory="1G", cpu=1, image="img:1")
    assert [(c.memory, c.cpu, c.image) for c in only] == [(GIB, 1.0, "img:1")]
    assert profiles.form(only) == ""
    assert profiles.choose(only, {}) is only[0]


def test_a_profile_takes_the_hubs_values_for_what_it_does_not_say() -> None:
    small, big = offered(memory="2G", image="img:1", profiles=SMALL_AND_BIG)
    assert (small.memory, small.image, small.instance_type) == (2 * GIB, "img:1", "")
    assert (big.memory, big.cpu, big.image) == (16 * GIB, 4.0, "gpu:1")


def test_the_form_escapes_what_operators_write_and_ticks_the_last_choice() -> None:
    page = profiles.form(offered(profiles=SMALL_AND_BIG), chosen="big")
    assert "<b>" not in page
    assert 'value="big" checked' in page
    assert page.count("checked") == 1
    assert page.count("<label") == 2


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "huge"},
        {"profile": ["small", "big"]},
        {"profile": {"$ne": 1}},
        {"image": "evil:1"},
        {"profile": "small", "mem_limit": 1 << 40},
    ],
)
def test_what_is_not_offered_cannot_be_had(options: dict[str, Any]) -> None:
    with pytest.raises(ProfileError):
        profiles.choose(offered(profiles=SMALL_AND_BIG), options)


def test_the_form_and_the_api_name_a_profile_alike() -> None:
    choices = offered(profiles=SMALL_AND_BIG)
    posted = profiles.from_form({"profile": ["big"], "_xsrf": ["x"]})
    assert profiles.choose(choices, posted).name == "big"
    assert profiles.choose(choices, {"profile": ["big"]}).name == "big"
    assert profiles.choose(choices, {}).name == "small"
