"""Board files and lab files that are made to harm: refused at once, with file and line, and never run by a shell."""

import copy
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from local_shell import LocalShell
from pydantic import BaseModel
from ruamel.yaml import YAML
from test_lab_board import GOOD
from test_lab_labfile import HOST_KEY

from fixtures import limits
from fixtures.lab.board import Board, BoardFile, load_board
from fixtures.lab.host_path import parse_path
from fixtures.lab.labfile import Lab, load_lab
from fixtures.link.clean_shell import CleanShell
from fixtures.outcome import UsageError
from fixtures.stack.engine import query_engine

Key = str | int
Path_ = tuple[Key, ...]
ROOT = Path(__file__).parents[2]
HOSTILE = "x;touch${IFS}pwned;y"
INVISIBLE = ["\n", "\r", "\0", "\x1b[2J", "\u202e", "\ud800"]

BOARD: dict[str, Any] = YAML(typ="safe", pure=True).load(GOOD)
BOARD["made_by"] = "fixtures.virt"
BOARD["machine"] = "caam"
BOARD["random_generator"] = "rng-caam"
BOARD["throughput"].append({**BOARD["throughput"][0], "processes": 2, "uncalibrated": "guessed"})
del BOARD["throughput"][1]["calibrated"]
BOARD["layers"] = ["engine"]
BOARD["algorithms"]["AES-128-CBC"]["offloaded_from"] = 1536
BOARD["linux"] |= {"ssh_timeout": 60, "work_folder": "/run"}
BOARD["openssl"]["environment"] = {"OPENSSL_CONF": "/etc/product.cnf"}
BOARD["cryptodev"]["users"] = ["nobody"]
BOARD["flash"]["nor"]["restarts"] = False
BOARD["cost"] = {"leaked_bytes": 128, "log_lines": 100, "cpu_ratio": 2.5, "board_cpu_ratio": 4.5}
LAB: dict[str, Any] = {
    "units": [
        {
            "name": "bench-1",
            "board": "ls1046a",
            "console": {"url": "socket://host:1", "baud": 9600},
            "power": {"kind": "command", "on": "relay on", "off": "relay off", "settle": 3},
            "network": {"address": "1.2.3.4", "port": 22, "user": "root", "key_file": "/key", "host_key": HOST_KEY},
            "tftp": {"server": "1.2.3.4", "folder": "/"},
        },
        {
            "name": "bench-2",
            "board": "ls1046a",
            "console": {"url": "/dev/ttyUSB0"},
            "power": {"kind": "pdudaemon", "url": "http://h:1", "hostname": "pdu", "port": 1, "settle": 3},
            "tftp": {"server": "1.2.3.4", "port": 69},
        },
        {"name": "bench-3", "board": "b", "console": {"url": "/dev/tty1"}, "power": {"kind": "qmp", "path": "/none"}},
        {"name": "bench-4", "board": "b", "console": {"url": "/dev/tty2"}, "power": {"kind": "manual", "settle": 3}},
    ]
}

COMMANDS = r"boot\.\w+\[\d\]|flash\.\w+\.(write|read_back|boot)\[\d\]|units\[0\]\.power\.(on|off)"
"""Texts that are commands: they are run as they are, and are one line."""
TEXTS = (
    r"description|witnesses\[\d\]\.(name|match)|throughput\[\d\]\.(un)?calibrated|linux\.(login|prompt)"
    r"|bootloader\.(prompt|interrupt\.\w+)"
)
"""Texts for people, or compared with what a board prints, or keys that stop a countdown. None is run by a shell."""
QUOTED = r"openssl\.(settings|environment)\.\w+|units\[1\]\.power\.hostname"
"""Texts that are quoted where they are used; see the tests below and test_power_pdudaemon.py."""


def leaves(tree: object, path: Path_ = ()) -> Iterator[tuple[Path_, object]]:
    """Yield path and value of each text and number of a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if items is None:
        yield path, tree
    for key, value in items or ():
        yield from leaves(value, (*path, key))


def show(path: Path_) -> str:
    """Return `witnesses[0].name`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]


def replaced(tree: dict[str, Any], path: Path_, value: object) -> dict[str, Any]:
    """Return the tree with another value at a path."""
    result = copy.deepcopy(tree)
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return result


def renamed(tree: dict[str, Any], path: Path_, name: object) -> dict[str, Any]:
    """Return the tree with another key at a path."""
    result = copy.deepcopy(tree)
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    place[name] = place.pop(path[-1])
    return result


def load_tree(folder: Path, tree: dict[str, Any]) -> object:
    """Load a tree, a board file or a lab file, from a file with a value in each line."""
    (folder / "key").touch(mode=0o600)
    text = json.dumps(tree, indent=1).replace('"/key"', json.dumps(str(folder / "key")))
    text = re.sub(r'"(-?\d+)":', r"\1:", text).replace("NaN", ".nan").replace("Infinity", ".inf")
    file = folder / "hostile.yaml"
    file.write_text(text)
    return load_lab(file) if "units" in tree else load_board(str(file), ROOT / "boards")


@pytest.fixture
def load(tmp_path: Path) -> Callable[[dict[str, Any]], object]:
    """Function that loads a tree."""
    return partial(load_tree, tmp_path)


def test_trees_of_this_file_are_valid_and_have_every_field_of_the_schemas(load: Callable[..., object]) -> None:
    load(BOARD)
    load(LAB)
    used = {key for tree in (BOARD, LAB) for path, _ in leaves(tree) for key in path if isinstance(key, str)}
    assert fields_of(BoardFile) | fields_of(Lab) <= used | {"extends", "sections_from", "board", "keys"}


def fields_of(kind: Any) -> set[str]:
    """Return the names of all fields below a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields
        return set(fields) | {name for field in fields.values() for name in fields_of(field.annotation)}
    return {name for part in get_args(kind) for name in fields_of(part)}


TEXT_LEAVES = [(tree, path) for tree in (BOARD, LAB) for path, value in leaves(tree) if isinstance(value, str)]


@pytest.mark.parametrize(("tree", "path"), TEXT_LEAVES, ids=[show(path) for _, path in TEXT_LEAVES])
def test_text_is_refused_if_a_shell_would_run_it_or_a_terminal_obey_it(
    load: Callable[..., object], tree: dict[str, Any], path: Path_
) -> None:
    """With file and line, and the value is not printed as it is."""
    if re.fullmatch(f"{COMMANDS}|{TEXTS}|{QUOTED}", show(path)):
        load(replaced(tree, path, "{device}" * (path == ("witnesses", 0, "match")) + HOSTILE))
    else:
        with pytest.raises(UsageError, match=r"hostile\.yaml:\d+: "):
            load(replaced(tree, path, HOSTILE))
    for hidden in INVISIBLE:
        if show(path) == "bootloader.interrupt.send" and hidden in ("\r", "\x1b[2J"):
            continue  # keys: Enter, Escape
        with pytest.raises(UsageError, match=r"hostile\.yaml:\d+: ") as caught:
            load(replaced(tree, path, f"a{hidden}b"))
        assert str(caught.value).replace("\n", "").isprintable()


KEYS = [
    ("boot", "tftp"),
    ("flash", "nor"),
    ("openssl", "settings", "CIPHERS"),
    ("openssl", "environment", "OPENSSL_CONF"),
    ("algorithms", "SHA256"),
    ("linux",),
]


@pytest.mark.parametrize("path", KEYS, ids=show)
@pytest.mark.parametrize("name", [HOSTILE, "a\nb", "\x1b[2J", "A" * 65, "", 10**30, "-x"])
def test_key_is_refused_if_a_shell_would_run_it(load: Callable[..., object], path: Path_, name: object) -> None:
    with pytest.raises(UsageError, match=r"hostile\.yaml:\d+: ") as caught:
        load(renamed(BOARD, path, name))
    assert str(caught.value).replace("\n", "").isprintable()


def test_settings_of_the_engine_are_quoted(load: Callable[..., object], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    board = load(replaced(BOARD, ("openssl", "settings", "CIPHERS"), f"'\"{HOSTILE}"))
    assert isinstance(board, Board)
    shell = LocalShell()
    query_engine(shell, board)
    assert "pwned" in shell.commands[0]
    assert not (tmp_path / "pwned").exists()


def test_variables_of_applications_are_quoted(load: Callable[..., object], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    board = load(replaced(BOARD, ("openssl", "environment", "OPENSSL_CONF"), f"'\"{HOSTILE}"))
    assert isinstance(board, Board)
    shell = CleanShell(LocalShell(), board.openssl.environment)
    assert shell.run('echo "$OPENSSL_CONF"').text == f"'\"{HOSTILE}\n"
    assert not (tmp_path / "pwned").exists()


NUMBERS = [
    (tree, path)
    for tree in (BOARD, LAB)
    for path, value in leaves(tree)
    if isinstance(value, int | float) and not isinstance(value, bool)
]


@pytest.mark.parametrize(("tree", "path"), NUMBERS, ids=[show(path) for _, path in NUMBERS])
def test_number_that_no_board_has_is_refused_with_the_range(
    load: Callable[..., object], tree: dict[str, Any], path: Path_
) -> None:
    for value in (1e300, 10**30, -1, 1.1e13, float("inf"), float("nan"), True, "1"):
        with pytest.raises(UsageError) as caught:
            load(replaced(tree, path, value))
        assert re.search(r"hostile\.yaml:\d+: .*: found .*; expected ", str(caught.value)), value
    if path[-1] not in ("floor", "port", "log_lines"):  # a floor, an outlet and a number of lines may be 0
        with pytest.raises(UsageError, match="expected"):
            load(replaced(tree, path, 0))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{below}'] * 10)}]\n" for below, name in zip("abcde", "bcdef", strict=True)
)
TOO_DEEP = f"found lists or mappings nested in more than {limits.MAX_YAML_DEPTH} levels"
TOO_MANY = f"found more than {limits.MAX_YAML_VALUES} keys and values"
TEXTS_OF_FILES = {
    "alias bomb": (BOMB, "1: found the anchor &a; expected a value without an anchor"),
    "merge bomb": ("a: {<<: {<<: {b: 1}}}", "1: a: found `<<`; expected the keys themselves"),
    "alias": ("a: *b", "1: found an alias; expected the value itself"),
    "brackets": ("\na: " + "[" * 3000, f"2: {TOO_DEEP}"),
    "braces": ("{a: " * 3000, f"1: {TOO_DEEP}"),
    "dashes": ("- " * 3000, f"1: {TOO_DEEP}"),
    "lines": ("".join(" " * depth + "a:\n" for depth in range(400)), f"{limits.MAX_YAML_DEPTH}: {TOO_DEEP}"),
    "many values": ("a:\n" + "- 1\n" * 30_000, f"{limits.MAX_YAML_VALUES - 1}: {TOO_MANY}"),
    "many keys": ("a: 1\n" * 24_000, f"{limits.MAX_YAML_VALUES // 2}: {TOO_MANY}"),
    "long list": ("a: [" + "1," * 60_000, f"1: {TOO_MANY}"),
    "large": ("#" * (limits.MAX_YAML_SIZE + 1), f" cannot be read: larger than {limits.MAX_YAML_SIZE} bytes"),
    "empty !!int": ("x: !!int ''", "1: found the tag tag:yaml.org,2002:int; expected a value without a tag"),
    "!!int as a key": ("\n!!int '': 1", "2: found the tag tag:yaml.org,2002:int; expected"),
    "empty !!float": ("x: !!float ''", "1: found the tag"),
    "!!timestamp": ("x: !!timestamp ''", "1: found the tag"),
    "!!binary": ("x: !!binary '@'", "1: found the tag"),
    "!!null": ("x: !!null x", "1: found the tag"),
    "!!set": ("x: !!set {a}", "1: found the tag"),
    "a tag of Python": ("x: !!python/object/apply:os.system [id]", "1: found the tag"),
    "a tag in full": ("x: !<tag:yaml.org,2002:int> ''", "1: found the tag"),
    "an escape beyond Unicode": ('\nx: "\\U00110000"', "2: not YAML: found an escape sequence that stands for no char"),
    "hexadecimal digits": ("libc: 0x" + "f" * 5000, '1: libc: found "0xfff'),
    "sexagesimal digits": ("%YAML 1.1\n---\nlibc: 1:2:3:4", '3: libc: found "1:2:3:4"'),
}


@pytest.mark.parametrize(("text", "message"), TEXTS_OF_FILES.values(), ids=TEXTS_OF_FILES.keys())
@pytest.mark.parametrize("kind", ["board", "lab"])
def test_file_that_would_take_long_or_raise_is_refused_at_once(
    tmp_path: Path, text: str, message: str, kind: str
) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text if kind == "board" else text.replace("libc: ", "units: "))
    message = message if kind == "board" else message.replace("libc: ", "units: ")
    started = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_lab(file) if kind == "lab" else load_board(str(file), tmp_path)
    assert time.process_time() - started < 5
    assert f"{file}:{message}" in str(caught.value)
    assert len(str(caught.value)) < 60_000


@pytest.mark.parametrize("kind", ["named pipe", "device", "folder", "loop", "unreadable name"])
def test_file_that_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.yaml"
    match kind:
        case "named pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()
        case "loop":
            file.symlink_to(file)
        case "unreadable name":
            file = Path(f"{tmp_path}/{'x' * 300}.yaml")
    for load_file in (lambda: load_board(str(file), tmp_path), lambda: load_lab(parse_path(str(file), "--lab"))):
        with pytest.raises(UsageError) as caught:
            load_file()
        assert re.search(
            "cannot be read: (not a regular file|Is a dir|Too many levels)|on this host: (Too many|File name too long)",
            str(caught.value),
        )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("~no-such-user-here/x.yaml", "no user of this name has a home folder"),
        ("x" * 300 + ".yaml", "File name too long"),
        ("x/" * 3000 + "x.yaml", "File name too long"),
        ("a\0b.yaml", "embedded null byte"),
        ("~\0/x.yaml", "embedded null byte"),
        ("/dev/null/x.yaml", None),
        ("none.yaml", None),
    ],
)
def test_path_that_no_file_can_have_is_one_sentence(text: str, why: str | None, tmp_path: Path) -> None:
    if why is None:
        assert parse_path(text, "--lab") == Path(text)
        return
    with pytest.raises(UsageError, match=rf'^--lab: found ".*; expected a path on this host: {why}$'):
        parse_path(text, "--lab")
    (tmp_path / "a.yaml").write_text(f"\nextends: {json.dumps(text)}\n")
    with pytest.raises(UsageError, match=rf'^{tmp_path}/a\.yaml:2: extends: found ".*; expected .*: {why}$'):
        load_board(str(tmp_path / "a.yaml"), tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "../x", "", HOSTILE])
def test_board_name_that_is_no_name_is_an_unknown_board(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no board ") as caught:
        load_board(name, tmp_path)
    assert str(caught.value).isprintable()


def test_chain_of_too_many_files_is_refused(tmp_path: Path) -> None:
    most = limits.MAX_EXTENDS
    for number in range(most):
        (tmp_path / f"b{number}.yaml").write_text(f"extends: b{number + 1}\n")
    (tmp_path / f"b{most}.yaml").write_text("description: the last\n")
    with pytest.raises(UsageError, match=r"b1\.yaml:1: missing|architecture: missing"):  # the chain is read whole
        load_board("b1", tmp_path)
    message = rf"b{most - 1}\.yaml:1: extends: found a chain of more files; expected at most {most}$"
    with pytest.raises(UsageError, match=message):
        load_board("b0", tmp_path)


@pytest.mark.parametrize("package", ["fixtures.none", "none_such", "os.path.x", "a..b"])
def test_package_that_cannot_be_imported_is_refused(load: Callable[..., object], package: str) -> None:
    with pytest.raises(UsageError, match=r"hostile\.yaml:\d+: made_by: found .*; expected a (Python|dotted) package"):
        load({**BOARD, "made_by": package})


ROW = re.compile(r"^\| `(\S+)` \| ((?:a port from )?[\d.]+ to .*) \|$", re.MULTILINE)
RANGES = [row for page in ("boards", "lab") for row in ROW.findall((ROOT / f"docs/{page}.md").read_text())]


@pytest.mark.parametrize(("key", "expected"), RANGES, ids=[key for key, _ in RANGES])
def test_documented_range_is_that_of_the_schema(load: Callable[..., object], key: str, expected: str) -> None:
    path = tuple(int(part) if part.isdecimal() else part for part in re.findall(r"[\w-]+", key))
    tree = LAB if path[0] == "units" else BOARD
    with pytest.raises(UsageError) as caught:
        load(renamed(tree, (*path, 16), -1) if path[-1] == "bounds" else replaced(tree, path, -1))
    assert f"; expected {expected}\n" in f"{caught.value}\n"


def test_every_range_is_documented() -> None:
    documented = {tuple(re.findall(r"[a-z_]+", key)) for key, _ in RANGES}
    assert {tuple(re.findall(r"[a-z_]+", show(path))) for _, path in NUMBERS} <= documented
