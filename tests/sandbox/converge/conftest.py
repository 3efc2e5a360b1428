"""Fixtures of the converge tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.converge.kitchen import Kitchen


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Kitchen(tmp_path)
