"""Run Command first; the machines that it does not reach are tried again by SSH."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hubdeploy.remote.channel import OFFLINE, Channel, Result, Target


@dataclass(kw_only=True)
class AutoChannel:
    """``second`` makes the other channel when it is needed; None where it is closed."""

    first: Channel
    second: Callable[[], Channel] | None
    name: str = field(default="auto", init=False)

    def run(self, targets: Sequence[Target], command: str, *, deadline: float) -> list[Result]:
        """See :class:`~hubdeploy.remote.channel.Channel`.

        Only machines that never got the command are tried again: nothing runs twice.
        """
        results = self.first.run(targets, command, deadline=deadline)
        missed = [r.target for r in results if r.problem == OFFLINE]
        if not missed or self.second is None:
            return results
        other = self.second().run(missed, command, deadline=deadline)
        again = {r.target.instance_id: _both(r) for r in other}
        return [again.get(r.target.instance_id, r) for r in results]


def _both(result: Result) -> Result:
    """What failed by SSH too says that it was offline before."""
    if not result.problem:
        return result
    return replace(result, problem=f"{OFFLINE} in Run Command; by SSH: {result.problem}")
