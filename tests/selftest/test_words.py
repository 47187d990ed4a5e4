"""Names, docstrings and comments use the field's words; a few words that misled readers are refused."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IN_NAMES = {
    "aside", "ask", "asked", "asking", "alarm", "alarms", "blame", "calm", "came", "climb", "judge", "ladder", "mains",
    "mend", "mends", "paced", "plant", "planted", "rung", "rungs", "said", "say", "says", "tell", "told", "trip",
    "trips", "whoever",
}  # fmt: skip
"""Words that no name of a module, class, function, argument or variable contains."""
IN_TEXT = re.compile(
    r"\b(bad on purpose|to blame|blamed|set aside|whoever|so long|so often|mains|rungs?|ladder|planted|mended|alarms?"
    r"|calm|is told|are told|was told|told)\b",
    re.IGNORECASE,
)
"""Words that no docstring or comment contains."""
UNITS = re.compile(r"\bseconds?\b", re.IGNORECASE)
TIMES = re.compile(r"(^|_)(TIMEOUT|INTERVAL|SECONDS|DELAY)$")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def sources() -> list[Path]:
    """Return the Python files of the project, except this one."""
    files = [ROOT / "conftest.py", *(ROOT / "fixtures").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    return sorted(path for path in files if path != Path(__file__))


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each name that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


def words_of(name: str) -> set[str]:
    """Return the words of a name, in lower case. A round trip is one word."""
    return set(map(str.lower, WORD.findall(name.replace("round_trip", ""))))


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each comment and docstring, attribute docstrings included."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def refused(source: str) -> list[tuple[int, str]]:
    """Return line and word of everything that the word lists refuse in a module."""
    found = [(line, name) for line, name in names(ast.parse(source)) if IN_NAMES & words_of(name)]
    return sorted(found + [(line, match[0]) for line, text in texts(source) for match in IN_TEXT.finditer(text)])


def times_without_unit(source: str) -> list[str]:
    """Return the constants named as a time whose docstring does not name the unit."""
    body = ast.parse(source).body
    found = []
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and TIMES.search(node.targets[0].id):
            text = ast.unparse(following) if isinstance(following, ast.Expr) else ""
            if not UNITS.search(text):
                found.append(node.targets[0].id)
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_those_of_the_field(path: Path) -> None:
    assert refused(path.read_text()) == []
    assert not IN_NAMES & set(path.stem.split("_"))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "fixtures").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_constants_that_are_times_state_their_unit(path: Path) -> None:
    assert times_without_unit(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def ask(shell): pass", [(1, "ask")]),
        ("class MainsSwitch: pass", [(1, "MainsSwitch")]),
        ('"""Off and on: who is to blame is told."""', [(1, "to blame"), (1, "is told")]),
        ("x = 1  # the alarm of the board", [(1, "alarm")]),
        ("task = 'the board said: mains'", []),
    ],
)
def test_refused_words_are_found(source: str, found: list[tuple[int, str]]) -> None:
    assert sorted(refused(source)) == sorted(found)


def test_time_without_unit_is_found() -> None:
    assert times_without_unit('BOOT_TIMEOUT = 3.0\n"""How long it may take."""\n') == ["BOOT_TIMEOUT"]
    assert times_without_unit('BOOT_TIMEOUT = 3.0\n"""Maximum time to the prompt, in seconds."""\n') == []
