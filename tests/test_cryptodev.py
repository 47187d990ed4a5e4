"""Does /dev/crypto keep its interface? The table is in fixtures/probe/interface_table.py."""

from collections.abc import Callable


def test_the_interface(row: str, caller: str, cryptodev_row: Callable[[str, str], None]) -> None:
    cryptodev_row(row, caller)
