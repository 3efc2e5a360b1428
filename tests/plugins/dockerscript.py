"""How the stand-in swarm's tasks are made to be slow, to stay or to fail."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Script:
    """What becomes of a task: it matches by service-name prefix, image and node.

    ``delays``: seconds spent in a state; ``stop_at``: the state in which it stays; ``reject``: it
    ends as 'rejected' in place of 'ready' with these words; ``fail``: it ends as 'failed' in place
    of 'running'; ``times``: how many tasks (-1: all).
    """

    name: str = ""
    image: str = ""
    node: str = ""
    delays: dict[str, float] = field(default_factory=dict)
    stop_at: str = ""
    reject: str = ""
    fail: str = ""
    exit_code: int | None = None
    stop_delay: float = 0.0
    times: int = -1

    def matches(self, name: str, image: str, node: str) -> bool:
        return (
            self.times != 0
            and name.startswith(self.name)
            and self.image in ("", image)
            and self.node in ("", node)
        )
