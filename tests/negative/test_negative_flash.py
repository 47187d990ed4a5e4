"""Flash methods of the virtual board: write, read back and boot, and what happens when one of them fails."""

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
from gate_run import UNIT, Gate, GateResult, await_exit, no_leftovers

from fixtures import cache
from fixtures.lab.flash_state import FlashState
from fixtures.virt.build import build

BOOT = "tests/test_boot.py"
MEMORIES = {"nor": ("nor", 32 << 20), "disk": ("disk", 0), "disk-linux": ("disk", 0)}
"""Flash method -> file that holds its memory, and the offset of the image in bytes."""
OWN_UNIT = "flashed/0"
"""Unit of a board file that a test writes into its temporary folder."""


def memory_file(method: str, unit: str = UNIT) -> Path:
    """Return the file that holds the memory of a flash method."""
    return cache.home() / f"memories-{unit.replace('/', '@')}" / MEMORIES[method][0]


def flip_bit(method: str, unit: str = UNIT) -> None:
    """Flip one bit in the image that a memory holds."""
    with memory_file(method, unit).open("r+b") as file:
        file.seek(MEMORIES[method][1] + 4711)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def run_boot_test(method: str, *more: str | Path) -> GateResult:
    """Run test_boot.py on a unit that boots by a flash method."""
    with no_leftovers() as temporary, Gate(temporary, "--board", UNIT, "--boot", method, *more, BOOT) as gate:
        return gate.wait()


@contextmanager
def repeating(action: Callable[[], None]) -> Iterator[threading.Event]:
    """Repeat an action every 10 ms until the event is set or the context ends."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(0.01):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(10)


def facts_of(run: GateResult) -> dict[str, object]:
    """Return the facts of a run record, by name."""
    return {str(line["name"]): line["value"] for line in run.records_of("fact")}


@pytest.mark.parametrize("method", MEMORIES)
def test_image_is_written_once_and_booted_twice(method: str) -> None:
    FlashState(UNIT).set_content(method, "0" * 64)
    first = run_boot_test(method)
    assert first.is_healthy, first.text
    assert f"{method}: holds another image" in first.text and f"booting from {method}" in first.text, first.text
    assert facts_of(first)["memory"] == f"{method}: written, read back right"
    second = run_boot_test(method)
    assert second.is_healthy, second.text
    assert f"{method} holds the image already (verified" in second.text and "writing" not in second.text
    assert facts_of(second)["SHA-256 in the memory"] == facts_of(first)["SHA-256 in the memory"]


@pytest.mark.parametrize("method", ["nor", "disk"])
def test_flipped_bit_is_found_and_the_image_is_rewritten(method: str) -> None:
    assert run_boot_test(method).is_healthy
    flip_bit(method)
    run = run_boot_test(method)
    assert run.is_healthy, run.text
    assert f"{method} is marked as holding the image, but reads back " in run.text, run.text
    assert facts_of(run)["memory"] == f"{method}: written, read back right"


def test_killed_write_leaves_the_state_unknown_and_is_repeated() -> None:
    FlashState(UNIT).set_content("nor", "0" * 64)
    with no_leftovers() as temporary:
        with Gate(temporary, "--board", UNIT, "--boot", "nor", BOOT) as gate:
            while (begun := FlashState(UNIT).get("nor")) is None or begun.sha256:
                time.sleep(0.01)  # Python has no portable wait for a file that changes
            qemu = gate.find_qemu()
            os.kill(gate.pid, signal.SIGKILL)
            assert gate.wait().exit_status == -signal.SIGKILL
        await_exit(qemu)
        state = FlashState(UNIT).get("nor")
        assert state and state.sha256 is None
        with Gate(temporary, "--board", UNIT, "--boot", "nor", BOOT) as gate:
            run = gate.wait()
    assert run.is_healthy, run.text
    assert f"nor: unknown: a write was started and did not succeed, since {state.since}, by {state.user}" in run.text
    assert facts_of(run)["memory"] == "nor: written, read back right"


def test_memory_that_loses_data_is_a_lab_error() -> None:
    assert run_boot_test("disk").is_healthy
    memory = memory_file("disk")

    def overwrite() -> None:
        with memory.open("r+b") as file:
            file.write(b"worn")

    with repeating(overwrite):
        run = run_boot_test("disk")
    assert run.exit_status == 9, run.text
    assert "disk was written 2 times and reads back " in run.text and ", the CRC-32 of the image's file" in run.text
    assert not run.tests("failed") and not run.tests("passed")
    assert (state := FlashState(UNIT).get("disk")) and state.sha256 is None


def test_truncated_tftp_transfer_is_a_lab_error_and_nothing_is_written() -> None:
    FlashState(UNIT).set_content("nor", "0" * 64)
    with no_leftovers() as temporary, Gate(temporary, "--board", UNIT, "--boot", "nor", BOOT) as gate:

        def truncate() -> None:
            for file in temporary.glob("hil-*/tftp/hil-*/firmware"):
                if file.stat().st_size > 1 << 20:
                    os.truncate(file, 1 << 20)

        with repeating(truncate):
            run = gate.wait()
    assert run.exit_status == 9, run.text
    assert "TFTP: U-Boot fetched 1048576 bytes of firmware, which has " in run.text, run.text
    assert "e8; " not in run.text and not run.tests("failed")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("tftp", r"the bootloader is back at its prompt \(output: .*Bad Linux ARM64 Image magic!"),
        ("nor", "U-Boot: exit status 1 from 'unzip 6000000 .*': .*gzip"),
    ],
)
def test_image_of_another_board_is_reported_with_the_output_of_u_boot(
    tmp_path: Path, method: str, message: str
) -> None:
    for name in ("kernel", "initrd", "firmware"):
        (tmp_path / name).write_bytes(b"an image of another board" * 1000)
    run = run_boot_test(method, "--image", tmp_path)
    assert run.exit_status == 9, run.text
    ((_, reason),) = run.tests("error").items()
    assert re.search(message, reason), reason


def test_full_disk_on_the_board_is_a_lab_error(tmp_path: Path) -> None:
    built = build(None, None, print)
    (tmp_path / "kernel").symlink_to(built.kernel)
    (tmp_path / "initrd").symlink_to(built.initrd)
    with (tmp_path / "firmware").open("wb") as file:
        file.truncate(480 << 20)  # of 512 MiB that the board has
    run = run_boot_test("disk-linux", "--image", tmp_path)
    assert run.exit_status == 9, run.text
    assert f"flash: disk full on the board: /tmp of unit {UNIT} has " in run.text, run.text


def test_write_that_ends_in_a_restart_is_read_back_by_u_boot(tmp_path: Path) -> None:
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
    FlashState(OWN_UNIT).set_unknown("disk")
    with no_leftovers(OWN_UNIT) as temporary, Gate(temporary, "--board", board, "--boot", "disk", BOOT) as gate:
        run = gate.wait()
    shutil.rmtree(memory_file("disk", OWN_UNIT).parent)
    assert run.is_healthy, run.text
    assert "and restarting: dd if=" in run.text and facts_of(run)["memory"] == "disk: written, read back right"
