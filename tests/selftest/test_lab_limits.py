"""Board files and lab files at a limit are accepted; one above is refused with file, line and the limit."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_lab_hostile import BOARD, LAB, NUMBERS, TEXT_LEAVES, Path_, load_tree, replaced, show
from test_lab_labfile import HOST_KEY

from fixtures import limits
from fixtures.lab.board import load_board
from fixtures.lab.labfile import PowerCommand, load_lab
from fixtures.outcome import UsageError

Load = Callable[[dict[str, Any]], object]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Function that loads a tree."""
    return partial(load_tree, tmp_path)


LIMITS_OF_TEXTS = {
    r"description|linux\.(login|prompt)|bootloader\.(prompt|interrupt\.when)|witnesses\[\d\]\.(name|match)"
    r"|throughput\[\d\]\.(un)?calibrated|openssl\.(settings|environment)\.\w+": limits.MAX_TEXT_LENGTH,
    r"boot\.\w+\[\d\]|flash\.\w+\.(write|read_back|boot)\[\d\]|units\[0\]\.power\.(on|off)": limits.MAX_COMMAND_LENGTH,
    r"made_by|machine|flash\.\w+\.image|openssl\.engine|throughput\[\d\]\.algorithm": limits.MAX_NAME_LENGTH,
    r"units\[\d\]\.(name|board|power\.hostname)": limits.MAX_NAME_LENGTH,
    r"bootloader\.interrupt\.send": limits.MAX_KEYS_LENGTH,
    r"linux\.user|cryptodev\.users\[\d\]|units\[0\]\.network\.user": limits.MAX_USER_LENGTH,
    r"cryptodev\.module": limits.MAX_MODULE_LENGTH,
    r"algorithms\.[\w-]+\.(kernel|driver)|random_generator": limits.MAX_ALGORITHM_LENGTH,
    r"cryptodev\.device|witnesses\[\d\]\.(device|path)|linux\.work_folder": limits.MAX_PATH_LENGTH,
    r"units\[\d\]\.(console|power)\.url": limits.MAX_URL_LENGTH,
    r"units\[0\]\.network\.address": limits.MAX_HOST_LENGTH,
    r"units\[0\]\.network\.host_key": limits.MAX_HOST_KEY_LENGTH,
    r"units\[2\]\.power\.path": limits.MAX_SOCKET_PATH_LENGTH,
}
"""Pattern of the paths of texts -> their longest value."""
OTHER_TEXTS = (
    r"architecture|libc|layers\[\d\]|\S+\.(kind|at)|units\[\d\]\.tftp\.(server|folder)|units\[0\]\.network\.key_file"
)
"""One of a few words, an IP address, or a file that exists."""
TEXTS = [
    (tree, path, limit)
    for tree, path in TEXT_LEAVES
    for pattern, limit in LIMITS_OF_TEXTS.items()
    if re.fullmatch(pattern, show(path))
]


def grow(path: Path_, value: str, length: int) -> str:
    """Return a text of this length that is valid at the path."""
    match path[-1]:
        case "address":
            return ("h." * length)[:length]
        case "host_key":
            return f"{HOST_KEY} ".ljust(length, "c")
        case "url" if not value.startswith("/"):
            return f"{value[:-1]}{value[-1].rjust(length - len(value) + 1, '0')}"  # zeros before the port's number
    return value.ljust(length, "x")


def value_at(tree: Any, path: Path_) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def test_every_text_has_a_limit() -> None:
    assert {show(path) for _, path in TEXT_LEAVES} - {show(path) for _, path, _ in TEXTS} == {
        show(path) for _, path in TEXT_LEAVES if re.fullmatch(OTHER_TEXTS, show(path))
    }


@pytest.mark.parametrize(("tree", "path", "limit"), TEXTS, ids=[show(path) for _, path, _ in TEXTS])
def test_longest_text_is_accepted_and_a_longer_one_refused(load: Load, tree: Any, path: Path_, limit: int) -> None:
    value = value_at(tree, path)
    if path != ("made_by",):  # no package has a name of this length
        load(replaced(tree, path, grow(path, value, limit)))
    with pytest.raises(
        UsageError, match=rf"hostile\.yaml:\d+: {re.escape(show(path))}: found .*expected .*\b{limit}\b"
    ):
        load(replaced(tree, path, grow(path, value, limit + 1)))


RANGES = {
    r"(bootloader|linux)\.timeout|linux\.ssh_timeout": limits.TIMEOUT_RANGE,
    r"witnesses\[\d\]\.per_operation": limits.PER_OPERATION_RANGE,
    r"algorithms\.[\w-]+\.offloaded_from": limits.OFFLOADED_FROM_RANGE,
    r"throughput\[\d\]\.processes": limits.PROCESSES_RANGE,
    r"throughput\[\d\]\.bounds\[\d+\]\.floor": limits.RATE_RANGE,
    r"throughput\[\d\]\.bounds\[\d+\]\.ceiling": limits.CEILING_RANGE,
    r"cost\.leaked_bytes": limits.LEAKED_BYTES_RANGE,
    r"cost\.log_lines": limits.LOG_LINES_RANGE,
    r"cost\.(board_)?cpu_ratio": limits.CPU_RATIO_RANGE,
    r"units\[\d\]\.console\.baud": limits.BAUD_RANGE,
    r"units\[\d\]\.power\.settle": limits.SETTLE_RANGE,
    r"units\[\d\]\.power\.port": limits.OUTLET_RANGE,
    r"units\[\d\]\.(network|tftp)\.port": (1, 65535),
}
"""Pattern of the paths of numbers -> their least and greatest value."""


RANGED = [(tree, path) for tree, path in NUMBERS if path[:2] != ("throughput", 1)]  # which shares the bounds of [0]


@pytest.mark.parametrize(("tree", "path"), RANGED, ids=[show(path) for _, path in RANGED])
def test_ends_of_a_range_are_accepted_and_what_is_beyond_refused(load: Load, tree: Any, path: Path_) -> None:
    ((low, high),) = (bounds for pattern, bounds in RANGES.items() if re.fullmatch(pattern, show(path)))
    other = {"floor": ("ceiling", limits.CEILING_RANGE[1]), "ceiling": ("floor", limits.RATE_RANGE[0])}.get(
        str(path[-1])
    )
    if other:
        tree = replaced(tree, (*path[:-1], other[0]), other[1])  # so that the floor is below the ceiling
    step = 1 if isinstance(low, int) else 1e-4
    for accepted, refused in ((low, low - step), (high, high + max(step, high * 1e-4))):
        load(replaced(tree, path, accepted))
        with pytest.raises(UsageError, match=rf"\.{path[-1]}: found the number .*; expected .* to "):
            load(replaced(tree, path, type(low)(refused)))


def test_ends_of_the_range_of_block_sizes(load: Load) -> None:
    (low, high), bounds = limits.BLOCK_RANGE, {"floor": 1, "ceiling": 2}
    load(replaced(BOARD, ("throughput", 0, "bounds"), {low: bounds, high: bounds}))
    for size in (low - 1, high + 1):
        with pytest.raises(UsageError, match=rf"found the number {size} as a key; expected {low} to {high} bytes"):
            load(replaced(BOARD, ("throughput", 0, "bounds"), {size: bounds}))


KEYS: dict[Path_, str] = {
    ("boot",): "tftp",
    ("flash",): "nor",
    ("openssl", "settings"): "CIPHERS",
    ("openssl", "environment"): "OPENSSL_CONF",
    ("algorithms",): "SHA256",
}


@pytest.mark.parametrize("path", KEYS, ids=show)
def test_longest_key_is_accepted_and_a_longer_one_refused(load: Load, path: Path_) -> None:
    mapping = value_at(BOARD, path)
    key, value = KEYS[path].ljust(limits.MAX_NAME_LENGTH, "x"), mapping[KEYS[path]]
    load(replaced(BOARD, path, {**mapping, key: value}))
    with pytest.raises(
        UsageError, match=rf"hostile\.yaml:\d+: .* as a key; expected .*{limits.MAX_NAME_LENGTH} at most"
    ):
        load(replaced(BOARD, path, {**mapping, f"{key}x": value}))


MEASUREMENT = BOARD["throughput"][0]
COUNTER = {"kind": "counter", "path": "/x", "per_operation": 1}
COLLECTIONS: list[tuple[dict[str, Any], Path_, int, Callable[[int], Any]]] = [
    (BOARD, ("boot",), limits.MAX_METHODS, lambda n: {f"m{i}": ["x"] for i in range(n)}),
    (BOARD, ("boot", "tftp"), limits.MAX_COMMANDS, lambda n: ["x"] * n),
    *[
        (BOARD, ("flash", "nor", key), limits.MAX_COMMANDS, lambda n: ["x"] * n)
        for key in ("write", "read_back", "boot")
    ],
    (BOARD, ("flash",), limits.MAX_METHODS, lambda n: {f"m{i}": BOARD["flash"]["nor"] for i in range(n)}),
    (BOARD, ("openssl", "settings"), limits.MAX_SETTINGS, lambda n: {f"S{i}": "1" for i in range(n)}),
    (BOARD, ("openssl", "environment"), limits.MAX_SETTINGS, lambda n: {f"LD_{i}": "1" for i in range(n)}),
    (BOARD, ("cryptodev", "users"), limits.MAX_USERS, lambda n: [f"u{i}" for i in range(n)]),
    (BOARD, ("algorithms",), limits.MAX_ALGORITHMS, lambda n: {f"A{i}": {"kernel": "x"} for i in range(n)}),
    (BOARD, ("witnesses",), limits.MAX_WITNESSES, lambda n: [{**COUNTER, "name": f"w{i}"} for i in range(n)]),
    (
        BOARD,
        ("throughput",),
        limits.MAX_MEASUREMENTS,
        lambda n: [{**MEASUREMENT, "algorithm": f"a{i}"} for i in range(n)],
    ),
    (
        BOARD,
        ("throughput", 0, "bounds"),
        limits.MAX_MEASUREMENTS,
        lambda n: {i + 1: {"floor": 1, "ceiling": 2} for i in range(n)},
    ),
    (
        LAB,
        ("units",),
        limits.MAX_UNITS,
        lambda n: [{"name": f"u{i}", "board": "b", "console": {"url": f"/dev/tty{i}"}} for i in range(n)],
    ),
]


@pytest.mark.parametrize(
    ("tree", "path", "limit", "make"), COLLECTIONS, ids=[show(path) for _, path, _, _ in COLLECTIONS]
)
def test_largest_collection_is_accepted_and_a_larger_one_refused(
    load: Load,
    tree: Any,
    path: Path_,
    limit: int,
    make: Callable[[int], Any],
) -> None:
    load(replaced(tree, path, make(limit)))
    message = rf"hostile\.yaml:\d+: {re.escape(show(path))}: found a (list|mapping); expected at most {limit} \w+"
    with pytest.raises(UsageError, match=message):
        load(replaced(tree, path, make(limit + 1)))


def test_largest_key_file_is_accepted_and_a_larger_one_refused(load: Load, tmp_path: Path) -> None:
    with (tmp_path / "key").open("wb") as file:
        (tmp_path / "key").chmod(0o600)
        file.truncate(limits.MAX_KEY_FILE_SIZE)
        load(LAB)
        file.truncate(limits.MAX_KEY_FILE_SIZE + 1)
        with pytest.raises(UsageError, match=rf"key_file: .* at most {limits.MAX_KEY_FILE_SIZE} bytes"):
            load(LAB)


def test_number_of_too_many_characters_is_a_text(tmp_path: Path) -> None:
    digits = "3." + "0" * (limits.MAX_NUMBER_LENGTH - 2)
    for number, is_read in ((digits, True), (f"{digits}0", False)):
        text = "units:\n- {name: a, board: b, console: {url: /dev/x}, power: {kind: manual, settle: %s}}\n"
        (tmp_path / "lab.yaml").write_text(text % number)
        if is_read:
            load_lab(tmp_path / "lab.yaml")
        else:
            with pytest.raises(UsageError, match=r'lab\.yaml:2: .*settle: found "3\.0+"; expected a number'):
                load_lab(tmp_path / "lab.yaml")


def test_message_has_a_limited_number_of_problems_of_limited_length(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("".join(f"k{i}: 1\n" for i in range(limits.MAX_PROBLEMS_SHOWN + 9)))
    with pytest.raises(UsageError) as caught:
        load_board(str(tmp_path / "x.yaml"), tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == limits.MAX_PROBLEMS_SHOWN + 1 and re.fullmatch(r"and \d+ more", lines[-1])
    (tmp_path / "x.yaml").write_text("".join(" " * depth + f"{'k' * 900}:\n" for depth in range(9)))
    with pytest.raises(UsageError) as caught:
        load_board(str(tmp_path / "x.yaml"), tmp_path)
    assert max(map(len, str(caught.value).splitlines())) == limits.MAX_PROBLEM_LENGTH + 1  # and the character …


def test_program_of_a_power_command_is_shown_up_to_a_length() -> None:
    assert len(PowerCommand("x" * (limits.MAX_PATH_LENGTH + 1)).program) == limits.MAX_PATH_LENGTH
