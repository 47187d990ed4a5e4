"""The plugins of the suite, and which tests a run asks: those of a board, or the self-tests."""

from pathlib import Path

import pytest

pytest_plugins = [
    "fixtures.gate.options",
    "fixtures.virt.unit",
    "fixtures.gate.units",
    "fixtures.gate.asking",
    "fixtures.gate.outcomes",
]

TESTS = Path(__file__).parent / "tests"
QUESTIONS = ("boot", "stack", "symbols", "aes", "sha", "offload", "speed")
"""The order in which a board is asked: what later questions stand on comes first."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keep the questions to a board and the self-tests apart."""
    if config.getoption("--board"):
        return True if collection_path.parent == TESTS and collection_path.is_dir() else None
    if collection_path.parent == TESTS and collection_path.suffix == ".py":
        if any(Path(argument.split("::")[0]).resolve() == collection_path for argument in config.args):
            raise pytest.UsageError(
                f"{collection_path.name} asks a board: name it with --board NAME (virt needs no hardware)"
            )
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask in the order of QUESTIONS."""
    order = {f"test_{name}": place for place, name in enumerate(QUESTIONS)}
    items.sort(key=lambda item: order.get(item.path.stem, -1))
