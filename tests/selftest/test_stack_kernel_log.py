"""Are lines of the kernel's log counted by component and level, from the right line on?"""

from collections import Counter
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.limits import MAX_LOG_SOURCE_LENGTH, MAX_LOG_TEXT
from fixtures.stack.kernel_log import (
    INFO,
    NO_SOURCE,
    WARNING,
    count_lines,
    parse_log,
    parse_stamp,
    read_since,
    sum_by_source,
)

LOG = """\
<4>[   51.417571] cryptodev: loading out-of-tree module taints kernel.
<6>[   51.426418] virtio_crypto virtio0: Accelerator device is ready
<13>[   60.000000] hil-probe: kill-9-in-mid-operation
<4>[   60.000001] shim: unexpected status of a request of 1024 bytes
<4>[   60.000002] shim: unexpected status of a request of 1024 bytes
<3>[   60.000003][  T123] caam_jr 1710000.jr: 40000006: DECO: desc idx 0
<4>[   60.000004] shim: shim_spend: 990 callbacks suppressed
<7>[   60.000005] shim: debug
<4>[   60.000006] Call trace:
<4>[   60.000007]  alg_test+0x5d4/0x5f0
"""


@pytest.fixture
def dmesg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `dmesg` in PATH that prints the file that is returned."""
    (tmp_path / "dmesg").write_text(f"#!/bin/sh\ncat '{tmp_path}/log'\n")
    (tmp_path / "dmesg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "log").write_text(LOG)
    return tmp_path / "log"


def test_line_has_level_facility_and_source() -> None:
    lines = parse_log(LOG)
    assert [(line.level, line.facility, line.source) for line in lines[:3]] == [
        (4, 0, "cryptodev"), (6, 0, "virtio_crypto"), (5, 1, "hil-probe"),
    ]  # fmt: skip
    assert lines[5].source == "caam_jr"
    assert [line.source for line in lines[-2:]] == [NO_SOURCE, NO_SOURCE]


def test_lines_after_a_time_are_counted_with_suppressed_ones() -> None:
    counts = count_lines(LOG, "51.417571", WARNING)
    assert counts == {("shim", 4): 992, ("caam_jr", 3): 1, (NO_SOURCE, 4): 2}
    assert sum_by_source(counts) == {"shim": 992, "caam_jr": 1, NO_SOURCE: 2}
    assert sum_by_source(counts, ["caam-jr", "cryptodev"]) == {"caam_jr": 1}


def test_lines_of_programs_and_of_higher_levels_are_not_counted() -> None:
    counts = count_lines(LOG, "", INFO)
    assert counts["virtio_crypto", 6] == 1
    assert not any(source == "hil-probe" or level > INFO for source, level in counts)


def test_log_is_printed_from_a_time_on(dmesg: Path) -> None:
    assert dmesg.exists()
    assert LocalShell().run(read_since("60.000006")).text.splitlines() == LOG.splitlines()[-2:]


def test_overwritten_line_gives_all_that_is_left(dmesg: Path) -> None:
    assert dmesg.exists()
    assert LocalShell().run(read_since("1.000000")).text == LOG


def test_long_log_is_cut_at_its_beginning(dmesg: Path) -> None:
    dmesg.write_text(LOG + "<4>[   61.000000] shim: x\n" * 10_000)
    text = LocalShell().run(read_since("51.417571")).text
    assert len(text) == MAX_LOG_TEXT
    assert count_lines(text, "51.417571", WARNING) == Counter({("shim", 4): MAX_LOG_TEXT // 26})


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        (LOG, "60.000007"),
        ("", None),
        ("dmesg: read kernel buffer failed: Operation not permitted\n", None),
        ("<4>no time\n", None),
    ],
)
def test_time_of_the_last_line(text: str, stamp: str | None) -> None:
    assert parse_stamp(text) == stamp


def test_source_of_any_length_is_no_source() -> None:
    (line,) = parse_log(f"<4>[    1.000000] {'x' * (MAX_LOG_SOURCE_LENGTH + 1)}: text")
    assert line.source == NO_SOURCE
