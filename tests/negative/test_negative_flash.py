"""Memories of the virtual board: written, read back, booted from; and what becomes of it when that goes wrong."""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gate_run import UNIT, Gate, Run, await_exit, clean

from fixtures import cache
from fixtures.lab.flash_state import FlashState
from fixtures.virt.build import build

ASK = "tests/test_boot.py"
PLACE = {"nor": ("nor", 32 << 20), "disk": ("disk", 0), "disk-linux": ("disk", 0)}
"""The file in which a way's memory is kept, and where in it the image begins."""
PLACED = "flashed/0"
"""A unit of a board file of its own, which this writes beside its temporary files."""


def memory(way: str, unit: str = UNIT) -> Path:
    """The file in which a memory is kept."""
    return cache.home() / f"memories-{unit.replace('/', '@')}" / PLACE[way][0]


def flip(way: str, unit: str = UNIT) -> None:
    """Change one bit of what a memory holds."""
    with memory(way, unit).open("r+b") as file:
        file.seek(PLACE[way][1] + 4711)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def flash(way: str, *more: str | Path) -> Run:
    """Ask a little of a unit that boots from a memory."""
    with clean() as place, Gate(place, "--board", UNIT, "--boot", way, *more, ASK) as gate:
        return gate.end()


@contextmanager
def over_and_over(act: Callable[[], None]) -> Iterator[threading.Event]:
    """Do something all the time, until the event is set or the context ends."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(0.01):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(10)


def facts(run: Run) -> dict[str, object]:
    """The facts of a run record."""
    return {str(line["name"]): line["value"] for line in run.of("fact")}


@pytest.mark.parametrize("way", PLACE)
def test_an_image_is_written_and_booted_and_then_is_there_already(way: str) -> None:
    FlashState(UNIT).holds(way, "0" * 64)
    first = flash(way)
    assert first.status == 0, first.text
    assert f"{way}: holds another image" in first.text and f"booting from {way}" in first.text, first.text
    assert facts(first)["memory"] == f"{way}: written, read back right"
    second = flash(way)
    assert second.status == 0, second.text
    assert f"{way} holds the image already (verified" in second.text and "writing" not in second.text
    assert facts(second)["SHA-256 in the memory"] == facts(first)["SHA-256 in the memory"]


@pytest.mark.parametrize("way", ["nor", "disk"])
def test_a_bit_that_flipped_since_is_found_and_the_image_is_written_again(way: str) -> None:
    assert flash(way).status == 0
    flip(way)
    run = flash(way)
    assert run.status == 0, run.text
    assert f"{way} is marked as holding the image, and reads back " in run.text, run.text
    assert facts(run)["memory"] == f"{way}: written, read back right"


def test_a_write_that_is_killed_leaves_the_memory_unknown_and_the_next_run_writes_it() -> None:
    FlashState(UNIT).holds("nor", "0" * 64)
    with clean() as place:
        with Gate(place, "--board", UNIT, "--boot", "nor", ASK) as gate:
            while (begun := FlashState(UNIT).of("nor")) is None or begun.sha256:
                time.sleep(0.01)  # a file that changes makes no event that a portable wait could be given
            qemu = gate.qemu()
            os.kill(gate.pid, signal.SIGKILL)
            assert gate.end().status == -signal.SIGKILL
        await_exit(qemu)
        mark = FlashState(UNIT).of("nor")
        assert mark and mark.sha256 is None
        with Gate(place, "--board", UNIT, "--boot", "nor", ASK) as gate:
            run = gate.end()
    assert run.status == 0, run.text
    assert f"nor: unknown: a write was begun and did not end well, since {mark.since}, by {mark.user}" in run.text
    assert facts(run)["memory"] == "nor: written, read back right"


def test_a_memory_that_does_not_keep_what_is_written_is_the_lab() -> None:
    assert flash("disk").status == 0
    place = memory("disk")

    def wear() -> None:
        with place.open("r+b") as file:
            file.write(b"worn")

    with over_and_over(wear):
        run = flash("disk")
    assert run.status == 9, run.text
    assert "disk was written 2 times and reads back " in run.text and ", the CRC-32 of the image's file" in run.text
    assert not run.tests("failed") and not run.tests("passed")
    assert (mark := FlashState(UNIT).of("disk")) and mark.sha256 is None


def test_a_file_that_tftp_cuts_short_is_the_lab_and_nothing_is_written() -> None:
    FlashState(UNIT).holds("nor", "0" * 64)
    with clean() as place, Gate(place, "--board", UNIT, "--boot", "nor", ASK) as gate:

        def cut() -> None:
            for file in place.glob("hil-*/tftp/hil-*/firmware"):
                if file.stat().st_size > 1 << 20:
                    os.truncate(file, 1 << 20)

        with over_and_over(cut):
            run = gate.end()
    assert run.status == 9, run.text
    assert "TFTP: U-Boot fetched 1048576 bytes of firmware, which has " in run.text, run.text
    assert "e8; " not in run.text and not run.tests("failed")


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("tftp", r"the bootloader is back at its prompt \(output: .*Bad Linux ARM64 Image magic!"),
        ("nor", "U-Boot: exit status 1 from 'unzip 6000000 .*': .*gzip"),
    ],
)
def test_an_image_that_is_not_for_this_board_is_told_in_u_boots_words(tmp_path: Path, way: str, told: str) -> None:
    for name in ("kernel", "initrd", "firmware"):
        (tmp_path / name).write_bytes(b"an image of another board" * 1000)
    run = flash(way, "--image", tmp_path)
    assert run.status == 9, run.text
    ((_, reason),) = run.tests("error").items()
    assert re.search(told, reason), reason


def test_a_board_without_room_for_the_file_is_the_lab(tmp_path: Path) -> None:
    built = build(None, None, print)
    (tmp_path / "kernel").symlink_to(built.kernel)
    (tmp_path / "initrd").symlink_to(built.initrd)
    with (tmp_path / "firmware").open("wb") as file:
        file.truncate(480 << 20)  # of 512 MiB that the board has
    run = flash("disk-linux", "--image", tmp_path)
    assert run.status == 9, run.text
    assert f"flash: disk full on the board: /tmp of unit {UNIT} has " in run.text, run.text


def test_a_write_that_ends_in_a_restart_is_read_back_by_u_boot(tmp_path: Path) -> None:
    board = tmp_path / "flashed.yaml"
    lines = "\n".join(
        [
            f"extends: {Path(__file__).parents[2] / 'boards/virt.yaml'}",
            "flash:",
            "  disk:",
            "    at: linux",
            "    restarts: true",
            "    write:",
            "      - modprobe virtio_blk",
            "      - dd if={firmware} of=/dev/vda bs=1M conv=fsync && reboot -f",
        ]
    )
    board.write_text(lines + "\n")
    FlashState(PLACED).begin("disk")
    with clean(PLACED) as place, Gate(place, "--board", board, "--boot", "disk", ASK) as gate:
        run = gate.end()
    shutil.rmtree(memory("disk", PLACED).parent)
    assert run.status == 0, run.text
    assert "and restarting: dd if=" in run.text and facts(run)["memory"] == "disk: written, read back right"
