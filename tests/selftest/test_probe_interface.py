"""Are the answers about cryptodev's interface understood, and judged as the table says?"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.lab.board import load_board
from fixtures.outcome import LabError, ProductError, UsageError
from fixtures.probe.build import build, check_rows, row_names
from fixtures.probe.interface import (
    Row,
    RowResult,
    choose_algorithms,
    describe_mismatch,
    is_promised,
    may_be_driver,
    parse_rows,
    run_rows,
    why_not_runnable,
)
from fixtures.probe.interface_table import table

DATA = Path(__file__).parent / "data/probe"
BOARDS = Path(__file__).parents[2] / "boards"
VIRT = {"promised": "AES-128-CBC", "chained": "AES-128-CTR", "cipher": "AES-128-ECB", "digest": "SHA256"}
ROWS = {row.name: row for row in table(VIRT)}
MACHINE = platform.machine()

needs_probe = pytest.mark.skipif(
    sys.platform != "linux" or MACHINE not in ("x86_64", "aarch64"),
    reason=f"the probe is run on this machine, which is no 64-bit Linux on x86 or ARM but {sys.platform} {MACHINE}",
)


def answers(caller: str) -> dict[str, RowResult]:
    """What the probe said on virt."""
    return parse_rows((DATA / f"interface-virt-{caller}.txt").read_text().splitlines())


def test_probe_and_table_have_the_same_rows() -> None:
    check_rows(list(ROWS))
    assert row_names() == list(dict.fromkeys(row_names()))
    assert set(row_names()) == set(ROWS) == {row.name for row in table({})}


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ([*ROWS, "no-such-row"], "interface_rows.c lacks no-such-row"),
        ([name for name in ROWS if name != "poll"], "interface_table.py lacks poll"),
    ],
)
def test_build_refuses_a_row_that_is_missing_on_one_side(expected: list[str], message: str) -> None:
    with pytest.raises(LabError, match=re.escape(message)):
        check_rows(expected)


def test_every_row_says_what_is_called_and_by_which_source() -> None:
    for row in ROWS.values():
        assert len(row.call) > 8
        assert re.search(r"\.c\b", row.source), row
        for pattern in (*row.facts.values(), *row.compat.values()):
            re.compile(pattern)
        assert row.compat.keys() <= row.facts.keys(), row


@pytest.mark.parametrize("caller", ["native", "compat"])
def test_what_a_healthy_board_said_is_right(caller: str) -> None:
    given = answers(caller)
    assert given.keys() == ROWS.keys()
    assert [describe_mismatch(ROWS[name], seen, caller == "compat") for name, seen in given.items()] == [""] * len(ROWS)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_fact_that_is_another_is_noticed(row: Row) -> None:
    seen = answers("native")[row.name]
    for name in seen.facts:
        for other in ("?", "", seen.facts[name] + "?", "-99?"):
            told = describe_mismatch(row, replace(seen, facts={**seen.facts, name: other}), False)
            assert told.startswith(f"{row.name}: {row.call}\n"), (name, other)
            assert f"differs   {name}\n" in told
            assert told.endswith(row.source)


@pytest.mark.parametrize("more", [{"lacks": "11/0:EINVAL"}, {"surplus": "0"}])
def test_a_fact_too_many_is_noticed(more: Mapping[str, str]) -> None:
    seen = answers("native")["session-cipher"]
    assert describe_mismatch(ROWS["session-cipher"], replace(seen, facts={**seen.facts, **more}), False)


def test_a_fact_too_few_is_noticed() -> None:
    seen = answers("native")["session-cipher"]
    facts = dict(seen.facts)
    del facts["close"]
    assert "differs   close\n" in describe_mismatch(ROWS["session-cipher"], replace(seen, facts=facts), False)


@pytest.mark.parametrize(
    ("how", "number", "words"),
    [
        ("died", 11, "ended by SIGSEGV after: "),
        ("died", 99, "ended by signal 99 after: "),
        ("late", 0, "no answer in time, after: "),
        ("stuck", 0, "SIGKILL does not end the call"),
    ],
)
def test_a_row_that_did_not_end_well_is_wrong_whatever_it_had_told(how: str, number: int, words: str) -> None:
    seen = replace(answers("native")["poll"], how=how, signal=number)
    assert words in describe_mismatch(ROWS["poll"], seen, False)


def test_a_refusal_that_only_a_32_bit_caller_may_get_is_wrong_for_others() -> None:
    seen = answers("compat")["hash-copy-mid-update"]
    assert seen.facts["copy"] == "EINVAL"
    assert not describe_mismatch(ROWS["hash-copy-mid-update"], seen, True)
    assert "differs   copy, to-bytes\n" in describe_mismatch(ROWS["hash-copy-mid-update"], seen, False)
    assert "by a 32-bit program" in describe_mismatch(ROWS["session-cipher"], seen, True)


@pytest.mark.parametrize(
    ("row", "fact", "value", "may_be"),
    [
        ("session-cipher", "bytes", "00", True),
        ("session-cipher", "encrypt", "EIO", True),
        ("crypt-15-bytes-EINVAL", "crypt", "0", False),
        ("crypt-15-bytes-EINVAL", "next", "EIO", True),
        ("close-frees-sessions", "left", "512", False),
        ("kill-9-in-mid-operation", "killed", "3", True),
        ("sessinfo-hash", "hash", "sha1", False),
    ],
)
def test_what_may_be_a_drivers_doing_is_told_apart(row: str, fact: str, value: str, may_be: bool) -> None:
    seen = answers("native")[row]
    bad = replace(seen, facts={**seen.facts, fact: value})
    assert describe_mismatch(ROWS[row], bad, False)
    assert may_be_driver(ROWS[row], bad, False) == may_be


def test_what_only_a_32_bit_caller_lacks_is_cryptodevs_doing() -> None:
    refused = RowResult("done", 0, {"lacks": "11/0:EINVAL"})
    assert may_be_driver(ROWS["session-cipher"], refused, False)
    assert not may_be_driver(ROWS["session-cipher"], refused, True)
    assert may_be_driver(ROWS["session-cipher"], RowResult("stuck", 0, {}), False)


def test_what_a_row_lacks_is_told_apart_from_wrong_answers() -> None:
    assert parse_rows(["row crypt-1MiB done 0 lacks=cipher", "end 1"])["crypt-1MiB"].lacks == "cipher"
    assert not answers("native")["crypt-1MiB"].lacks


@pytest.mark.parametrize(
    ("lacks", "promised"),
    [
        ("11/0:EINVAL", True),
        ("0/104:ENOENT", True),
        ("11/104:EINVAL", True),
        ("21/0:ENOENT", False),
        ("11/14:ENOENT", False),
        ("50/0:ENOENT", False),
        ("11/7:EINVAL", False),
        ("digest", False),
    ],
)
def test_only_what_the_board_file_lists_must_be_there(lacks: str, promised: bool) -> None:
    assert is_promised(lacks, ["AES-256-CBC", "SHA256"]) == promised


def test_a_row_that_told_nothing_is_understood() -> None:
    assert parse_rows(["row poll died 9 ", "end 1"])["poll"] == RowResult("died", 9, {})


@pytest.mark.parametrize("lines", [["hello 1 cryptodev", "row poll done 0 poll=1"], ["row poll done 0 ", "end 2"]])
def test_a_missing_end_is_the_labs_trouble(lines: list[str]) -> None:
    with pytest.raises(LabError, match="end mark is missing"):
        parse_rows(lines)


def test_a_device_that_does_not_open_is_the_products_trouble() -> None:
    with pytest.raises(ProductError, match="cannot be opened: open"):
        parse_rows(["hello 1 cryptodev", "fatal open(/dev/crypto): ENOENT, there is no such device node"])


def test_large_requests_go_where_no_accelerator_is_promised() -> None:
    board = load_board("virt", BOARDS)
    assert choose_algorithms({name: algorithm.driver for name, algorithm in board.algorithms.items()}) == VIRT | {
        "digest": "SHA256"
    }
    everything = choose_algorithms({"AES-128-CBC": "cbc-aes-caam", "SHA256": "sha256-caam"})
    assert everything == {"promised": "AES-128-CBC", "chained": "AES-128-CBC"}
    with pytest.raises(UsageError, match="AES-CBC"):
        choose_algorithms({"SHA256": None})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where things are built; the compiler's own cache too, which takes longest to fill."""
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def program(folder: Path) -> str:
    """The probe for this machine."""
    return str(build(MACHINE, "glibc", folder))


@needs_probe
def test_the_real_probe_tells_that_there_is_no_device(program: str) -> None:
    with pytest.raises(ProductError, match="ENOENT"):
        run_rows(LocalShell(), program, "/dev/no-such-crypto", VIRT)


@needs_probe
def test_the_real_probe_asks_every_row_of_a_device_that_is_not_cryptodevs(program: str) -> None:
    given = run_rows(LocalShell(), program, "/dev/null", VIRT)
    assert given.keys() == ROWS.keys()
    assert given["session-of-nothing-EINVAL"].facts == {"session": "ENOTTY"}
    assert given["session-cipher"].lacks == "11/0:ENOTTY"
    assert [name for name, seen in given.items() if not describe_mismatch(ROWS[name], seen, False)] == []


IOCTL = """
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
int ioctl(int fd, unsigned long request, ...)
{
    (void)fd;
    return getenv("HANG") ? pause() : (abort(), (int)request);
}
"""


@pytest.fixture(scope="module")
def another_ioctl(folder: Path) -> str:
    """A library whose ioctl() never returns, or aborts the program."""
    (folder / "ioctl.c").write_text(IOCTL)
    target = ("-target", f"{MACHINE}-linux-gnu.2.28", "-shared", "-fPIC", "-O2", "-s")
    zig = folder / "zig"
    environment = os.environ | {"ZIG_LOCAL_CACHE_DIR": f"{zig}/local", "ZIG_GLOBAL_CACHE_DIR": f"{zig}/global"}
    command = (sys.executable, "-m", "ziglang", "cc", *target, str(folder / "ioctl.c"), "-o", str(folder / "ioctl.so"))
    subprocess.run(command, check=True, env=environment, timeout=120)
    return str(folder / "ioctl.so")


@needs_probe
def test_a_row_whose_call_never_returns_is_ended_and_the_last(program: str, another_ioctl: str) -> None:
    shell = LocalShell(environment={"LD_PRELOAD": another_ioctl, "HANG": "1"})
    given = run_rows(shell, program, "/dev/null", VIRT, timeout=1)
    assert given == {"session-cipher": RowResult("late", 0, {})}


@needs_probe
def test_rows_that_die_do_not_take_the_others_with_them(program: str, another_ioctl: str) -> None:
    given = run_rows(LocalShell(environment={"LD_PRELOAD": another_ioctl}), program, "/dev/null", VIRT)
    assert given.keys() == ROWS.keys()
    assert given["session-cipher"] == RowResult("died", 6, {})
    assert "ended by SIGABRT" in describe_mismatch(ROWS["session-cipher"], given["session-cipher"], False)


@needs_probe
def test_whether_a_program_runs_here_is_told(program: str, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\xff\xff" + bytes(40))
    foreign.chmod(0o755)
    assert why_not_runnable(LocalShell(), program) == ""
    assert "does not run it" in why_not_runnable(LocalShell(), str(foreign))
