"""Waiting and asking again, always with a deadline."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from hubdeploy.errors import WaitTimeout

log = logging.getLogger(__name__)

T = TypeVar("T")


def _say(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    log.info("again in %.1f s: %s", pause, error)


def patiently(
    action: Callable[[], T],
    *,
    on: tuple[type[BaseException], ...],
    seconds: float,
    most: float = 15.0,
    first: float = 0.5,
) -> T:
    """Do it, and again on the named errors until ``seconds`` have passed; then the last error.

    Pauses grow from ``first`` to ``most`` seconds, with chance in them.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(on),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=first, max=most),
        before_sleep=_say,
        reraise=True,
    )
    return retrying(action)


def wait_for(
    what: str,
    probe: Callable[[], T | None],
    *,
    seconds: float,
    every: float = 2.0,
    seen: Callable[[], str] | None = None,
) -> T:
    """Ask ``probe`` until it gives something other than None or False.

    ``seen`` says, for the error, what was there last.

    Raises:
        WaitTimeout: the deadline has passed.
    """
    end = time.monotonic() + seconds
    started = time.monotonic()

    def ended(_: tenacity.RetryCallState) -> bool:
        return time.monotonic() >= end

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda found: found is None or found is False),
        stop=ended,
        # a little chance, so that many machines do not ask in step
        wait=tenacity.wait_fixed(every * 0.8) + tenacity.wait_random(0, every * 0.4),
        retry_error_callback=lambda _: None,
    )
    found = retrying(probe)
    if found is None or found is False:
        last = f"; last seen: {seen()}" if seen else ""
        raise WaitTimeout(
            f"Waited {time.monotonic() - started:.0f} s for {what}{last}",
            hint="hubdeploy status shows the other machines' phases, hubdeploy logs their logs",
        )
    return found
