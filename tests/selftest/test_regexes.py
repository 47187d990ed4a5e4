"""Every regular expression of the suite searches any text in linear time, also one written to be slow to search.

RE2 does by design. A pattern of Python's `re` must be a constant, and is tried on texts derived from it.
"""

import ast
import importlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]  # Python's parser of patterns has no public name
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import pytest

from fixtures.lab.board import Interrupts
from fixtures.patterns import PatternError, compile_pattern

ROOT = Path(__file__).parents[2]
FUNCTIONS = {"compile", "search", "match", "fullmatch", "findall", "finditer", "sub", "subn", "split"}
LENGTHS = (24, 500, 4_000, 16_000, 64_000)
"""Characters in an attack. Exponential time shows at the first, quadratic time at the last: 2 billion steps."""
TIME_LIMIT = 0.1
"""Maximum processor time to search an attack, in seconds; linear time is below 0.012, quadratic time above 0.4."""


class Pattern(NamedTuple):
    """A pattern of Python's `re` in the source."""

    place: str
    text: str
    flags: int
    methods: frozenset[str]
    """How it is used: `search`, `match`, ..."""


def patterns_of(source: str, place: str, names: dict[str, Any]) -> Iterator[Pattern]:
    """Yield the patterns that a module passes to Python's `re`. Raises NameError for one that is no constant.

    :param names: the module's globals.
    """
    tree = ast.parse(source)
    assigned = {id(node.value): ast.unparse(node.targets[0]) for node in ast.walk(tree) if isinstance(node, ast.Assign)}
    used: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            used.setdefault(ast.unparse(node.value), set()).add(node.attr)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if ast.unparse(node.func.value) != "re" or node.func.attr not in FUNCTIONS:
            continue
        methods = {node.func.attr} if node.func.attr != "compile" else used.get(assigned.get(id(node), ""), set())
        words = (ast.unparse(part) for part in (*node.args[1:], *(each.value for each in node.keywords)))
        number = sum(eval(word, names) for word in words if word.startswith("re."))
        branches = [node.args[0].body, node.args[0].orelse] if isinstance(node.args[0], ast.IfExp) else [node.args[0]]
        for branch in branches:
            yield Pattern(f"{place}:{node.lineno}", constant(branch, names), int(number), frozenset(methods))


def constant(expression: ast.expr, names: dict[str, Any]) -> str:
    """Return the text of a pattern; `x` stands for what the suite escapes with `re.escape`."""
    text = re.sub(r"re\.escape\([^()]*\)", "escaped", ast.unparse(expression))
    value = eval(text, {**names, "escaped": "x"})
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def samples(nodes: Any) -> list[str]:
    """Return short texts that the nodes of a parsed pattern match, one after another."""
    parts = [_samples_of(operator, argument) for operator, argument in nodes]
    longest = max(map(len, parts), default=1)
    return ["".join(part[index % len(part)] for part in parts) for index in range(longest)]


def _samples_of(operator: Any, argument: Any) -> list[str]:
    if operator is codes.LITERAL:
        return [chr(argument)]
    if operator in (codes.NOT_LITERAL, codes.ANY):
        return ["a", " ", "0"]
    if operator is codes.IN:
        single = [chr(value) for kind, value in argument if kind is codes.LITERAL]
        ranges = [chr(value[0]) for kind, value in argument if kind is codes.RANGE]
        if argument[0][0] is codes.NEGATE:
            return [char for char in "a0 :[\n" if char not in single]
        return [*single, *ranges, *(" a0" if any(kind is codes.CATEGORY for kind, _ in argument) else "")]
    if operator is codes.SUBPATTERN:
        return samples(argument[-1])
    if operator in (codes.MAX_REPEAT, codes.MIN_REPEAT):
        return [text * max(1, argument[0]) for text in samples(argument[2])]
    if operator is codes.BRANCH:
        return [text for branch in argument[1] for text in samples(branch)]
    return [""]


def attacks(pattern: str, flags: int) -> Iterator[tuple[str, str, str]]:
    """Yield texts as head, repeated unit, tail: what begins a match, and what a part of the pattern can go on with."""
    nodes = list(parser.parse(pattern, flags))
    while len(nodes) == 1 and nodes[0][0] in (codes.SUBPATTERN, codes.BRANCH):
        inner = [nodes[0][1][-1]] if nodes[0][0] is codes.SUBPATTERN else nodes[0][1][1]
        nodes = [node for branch in inner for node in [*branch, (codes.LITERAL, 10)]][:-1]
    ends = [end for end in range(len(nodes) + 1) if end == len(nodes) or nodes[end][0] is not codes.LITERAL]
    heads = {text for end in ends for text in samples(nodes[:end])[:2]} | {""}
    units = {text for node in nodes if node[0] is not codes.LITERAL for text in _samples_of(*node)} | heads | {"a", " "}
    if re.compile(pattern, flags).flags & re.MULTILINE:  # each line begins a match
        units |= {f"\n{head}" for head in heads}
    return itertools.product(sorted(heads), sorted(units - {""}), ("", "\0\n"))


def search_time(run: Callable[[str], object], text: str) -> float:
    """Return the processor time of a search in seconds; of the fastest of three if the first is slow."""
    times: list[float] = []
    while not times or (len(times) < 3 and min(times) > TIME_LIMIT):
        started = time.thread_time()
        run(text)
        times.append(time.thread_time() - started)
    return min(times)


def slow_attack(pattern: Pattern) -> str | None:
    """Return the first attack that takes more than TIME_LIMIT, in words; None if none does."""
    compiled = re.compile(pattern.text, pattern.flags)
    is_anchored = pattern.methods and pattern.methods <= {"match", "fullmatch"}
    searches = [getattr(compiled, name) for name in pattern.methods] if is_anchored else [partial(find_all, compiled)]
    for (head, unit, tail), length, run in itertools.product(attacks(pattern.text, pattern.flags), LENGTHS, searches):
        if search_time(run, head + unit * max(length // len(unit), 24) + tail) > TIME_LIMIT:
            return f"{head!r} + {unit!r} * {length} + {tail!r}"
    return None


def find_all(pattern: re.Pattern[str], text: str) -> None:
    """Find all matches."""
    for _ in pattern.finditer(text):
        pass


def python_patterns() -> list[Pattern]:
    """Return the patterns of Python's `re` in the whole suite."""
    found: list[Pattern] = []
    for path in sorted((ROOT / "fixtures").rglob("*.py")):
        if path.name != "__main__.py":
            place = str(path.relative_to(ROOT))
            module = importlib.import_module(place.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
            found += patterns_of(path.read_text(), place, dict(vars(module)))
    return found


@pytest.mark.parametrize("pattern", python_patterns(), ids=lambda pattern: pattern.place)
def test_pattern_is_searched_in_linear_time(pattern: Pattern) -> None:
    assert slow_attack(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "is_slow"),
    [
        (r"(\S+ ?)+!", True),
        (r"(a|a)*b", True),
        (r"\w+\+", True),
        (r"INFO: task .* blocked for more than", True),
        (r"^\d+\d+$", True),
        (r"\s*=\s*", True),
        (r"<hil:0:(hello|lacks):(\w*):?(\w*)=", True),
        (r"(\x1b|\x1b?\[[^\n]*)\Z", True),
        (r"(?m)^ \[([^\]]*)\]$", True),
        (r"(?m)^ \[([^\]\n]*)\]$", False),
        (r"\b\w+\+", False),
        (r"Got: \+F:\d+:[^:\n]+:(\S+)", False),
    ],
)
def test_slow_pattern_is_found(pattern: str, is_slow: bool) -> None:
    found = slow_attack(Pattern("here", pattern, 0, frozenset({"search"})))
    assert (found is not None) == is_slow


def test_patterns_of_a_module_are_found() -> None:
    source = "WORD = re.compile('a')\nWORD.fullmatch(x)\nre.search('b' if x else 'c', y, flags=re.MULTILINE)"
    found = list(patterns_of(source, "here", {"re": re}))
    assert [(each.text, each.flags, set(each.methods)) for each in found] == [
        ("a", 0, {"fullmatch"}),
        ("b", re.MULTILINE, {"search"}),
        ("c", re.MULTILINE, {"search"}),
    ]


def test_pattern_that_is_no_constant_is_refused() -> None:
    with pytest.raises(NameError):
        list(patterns_of("def find(wanted): return re.search(wanted, '')", "here", {"re": re}))


def test_pattern_of_a_board_file_is_searched_in_linear_time() -> None:
    witness = Interrupts(name="jobs", match=r"(\S+ ?)+!", per_operation=1.0)
    started = time.monotonic()
    assert witness.pattern().search("x " * 50_000) is None
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)", "(?<!a)b", "(", "a{2000}"])
def test_pattern_that_cannot_be_linear_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)
