"""Waiting with a deadline, by tenacity, and saying what for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

import tenacity

from hubdeploy.errors import AwsError, Interrupted, WaitTimeout

T = TypeVar("T")


def wait_until(
    probe: Callable[[], T | None],
    *,
    what: str,
    deadline: float,
    every: float = 2.0,
    say: Callable[[str], object] = str,
    last_seen: Callable[[], str] = lambda: "",
    cancelled: threading.Event | None = None,
    hint: str = "",
) -> T:
    """Call ``probe`` until it returns something that is not None, and return that.

    ``deadline`` and ``every`` are seconds; the pause grows from a twentieth of ``every`` to it, so
    that quick things are seen quickly. At the deadline :class:`WaitTimeout` says ``what`` was
    waited for and ``last_seen()``. What ``probe`` raises ends the wait; ``cancelled`` ends it with
    :class:`Interrupted`.
    """
    say(f"waiting for {what}")
    started = time.monotonic()

    try:
        found = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda value: value is None),
            stop=tenacity.stop_after_delay(deadline),
            wait=tenacity.wait_exponential(multiplier=every / 20, max=every),
            sleep=partial(_pause, cancelled=cancelled),
        )(probe)
    except tenacity.RetryError:
        seen = last_seen()
        raise WaitTimeout(
            f"{what}: not there after {time.monotonic() - started:.0f} s"
            + (f"; last seen: {seen}" if seen else ""),
            hint=hint or "run the same command again to go on waiting",
        ) from None
    assert found is not None
    return found


def retry_codes(
    call: Callable[[], T],
    *,
    what: str,
    codes: Collection[str] = (),
    when: Callable[[AwsError], bool] | None = None,
    deadline: float,
    every: float = 1.0,
    say: Callable[[str], object] = str,
    cancelled: threading.Event | None = None,
) -> T:
    """Call again while it is refused with one of exactly these AWS error codes.

    For what is eventually consistent: a just-made role that EC2 does not know yet, a security
    group still in use by an interface that is going. ``when`` tells apart what AWS gives the same
    code. ``say`` hears ``what`` is waited for, and the code, once there is something to wait for.
    The last refusal is raised at the deadline (seconds); ``cancelled`` ends the wait between two
    calls with :class:`Interrupted`.
    """

    def again(error: BaseException) -> bool:
        if not isinstance(error, AwsError):
            return False
        return error.code in codes or (when is not None and when(error))

    def told(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        say(f"waiting for {what} ({getattr(error, 'code', '')})")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(again),
        stop=tenacity.stop_after_delay(deadline),
        wait=tenacity.wait_exponential(multiplier=every / 10, max=every * 4),
        before_sleep=told,
        sleep=partial(_pause, cancelled=cancelled),
        reraise=True,
    )
    return retrying(call)


def _pause(seconds: float, *, cancelled: threading.Event | None) -> None:
    """Sleep between two attempts; somebody's Ctrl-C ends the wait, not a call in flight."""
    if cancelled is None:
        time.sleep(seconds)
    elif cancelled.wait(seconds):
        raise Interrupted
