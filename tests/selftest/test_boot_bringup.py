"""Bring-up runs every step from power-on to a login in order, and refuses user mistakes before power-off."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from console_player import LINUX, Player, UBootPlayer, on_pty, play_linux
from ssh_server import make_key_file

from fixtures.boot import boot_methods
from fixtures.boot import power_cycle as power_cycle_module
from fixtures.boot.bringup import BringUp
from fixtures.boot.image import Image
from fixtures.lab.board import Board, load_board
from fixtures.lab.labfile import Command, Network, Tftp, Unit
from fixtures.lab.labfile import Console as ConsoleEntry
from fixtures.link.console import Console
from fixtures.outcome import LabError, ProductError, UsageError
from fixtures.power.switch import create_power_switch

BOARD = load_board("virt", Path(__file__).parents[2] / "boards")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIkQfYHZFv/6rYDM8ogk2l1QZr6GvEjFnfJSQvzJwvwO"


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts: the simulated unit answers at once."""
    monkeypatch.setattr(power_cycle_module, "KEYPRESS_TIMEOUT", 0.3)


@dataclass
class Bench:
    """A unit in a folder: its power commands append to a file, its TFTP server serves a folder."""

    folder: Path
    unit: Unit
    line: Player
    board: UBootPlayer

    def bring_up(self, board: Board = BOARD, unit: Unit | None = None) -> dict[str, str | float]:
        """Bring the unit up; return the recorded facts."""
        facts: dict[str, str | float] = {}
        assert self.unit.power
        switch = create_power_switch(self.unit.power, self.unit.id)
        with Console(self.line.url, 115200, self.folder / "console.log") as console:
            boot_steps = BringUp(unit or self.unit, board, self.image(), switch, console, facts.__setitem__)
            boot_steps.boot(boot_methods.default(board))
        return facts

    def image(self) -> Image:
        """Return an image of two files."""
        return Image("release", {name: self.folder / name for name in ("kernel", "initrd")})

    def power_commands(self) -> list[str]:
        """Return the power commands that were run, in order."""
        return (self.folder / "power").read_text().split()


@contextmanager
def prepared_unit(folder: Path, *, on: str = "true", kernel: Callable[[Player], None] = play_linux) -> Iterator[Bench]:
    """Prepare a unit whose power-on also runs `on`, and whose `booti` starts `kernel`; yield it powered off."""
    for name in ("kernel", "initrd"):
        (folder / name).write_text(name)
    (folder / "tftp").mkdir()
    power_log = folder / "power"
    power_log.touch()
    with on_pty() as line:
        board = UBootPlayer(line, linux=kernel)
        unit = Unit(
            name="bench-1",
            board="virt",
            console=ConsoleEntry(url=line.url),
            power=Command(on=f"echo on >> {power_log}; {on}", off=f"echo off >> {power_log}", settle=0.05),
            network=Network(address="127.0.0.1", key_file=make_key_file(folder / "key"), host_key=HOST_KEY),
            tftp=Tftp(server="10.0.2.2", folder=folder / "tftp"),
        )
        stop = threading.Event()

        def wait_for_power() -> None:
            while not stop.is_set():
                if power_log.read_text().endswith("on\n"):
                    board.start()
                    return
                line.receive_key(0.01)  # discarded, as by a board without power

        waiting = threading.Thread(target=wait_for_power, daemon=True)
        waiting.start()
        yield Bench(folder, unit, line, board)
        stop.set()
        waiting.join(5)
        line.hang_up()
        if board.ident:
            board.join(5)
        assert board.failure is None


def test_boot_runs_from_power_on_to_a_login(tmp_path: Path) -> None:
    with prepared_unit(tmp_path) as bench:
        facts = bench.bring_up()
        assert bench.power_commands() == ["off", "on"]
        assert bench.board.ran[:2] == ["version", "setenv autoload no"]
        assert "tftpboot ${kernel_addr_r} hil-bench-1/kernel" in bench.board.ran
        assert "tftpboot ${ramdisk_addr_r} hil-bench-1/initrd" in bench.board.ran
        assert bench.board.ran[-1].startswith("booti ")
        assert (tmp_path / "tftp/hil-bench-1/kernel").read_text() == "kernel"
    seconds = {name: float(value) for name, value in facts.items() if name.startswith("seconds ")}
    times = [value for name, value in seconds.items() if name.startswith("seconds from power-on to")]
    assert list(facts)[:3] == ["seconds from power-on to the bootloader's prompt", "U-Boot", list(facts)[2]]
    assert facts["U-Boot"] == "U-Boot 2023.01+dfsg-2"
    assert len(times) == 3
    assert times == sorted(times)
    assert 0 < seconds["seconds of harness latency during the boot"] < 1


def test_kernel_panic_is_a_product_failure_at_once(tmp_path: Path) -> None:
    def panic(line: Player) -> None:
        line.send_bytes(LINUX[:5000].encode() + b"\r\n[    2.1] Kernel panic - not syncing: no init found\r\n")

    started = time.monotonic()
    with prepared_unit(tmp_path, kernel=panic) as bench, pytest.raises(ProductError, match=r"^kernel panic, seen on"):
        bench.bring_up()
    assert time.monotonic() - started < 10, "the boot waited for a login in spite of the panic"


def test_bootloader_without_a_version_is_booted(tmp_path: Path) -> None:
    with prepared_unit(tmp_path) as bench:
        bench.board._commands["version"] = ("", 0)
        assert bench.bring_up()["U-Boot"] == "unknown"


def test_impossible_size_of_a_fetched_file_is_a_lab_error(tmp_path: Path) -> None:
    with prepared_unit(tmp_path) as bench:
        bench.board._commands["tftpboot"] = (f"Bytes transferred = {'9' * 5000}\r\n", 0)
        with pytest.raises(LabError, match=r"^TFTP: U-Boot fetched 9{20} bytes of kernel, which has 6"):
            bench.bring_up()


def test_failing_power_command_is_a_lab_error(tmp_path: Path) -> None:
    message = r"power: exit status 3 from .* \(output: \d+\)"
    with (
        prepared_unit(tmp_path, on="expr 40 + 2 >&2; exit 3") as bench,
        pytest.raises(LabError, match=message),
    ):
        bench.bring_up()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"boot": {"tftp": ("tftpboot {dtb}",)}}, "unknown placeholder {dtb}; known are {initrd}, {kernel}, {server}"),
    ],
)
def test_boot_command_with_an_unknown_placeholder_is_refused_before_power_off(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    with prepared_unit(tmp_path) as bench:
        with pytest.raises(UsageError) as caught:
            bench.bring_up(BOARD.model_copy(update=change))
        assert expected in str(caught.value)
        assert bench.power_commands() == []


def test_unit_without_tftp_is_refused_before_power_off(tmp_path: Path) -> None:
    with prepared_unit(tmp_path) as bench:
        with pytest.raises(
            UsageError, match="unit virt/bench-1: no `tftp` in the lab file, and board virt boots by TFTP"
        ):
            bench.bring_up(unit=bench.unit.model_copy(update={"tftp": None}))
        assert bench.power_commands() == []
