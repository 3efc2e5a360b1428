"""Waiting with a deadline, by tenacity, and saying what for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
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

    def sleep(seconds: float) -> None:
        if cancelled is None:
            time.sleep(seconds)
        else:
            cancelled.wait(seconds)

    def attempt() -> T | None:
        if cancelled is not None and cancelled.is_set():
            raise Interrupted
        return probe()

    try:
        found = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda value: value is None),
            stop=tenacity.stop_after_delay(deadline),
            wait=tenacity.wait_exponential(multiplier=every / 20, max=every),
            sleep=sleep,
        )(attempt)
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
    codes: Collection[str] = (),
    when: Callable[[AwsError], bool] | None = None,
    deadline: float,
    every: float = 1.0,
) -> T:
    """Call again while it is refused with one of exactly these AWS error codes.

    For what is eventually consistent: a just-made role that EC2 does not know yet, a security
    group still in use by an interface that is going. ``when`` tells apart what AWS gives the same
    code. The last refusal is raised at the deadline (seconds).
    """

    def again(error: BaseException) -> bool:
        if not isinstance(error, AwsError):
            return False
        return error.code in codes or (when is not None and when(error))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(again),
        stop=tenacity.stop_after_delay(deadline),
        wait=tenacity.wait_exponential(multiplier=every / 10, max=every * 4),
        reraise=True,
    )
    return retrying(call)
