"""Imports between the rooms of `fixtures/` are those that the table in docs/architecture.md allows."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUND = {
    "outcome",
    "cache",
    "layers",
    "architectures",
    "comparison",
    "qmp",
    "limits",
    "patterns",
    "regular_file",
    "untrusted_text",
}
"""Modules that every room may import. They import nothing of the project but `outcome`."""
ROW = re.compile(r"^\| `(?P<room>\w+)` \|[^|]*\|(?P<allowed>[^|]*)\|$", re.MULTILINE)
TABLE = {
    row["room"]: {name.strip() for name in row["allowed"].split(",")} - {""}
    for row in ROW.finditer((ROOT / "docs/architecture.md").read_text())
}


def rooms() -> list[str]:
    """Return the names of the rooms: every folder of `fixtures/` with Python in it."""
    return sorted(path.parent.name for path in ROOT.glob("fixtures/*/__init__.py"))


def imported_rooms(source: str) -> set[str]:
    """Return the rooms and ground modules of `fixtures` that a module imports."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("fixtures.")}


def violations(room: str, source: str) -> set[str]:
    """Return the rooms that a module of a room imports against the table."""
    return imported_rooms(source) - GROUND - {room} - TABLE[room]


def test_table_names_every_room() -> None:
    assert sorted(TABLE) == rooms()


@pytest.mark.parametrize("room", rooms())
def test_room_imports_only_what_its_row_names(room: str) -> None:
    found = {
        str(path.relative_to(ROOT)): bad
        for path in (ROOT / "fixtures" / room).rglob("*.py")
        if (bad := violations(room, path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize("module", sorted(GROUND))
def test_ground_modules_import_nothing_of_the_project_but_outcome(module: str) -> None:
    assert imported_rooms((ROOT / f"fixtures/{module}.py").read_text()) <= {"outcome"} - {module}


@pytest.mark.parametrize(
    "source",
    ["from fixtures.boot import flash", "import fixtures.boot.flash", "from fixtures import boot"],
)
def test_forbidden_import_is_found(source: str) -> None:
    assert violations("link", source) == {"boot"}
