"""An image counts as written only after it was read back, and an interrupted write leaves the state unknown."""

import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from local_shell import LocalShell
from simulated_board import SimulatedBoard

from fixtures.boot import boot_methods
from fixtures.boot import flash as flash_room
from fixtures.boot.bringup import BringUp
from fixtures.boot.flash import flash_and_boot
from fixtures.boot.image import Image
from fixtures.lab.board import Board, Flash, load_board
from fixtures.lab.flash_state import FlashState
from fixtures.lab.labfile import Console as ConsoleEntry
from fixtures.lab.labfile import Tftp, Unit
from fixtures.link import private_folder
from fixtures.link.console import Console
from fixtures.link.serial_shell import SerialShell
from fixtures.outcome import LabError, UsageError

CONTENT = b"an image of some bytes" * 100
SHA256 = sha256(CONTENT).hexdigest()
CRC = f"{zlib.crc32(CONTENT):08x}"


def flash_methods(folder: Path) -> dict[str, Flash]:
    """Return flash methods: `spi` by U-Boot, `disk` by Linux, and `upgrade` by Linux, which then restarts."""
    read_back = ("crc32 {itb_size}",)
    file = folder / "disk"
    by_linux = (f"cat {{itb}} >{file}",)
    restart = f"cat {{itb}} >{folder}/spi && touch {folder}/restart"
    return {
        "spi": Flash(
            at="u-boot", image="itb", write=("tftpboot {itb}", "sf write"), read_back=read_back, boot=("booti spi",)
        ),
        "disk": Flash(at="linux", image="itb", write=by_linux, read_back=(f"sha256sum <{file}",), boot=("booti disk",)),
        "upgrade": Flash(
            at="linux", image="itb", write=(restart,), read_back=read_back, boot=("booti spi",), restarts=True
        ),
    }


class FlashBoard(SimulatedBoard):
    """Board with a memory `spi` in a file. The next `writes_to_spoil` writes to it flip one bit."""

    def __init__(self, folder: Path) -> None:
        """Keep the memory in this folder."""
        super().__init__()
        self.writes_to_spoil = 0
        self.ran: list[str] = []
        self._folder = folder
        self._ram = b""

    def _run_commands(self, epoch: int, line: str) -> bool:
        command, _, rest = line.partition(";")
        self.ran.append(command)
        if command.split()[0] not in ("tftpboot", "sf", "crc32"):
            return super()._run_commands(epoch, line)
        output, status = self._run(*command.split())
        self._print(epoch, output + "\r\n" + rest.replace("echo", "").strip().replace("$?", str(status)) + "\r\n")
        return True

    def _run(self, name: str, argument: str) -> tuple[str, int]:
        memory = self._folder / "spi"
        if name == "tftpboot":
            self._ram = (self._folder / "tftp" / argument).read_bytes()
        elif name == "sf":
            spoils = self.writes_to_spoil > 0
            self.writes_to_spoil -= spoils
            memory.write_bytes(bytes([self._ram[0] ^ spoils]) + self._ram[1:])
        elif not memory.exists():
            return "no memory", 1
        else:
            return f"crc32 for 40400000 ... 404007ff ==> {zlib.crc32(memory.read_bytes()[: int(argument, 16)]):08x}", 0
        return "", 0


@dataclass
class SimulatedSwitch:
    """Power switch of a simulated board."""

    board: SimulatedBoard
    settle: float = 0.0
    is_verified: bool = True

    def on(self) -> None:
        """Power the board on."""
        self.board.on()

    def off(self) -> None:
        """Power the board off."""
        self.board.off()


@dataclass
class Bench:
    """Simulated unit with a flash state of its own."""

    folder: Path
    board: FlashBoard
    bring_up: BringUp
    flash_state: FlashState
    steps: list[str] = field(default_factory=list)
    facts: dict[str, str | float] = field(default_factory=dict)

    def flash(self, method: str) -> None:
        """Write the image to a memory, unless it holds the image already, and boot from there."""
        self.board.ran.clear()
        self.steps.clear()

        def progress(step: str, share: float) -> None:
            assert 0 <= share <= 1
            self.steps.append(step)

        flash_and_boot(
            self.bring_up, method, lambda: closing(SerialShell(self.bring_up.console)), self.flash_state, progress
        )

    def recorded_sha256(self, method: str) -> str | None:
        """Return the SHA-256 that a memory is recorded to hold; None: unknown."""
        state = self.flash_state.get(method)
        assert state
        return state.sha256


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Simulated unit of the board virt with the memories of this module."""
    for module in (flash_room, private_folder):
        monkeypatch.setattr(module, "PARENT", str(tmp_path))
    with simulated_unit(tmp_path) as bench:
        yield bench


@contextmanager
def simulated_unit(folder: Path) -> Iterator[Bench]:
    """Create an image and a simulated unit, which keep their files in a folder."""
    (folder / "tftp").mkdir()
    for name in ("kernel", "initrd", "itb"):
        (folder / name).write_bytes(CONTENT)
    with FlashBoard(folder) as line, Console(line.url, 115200, folder / "console.log") as console:
        unit = Unit(
            name="0",
            board="virt",
            console=ConsoleEntry(url=line.url),
            tftp=Tftp(server="10.0.2.2", folder=folder / "tftp"),
        )
        board = load_board("virt", Path(__file__).parents[2] / "boards")
        board = board.model_copy(
            update={"flash": flash_methods(folder), "boot": {"tftp": ("tftpboot {kernel}", "booti ram")}}
        )
        image = Image("release", {name: folder / name for name in ("kernel", "initrd", "itb")})
        facts: dict[str, str | float] = {}
        bring_up = BringUp(unit, board, image, SimulatedSwitch(line), console, facts.__setitem__)
        yield Bench(folder, line, bring_up, FlashState("virt/0", folder / "leases"), facts=facts)


def test_uboot_writes_verifies_and_boots_the_image(simulated: Bench) -> None:
    simulated.flash("spi")
    assert simulated.board.ran == ["version", "tftpboot hil-0/itb", "sf write", f"crc32 {len(CONTENT):x}", "booti spi"]
    assert simulated.recorded_sha256("spi") == SHA256
    assert simulated.steps[0] == "spi: content unknown; writing it"
    assert simulated.facts["memory"] == "spi: written, read back right"
    assert simulated.facts["SHA-256 in the memory"] == SHA256
    assert simulated.facts["bytes in the memory"] == len(CONTENT)


def test_image_already_in_the_memory_is_verified_and_not_written(simulated: Bench) -> None:
    simulated.flash("spi")
    simulated.flash("spi")
    assert simulated.board.ran == ["version", f"crc32 {len(CONTENT):x}", "booti spi"]
    assert simulated.steps[-2] == "spi holds the image already (verified by reading it back)"
    assert simulated.facts["memory"] == "spi: held it already, read back right"


def test_different_image_in_the_memory_is_overwritten(simulated: Bench) -> None:
    simulated.flash_state.set_content("spi", "0" * 64)
    simulated.flash("spi")
    assert "sf write" in simulated.board.ran and simulated.steps[0].startswith("spi: holds another image: ")
    assert simulated.recorded_sha256("spi") == SHA256


def test_image_is_written_if_the_memory_differs_from_its_flash_state(simulated: Bench) -> None:
    simulated.flash("spi")
    (simulated.folder / "spi").write_bytes(b"\0" + CONTENT[1:])
    simulated.flash("spi")
    assert "spi is marked as holding the image, but reads back" in simulated.steps[1]
    assert "sf write" in simulated.board.ran and (simulated.folder / "spi").read_bytes() == CONTENT


def test_interrupted_write_is_reported_and_repeated(simulated: Bench) -> None:
    simulated.flash("spi")
    simulated.flash_state.set_unknown("spi")
    simulated.flash("spi")
    assert simulated.steps[0].startswith("spi: unknown: a write was started and did not succeed, since 20")
    assert "sf write" in simulated.board.ran and simulated.recorded_sha256("spi") == SHA256


def test_failed_verification_is_followed_by_a_second_write(simulated: Bench) -> None:
    simulated.board.writes_to_spoil = 1
    simulated.flash("spi")
    assert simulated.board.ran.count("sf write") == 2 and simulated.recorded_sha256("spi") == SHA256
    assert simulated.facts["memory"] == "spi: written 2 times, read back right"


def test_second_failed_verification_is_a_lab_error_without_a_boot(simulated: Bench) -> None:
    simulated.board.writes_to_spoil = 2
    spoiled_crc = f"{zlib.crc32(bytes([CONTENT[0] ^ 1]) + CONTENT[1:]):08x}"
    message = (
        rf"^flash: unit virt/0: spi was written 2 times and reads back {spoiled_crc}; expected {CRC}, the CRC-32 of"
    )
    with pytest.raises(LabError, match=message):
        simulated.flash("spi")
    assert simulated.recorded_sha256("spi") is None and simulated.board.ran[-1].startswith("crc32")


def test_flash_state_is_unknown_before_the_first_byte_is_written(
    simulated: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated.flash("spi")
    monkeypatch.setattr(simulated.board, "_run", lambda *_: ("the memory does not answer", 1))
    simulated.flash_state.set_content("spi", "0" * 64)
    with pytest.raises(
        LabError, match=r"^U-Boot: exit status 1 from 'tftpboot hil-0/itb': the memory does not answer$"
    ):
        simulated.flash("spi")
    assert simulated.recorded_sha256("spi") is None


def test_unit_is_power_cycled_after_linux_wrote_the_memory(simulated: Bench) -> None:
    simulated.flash("disk")
    assert simulated.board.starts == 2
    assert simulated.board.ran == ["version", "tftpboot hil-0/kernel", "booti ram", "version", "booti disk"]
    assert (simulated.folder / "disk").read_bytes() == CONTENT and simulated.recorded_sha256("disk") == SHA256
    assert simulated.facts["memory"] == "disk: written, read back right"


def test_failed_verification_in_linux_is_a_lab_error(simulated: Bench) -> None:
    flash = simulated.bring_up.board.flash["disk"]
    worn = flash.model_copy(update={"write": (*flash.write, f"echo >>{simulated.folder}/disk")})
    simulated.bring_up.board = simulated.bring_up.board.model_copy(update={"flash": {"disk": worn}})
    with pytest.raises(LabError, match=rf"disk was written 2 times and reads back [0-9a-f]{{64}}; expected {SHA256}"):
        simulated.flash("disk")
    assert simulated.recorded_sha256("disk") is None and simulated.board.starts == 1


def test_full_disk_is_a_lab_error_before_the_file_is_copied(simulated: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_room, "MIN_FREE_SPACE", 1 << 60)
    with pytest.raises(
        LabError, match=r"^flash: disk full on the board: .* bytes free, and the image's file 'itb' needs"
    ):
        simulated.flash("disk")
    assert not list(simulated.folder.glob("hil-*")) and simulated.recorded_sha256("disk") is None


@pytest.mark.parametrize("printed", [f"MemAvailable: {'9' * 5000} kB", f"tmpfs 1 2 {'9' * 5000} 3% /tmp", "x" * 5000])
def test_impossible_free_space_is_a_lab_error(printed: str) -> None:
    with pytest.raises(LabError, match=r"^flash: cannot determine the free space in .* from df's output: ") as caught:
        flash_room._free_space(LocalShell(replace={"df -Pk": f"echo '{printed}'"}))
    assert len(str(caught.value)) < 500


def test_failing_write_command_in_linux_is_a_lab_error(simulated: Bench) -> None:
    broken = simulated.bring_up.board.flash["disk"].model_copy(update={"write": ("echo no such memory >&2; exit 3",)})
    simulated.bring_up.board = simulated.bring_up.board.model_copy(update={"flash": {"disk": broken}})
    with pytest.raises(LabError, match=r"^flash: exit status 3 on the board from .*: no such memory$"):
        simulated.flash("disk")


def test_write_that_restarts_the_board_is_verified_by_uboot(simulated: Bench) -> None:
    def restart() -> None:
        while not (simulated.folder / "restart").exists():
            time.sleep(0.02)
        simulated.board.reset()

    watcher = threading.Thread(target=restart, daemon=True)
    watcher.start()
    simulated.flash("upgrade")
    watcher.join(5)
    assert simulated.board.starts == 2
    assert simulated.board.ran[2:] == ["booti ram", f"crc32 {len(CONTENT):x}", "booti spi"]
    assert simulated.recorded_sha256("upgrade") == SHA256


def test_read_back_without_a_checksum_is_a_lab_error(simulated: Bench) -> None:
    mute = simulated.bring_up.board.flash["spi"].model_copy(update={"read_back": ("setenv x",)})
    simulated.bring_up.board = simulated.bring_up.board.model_copy(update={"flash": {"spi": mute}})
    with pytest.raises(
        LabError, match=r"^flash: no checksum in the output of 'setenv x', the last line of `read_back` under"
    ):
        simulated.flash("spi")


# Boot methods and flash state


def test_unknown_method_and_image_without_its_file_are_refused(simulated: Bench) -> None:
    board: Board = simulated.bring_up.board
    with pytest.raises(
        UsageError,
        match=r"^--boot sip: board virt has no such boot or flash method; there are: tftp, spi, disk, upgrade;",
    ):
        boot_methods.check(board, "sip", None)
    with pytest.raises(UsageError, match=r"writes the file 'itb' of the image, but the image has only initrd, kernel$"):
        boot_methods.check(board, "spi", ["kernel", "initrd"])
    with pytest.raises(UsageError, match=r"unknown placeholder \{kernel\}; known are \{itb\}, \{server\}$"):
        boot_methods.check(board, "disk", ["itb"])
    boot_methods.check(board, "spi", ["itb"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"spi": 1}', '{"spi": {"sha256": "x", "user": "a", "since": "b"}}'])
def test_unreadable_flash_state_is_unknown(tmp_path: Path, text: str) -> None:
    flash_state = FlashState("virt/0", tmp_path / "leases")
    flash_state.set_content("spi", SHA256)
    (file,) = (tmp_path / "leases").iterdir()
    assert flash_state.get("spi") and file.stat().st_mode & 0o777 == 0o666
    file.write_text(text)
    assert flash_state.get("spi") is None
    flash_state.set_unknown("spi")
    assert (state := flash_state.get("spi")) and state.sha256 is None


def test_flash_state_of_other_memories_and_units_is_kept(tmp_path: Path) -> None:
    flash_state = FlashState("virt/0", tmp_path / "leases")
    flash_state.set_content("disk", SHA256)
    flash_state.set_unknown("spi")
    assert (state := flash_state.get("disk")) and state.sha256 == SHA256
    assert FlashState("virt/1", tmp_path / "leases").get("disk") is None


def test_flash_state_file_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    flash_state = FlashState("virt/0", tmp_path / "leases")
    flash_state.set_content("spi", SHA256)
    (file,) = (tmp_path / "leases").iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LabError, match="the recorded state of the unit's memories"):
        flash_state.set_unknown("spi")
    assert SHA256 in (tmp_path / "elsewhere").read_text()
