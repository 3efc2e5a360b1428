"""Waits and retries."""

from __future__ import annotations

import threading

import pytest

from hubdeploy.aws.waiting import retry_codes, wait_until
from hubdeploy.errors import AwsError, Interrupted, WaitTimeout

IN_USE = {"DependencyViolation"}


def test_a_wait_gives_what_the_probe_found_and_says_what_for() -> None:
    answers, said = iter([None, None, "here"]), list[str]()
    found = wait_until(
        lambda: next(answers), what="the hub", deadline=5, every=0.01, say=said.append
    )
    assert found == "here"
    assert said == ["waiting for the hub"]


def test_at_its_deadline_a_wait_says_what_it_saw_last() -> None:
    with pytest.raises(WaitTimeout, match=r"the hub: not there after .*last seen: converging"):
        wait_until(
            lambda: None, what="the hub", deadline=0.05, every=0.01, last_seen=lambda: "converging"
        )


def test_what_the_probe_raises_ends_the_wait() -> None:
    def probe() -> None:
        raise AwsError("denied", code="AccessDenied")

    with pytest.raises(AwsError, match="denied"):
        wait_until(probe, what="it", deadline=5)


def test_a_cancelled_wait_ends_at_once() -> None:
    cancelled = threading.Event()
    threading.Timer(0.05, cancelled.set).start()
    with pytest.raises(Interrupted):
        wait_until(lambda: None, what="it", deadline=30, every=20, cancelled=cancelled)


def refusing(*codes: str) -> list[str]:
    return list(codes)


def test_only_the_codes_named_are_tried_again() -> None:
    refusals = refusing("DependencyViolation", "DependencyViolation")

    def call() -> str:
        if refusals:
            raise AwsError("in use", code=refusals.pop())
        return "done"

    assert retry_codes(call, what="it", codes=IN_USE, deadline=5, every=0.01) == "done"
    refusals = refusing("AccessDenied")
    with pytest.raises(AwsError) as failed:
        retry_codes(call, what="it", codes=IN_USE, deadline=5, every=0.01)
    assert failed.value.code == "AccessDenied"
    assert refusals == []


def test_the_last_refusal_is_raised_at_the_deadline() -> None:
    def call() -> None:
        raise AwsError("in use", code="DependencyViolation")

    with pytest.raises(AwsError, match="in use"):
        retry_codes(call, what="it", codes=IN_USE, deadline=0.05, every=0.01)


def test_a_text_may_tell_apart_what_has_one_code() -> None:
    texts = ["Invalid IAM Instance Profile name", "Invalid subnet"]

    def call() -> None:
        raise AwsError(texts.pop(0), code="InvalidParameterValue")

    with pytest.raises(AwsError, match="Invalid subnet"):
        retry_codes(
            call, what="it", when=lambda error: "Profile" in error.message, deadline=5, every=0.01
        )
