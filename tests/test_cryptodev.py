"""Does /dev/crypto behave as cryptodev-linux? The expected results are in fixtures/probe/interface_table.py."""

import pytest

from fixtures.gate.fixtures_cryptodev import RunRow

pytestmark = pytest.mark.board


def test_interface_behaves_as_cryptodev_linux(row: str, caller: str, run_row: RunRow) -> None:
    result = run_row(row, caller)
    assert result.mismatches == []
