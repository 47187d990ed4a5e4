"""A plugin, `pytest -p forgetful_record`: the run record loses every failed test, as by a log rotation."""

from typing import Any

import pytest

from fixtures.record.record import RunRecord

_write = RunRecord.write


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Drop the lines of failed tests before they reach the file."""

    def write(self: RunRecord, kind: str, **fields: Any) -> None:
        if not (kind == "test" and fields["outcome"] == "failed"):
            _write(self, kind, **fields)

    RunRecord.write = write  # type: ignore[method-assign]
