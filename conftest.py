"""The plugins of the suite, and which tests a run asks: those of a board, or the self-tests."""

import signal
from pathlib import Path

import pytest

pytest_plugins = [
    "fixtures.gate.outcomes",  # first, so that it is configured last, when nothing is left to refuse
    "fixtures.gate.calibration",
    "fixtures.gate.fixtures_stack",
    "fixtures.gate.fixtures_cryptodev",
    "fixtures.gate.fixtures_board",
    "fixtures.virt.unit",
    "fixtures.gate.options",
]

TESTS = Path(__file__).parent / "tests"
QUESTIONS = ("boot", "stack", "symbols", "cryptodev", "aes", "sha", "streams", "offload", "throughput", "calibrate")
"""The order in which a board is asked: what later questions stand on comes first."""


def pytest_configure(config: pytest.Config) -> None:
    """Have the programs that tests start heed Ctrl-C, also where a script started all this in the background."""
    if not config.getoption("--board"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keep the questions to a board and the self-tests apart; every other folder is for who names it.

    pytest does not ask this about what the command line names.
    """
    if collection_path.parent != TESTS:
        return None
    asked = bool(config.getoption("--board"))
    if collection_path.is_dir():
        return True if asked or collection_path.name != "selftest" else None
    return None if asked else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ask in the order of QUESTIONS. :raises pytest.UsageError: a question was named and no board."""
    for item in items:
        if "gate" in getattr(item, "fixturenames", ()) and not config.getoption("--board"):
            raise pytest.UsageError(f"{item.path.name} asks a board: add --board NAME (virt needs no hardware)")
    order = {f"test_{name}": place for place, name in enumerate(QUESTIONS)}
    items.sort(key=lambda item: order.get(item.path.stem, -1))
