"""What all self-tests share."""

import pytest

from fixtures.link import console


@pytest.fixture(autouse=True)
def _short_absences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a console that dropped up sooner than in a lab."""
    monkeypatch.setattr(console, "RECONNECT_SECONDS", 1.0)
