"""A machine's sshd and a Chef server, as fixtures."""

from __future__ import annotations

from tests.plugins.goiardi import goiardi
from tests.plugins.sshd import sshd

__all__ = ["goiardi", "sshd"]
