"""The Chef tests' own server, as fixtures."""

from __future__ import annotations

from tests.plugins.goiardi import goiardi

__all__ = ["goiardi"]
