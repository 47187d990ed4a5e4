"""Results of cryptodev's interface rows are parsed and compared with the table."""

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
from fixtures.probe.wire import seal

DATA = Path(__file__).parent / "data/probe"
BOARDS = Path(__file__).parents[2] / "boards"
VIRT = {"promised": "AES-128-CBC", "chained": "AES-128-CTR", "cipher": "AES-128-ECB", "digest": "SHA256"}
HELLO = "hello 1 cryptodev"
ROWS = {row.name: row for row in table(VIRT)}
MACHINE = platform.machine()

NEEDS_PROBE = pytest.mark.skipif(
    sys.platform != "linux" or MACHINE not in ("x86_64", "aarch64"),
    reason=f"the probe is run on this machine, which is no 64-bit Linux on x86 or ARM but {sys.platform} {MACHINE}",
)


def recorded_results(caller: str) -> dict[str, RowResult]:
    """Return the results that the virtual board gave to a native or a compat caller."""
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


def test_every_row_names_its_call_and_its_public_source() -> None:
    for row in ROWS.values():
        assert len(row.call) > 8
        assert re.search(r"\.c\b", row.source) and not re.search(r"\b[RS]\d+\b", row.source), row
        for pattern in (*row.facts.values(), *row.compat.values()):
            re.compile(pattern)
        assert row.compat.keys() <= row.facts.keys(), row


@pytest.mark.parametrize("caller", ["native", "compat"])
def test_healthy_board_matches_every_row(caller: str) -> None:
    given = recorded_results(caller)
    assert given.keys() == ROWS.keys()
    assert [describe_mismatch(ROWS[name], seen, caller == "compat") for name, seen in given.items()] == [""] * len(ROWS)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_any_changed_fact_is_a_mismatch(row: Row) -> None:
    seen = recorded_results("native")[row.name]
    for name in seen.facts:
        for other in ("?", "", seen.facts[name] + "?", "-99?"):
            message = describe_mismatch(row, replace(seen, facts={**seen.facts, name: other}), False)
            assert message.startswith(f"{row.name}: {row.call}\n"), (name, other)
            assert f"differs   {name}\n" in message
            assert message.endswith(row.source)


@pytest.mark.parametrize("more", [{"lacks": "11/0:EINVAL"}, {"surplus": "0"}])
def test_additional_fact_is_a_mismatch(more: Mapping[str, str]) -> None:
    seen = recorded_results("native")["session-cipher"]
    assert describe_mismatch(ROWS["session-cipher"], replace(seen, facts={**seen.facts, **more}), False)


def test_missing_fact_is_a_mismatch() -> None:
    seen = recorded_results("native")["session-cipher"]
    facts = dict(seen.facts)
    del facts["close"]
    assert "differs   close\n" in describe_mismatch(ROWS["session-cipher"], replace(seen, facts=facts), False)


@pytest.mark.parametrize(
    ("ending", "number", "words"),
    [
        ("died", 11, "ended by SIGSEGV after: "),
        ("died", 99, "ended by signal 99 after: "),
        ("late", 0, "no answer in time, after: "),
        ("stuck", 0, "SIGKILL does not end the call"),
    ],
)
def test_row_that_did_not_end_by_itself_is_a_mismatch_despite_right_facts(ending: str, number: int, words: str) -> None:
    seen = replace(recorded_results("native")["poll"], ending=ending, signal=number)
    assert words in describe_mismatch(ROWS["poll"], seen, False)


def test_refusal_allowed_for_32_bit_callers_is_a_mismatch_for_native_ones() -> None:
    seen = recorded_results("compat")["hash-copy-mid-update"]
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
def test_mismatch_is_attributed_to_cryptodev_alone_or_possibly_a_driver(
    row: str, fact: str, value: str, may_be: bool
) -> None:
    seen = recorded_results("native")[row]
    bad = replace(seen, facts={**seen.facts, fact: value})
    assert describe_mismatch(ROWS[row], bad, False)
    assert may_be_driver(ROWS[row], bad, False) == may_be


def test_algorithm_missing_only_for_32_bit_callers_is_attributed_to_cryptodev() -> None:
    refused = RowResult("done", 0, {"lacks": "11/0:EINVAL"})
    assert may_be_driver(ROWS["session-cipher"], refused, False)
    assert not may_be_driver(ROWS["session-cipher"], refused, True)
    assert may_be_driver(ROWS["session-cipher"], RowResult("stuck", 0, {}), False)


def test_missing_algorithm_is_reported_as_lacking() -> None:
    assert parse_rows([HELLO, "row crypt-1MiB done 0 lacks=cipher", "end 1"])["crypt-1MiB"].lacks == "cipher"
    assert not recorded_results("native")["crypt-1MiB"].lacks


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
def test_only_algorithms_of_the_board_file_are_promised(lacks: str, promised: bool) -> None:
    assert is_promised(lacks, ["AES-256-CBC", "SHA256"]) == promised


def test_row_without_facts_is_parsed() -> None:
    assert parse_rows([HELLO, "row poll died 9 ", "end 1"])["poll"] == RowResult("died", 9, {})


@pytest.mark.parametrize("lines", [[], [HELLO, "row poll done 0 poll=1"]])
def test_missing_end_mark_is_a_lab_error(lines: list[str]) -> None:
    with pytest.raises(LabError, match="end mark is missing"):
        parse_rows(lines)


@pytest.mark.parametrize(
    "lines",
    [
        ["end 0"],
        ["hello 2 cryptodev", "end 0"],
        ["hello 1 afalg", "end 0"],
        ["row poll done 0 poll=1", "end 1"],
        [HELLO, "row poll done 0 poll=1", "row poll done 0 poll=1", "end 2"],
        [HELLO, "row poll done 0 poll=1 poll=2", "end 1"],
        [HELLO, "row poll done 0 poll", "end 1"],
        [HELLO, "row poll done 0 =1", "end 1"],
        [HELLO, "row poll done 0", "end 1"],
        [HELLO, "row poll done 9 poll=1", "end 1"],
        [HELLO, "row poll died 0 ", "end 1"],
        [HELLO, "row poll died -1 ", "end 1"],
        [HELLO, f"row poll died {'1' * 5000} ", "end 1"],
        [HELLO, "row poll lost 0 ", "end 1"],
        [HELLO, "row poll late 0 ", "row dup done 0 ", "end 2"],
        [HELLO, "row ", "end 1"],
        [HELLO, "row poll done 0 poll=1", "end 2"],
        [HELLO, "end x"],
        [HELLO, f"end {'1' * 5000}"],
        [HELLO, "end 0", "row poll done 0 poll=1"],
        [HELLO, "ended", "end 0"],
        [HELLO, "", "end 0"],
    ],
)
def test_line_that_is_not_in_the_protocol_is_a_product_failure(lines: list[str]) -> None:
    with pytest.raises(ProductError, match="has a line that does not belong there: ") as caught:
        parse_rows(lines)
    assert len(str(caught.value)) < 500


def test_crash_of_the_probe_itself_is_a_product_failure() -> None:
    with pytest.raises(ProductError, match="the probe was ended by SIGSEGV opening, after 0 rows"):
        parse_rows([HELLO, "died SIGSEGV opening"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["end 0"], "0 rows of cryptodev's interface, of 122"),
        (["row poll done 0 poll=1 events=out", "end 1"], "1 rows of cryptodev's interface, of 122"),
        (["row no-such-row late 0 ", "end 1"], "1 rows of cryptodev's interface, of 122"),
    ],
)
def test_rows_that_are_missing_or_unknown_are_a_product_failure(tmp_path: Path, lines: list[str], message: str) -> None:
    output = "".join(f"{seal(number, line)}\n" for number, line in enumerate([HELLO, *lines]))
    program = tmp_path / "probe"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}END\n")
    program.chmod(0o755)
    with pytest.raises(ProductError, match=message):
        run_rows(LocalShell(), str(program), "/dev/null", VIRT, ROWS)


def test_device_that_cannot_be_opened_is_a_product_failure() -> None:
    with pytest.raises(ProductError, match="cannot be opened: open"):
        parse_rows(["hello 1 cryptodev", "fatal open(/dev/crypto): ENOENT, there is no such device node"])


def test_large_requests_use_algorithms_without_a_promised_accelerator() -> None:
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
    """Return the folder of builds and of the compiler's own cache, which takes longest to fill."""
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def program(folder: Path) -> str:
    """Return the path of a probe for this machine."""
    return str(build(MACHINE, "glibc", folder))


@NEEDS_PROBE
def test_real_probe_reports_a_missing_device(program: str) -> None:
    with pytest.raises(ProductError, match="ENOENT"):
        run_rows(LocalShell(), program, "/dev/no-such-crypto", VIRT, ROWS)


@NEEDS_PROBE
def test_real_probe_runs_every_row_on_a_foreign_device(program: str) -> None:
    given = run_rows(LocalShell(), program, "/dev/null", VIRT, ROWS)
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
    """Return a library whose ioctl() never returns ($HANG), or aborts the program."""
    (folder / "ioctl.c").write_text(IOCTL)
    target = ("-target", f"{MACHINE}-linux-gnu.2.28", "-shared", "-fPIC", "-O2", "-s")
    zig = folder / "zig"
    environment = os.environ | {"ZIG_LOCAL_CACHE_DIR": f"{zig}/local", "ZIG_GLOBAL_CACHE_DIR": f"{zig}/global"}
    command = (sys.executable, "-m", "ziglang", "cc", *target, str(folder / "ioctl.c"), "-o", str(folder / "ioctl.so"))
    subprocess.run(command, check=True, env=environment, timeout=120)
    return str(folder / "ioctl.so")


@NEEDS_PROBE
def test_row_that_hangs_is_killed_and_ends_the_run(program: str, another_ioctl: str) -> None:
    shell = LocalShell(environment={"LD_PRELOAD": another_ioctl, "HANG": "1"})
    given = run_rows(shell, program, "/dev/null", VIRT, ROWS, timeout=1)
    assert given == {"session-cipher": RowResult("late", 0, {})}


@NEEDS_PROBE
def test_row_that_crashes_does_not_stop_the_others(program: str, another_ioctl: str) -> None:
    given = run_rows(LocalShell(environment={"LD_PRELOAD": another_ioctl}), program, "/dev/null", VIRT, ROWS)
    assert given.keys() == ROWS.keys()
    assert given["session-cipher"] == RowResult("died", 6, {})
    assert "ended by SIGABRT" in describe_mismatch(ROWS["session-cipher"], given["session-cipher"], False)


@NEEDS_PROBE
def test_program_that_cannot_run_is_reported_with_the_reason(program: str, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\xff\xff" + bytes(40))
    foreign.chmod(0o755)
    assert why_not_runnable(LocalShell(), program) == ""
    assert "does not run it" in why_not_runnable(LocalShell(), str(foreign))
