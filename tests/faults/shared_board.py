"""A healthy board that is booted once. Faults in files that are read after the boot are copied to it and removed."""

import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from gate_run import ROOT, GateResult
from own_lab import OwnLab, own_lab

from fixtures.boot import boot_methods
from fixtures.boot.bringup import BringUp
from fixtures.boot.image import Image
from fixtures.gate.leased_unit import connect_over_ssh
from fixtures.lab.board import load_board
from fixtures.lab.labfile import load_lab
from fixtures.link.console import Console
from fixtures.outcome import LabError, ProductError
from fixtures.power.switch import create_power_switch
from fixtures.virt.build import Built, build
from fixtures.virt.faults import Fault
from fixtures.virt.layout import LIBRARIES

KEY_FILES = ("etc/dropbear/*", "root/.ssh/*")
"""Patterns of the files that each build of an image creates anew."""
REPLACEABLE_FILES = (f"{LIBRARIES}/*", "etc/ssl/*", "usr/lib/modules/*/extra/cryptodev.ko")
"""Patterns of the files that the boot does not read. The gate itself loads cryptodev."""


class SharedBoard:
    """A booted board, and the files of the image that it was booted with."""

    def __init__(self, lab: OwnLab, folder: Path) -> None:
        """Boot the board."""
        self._lab, self._healthy = lab, folder / "healthy"
        _unpack(lab.built, self._healthy)
        self._boot()

    def run_gate(self, fault: Fault, *arguments: str) -> GateResult | None:
        """Run the gate on the board with a fault.

        Return None if the fault needs a boot of its own, or if the gate had to recover the board.
        """
        if fault.needs_own_machine:
            return None
        with TemporaryDirectory() as folder:
            faulty = Path(folder) / "faulty"
            _unpack(build(None, fault, print), faulty)
            files = _list_differences(self._healthy, faulty)
            if not all(_matches(name, REPLACEABLE_FILES) for name in files):
                return None
            self._copy_files(faulty, files)
        run = self._lab.run_gate(*arguments)
        try:
            self._copy_files(self._healthy, files)
        except (LabError, ProductError):
            self._boot()
        return None if run.records_of("recovery") else run

    def run_gate_healthy(self, *arguments: str) -> GateResult:
        """Run the gate on the board without a fault."""
        return self._lab.run_gate(*arguments)

    def _boot(self) -> None:
        """Boot the board, and remove `power` from its lab file, so that no gate boots it again."""
        self._lab.restore()
        unit = load_lab(self._lab.write_lab_file()).units[0]
        assert unit.console and unit.power
        board = load_board(str(self._lab.folder / "bench.yaml"), ROOT / "boards")
        with Console(unit.console.url, unit.console.baud, self._lab.folder / "console.log") as console:
            image, switch = Image.from_folder(self._lab.image), create_power_switch(unit.power, unit.id)
            BringUp(unit, board, image, switch, console, lambda _name, _value: None).boot(boot_methods.default(board))
        del self._lab.unit["power"]

    def _copy_files(self, tree: Path, files: list[str]) -> None:
        """Make these files on the board equal to those in a tree, and unload cryptodev."""
        network = load_lab(self._lab.write_lab_file()).units[0].network
        assert network
        with closing(connect_over_ssh(network)) as shell:
            for name in files:
                shell.run(f"rm -f '/{name}'").check()
                if (tree / name).exists():
                    mode = stat.S_IMODE((tree / name).stat().st_mode)
                    shell.put((tree / name).read_bytes(), f"/{name}", mode=mode)
            shell.run("rmmod cryptodev 2>/dev/null; ! grep -q '^cryptodev ' /proc/modules").check()


@contextmanager
def shared_board() -> Iterator[SharedBoard]:
    """Yield a booted board. Its virtual machine ends with the context."""
    with TemporaryDirectory() as folder, own_lab(build(None, None, print)) as lab:
        yield SharedBoard(lab, Path(folder))


def _unpack(built: Built, into: Path) -> None:
    """Unpack the RAM disk of an image into a new folder."""
    into.mkdir()
    with built.initrd.open("rb") as archive:
        command = ["cpio", "--extract", "--make-directories", "--no-preserve-owner", "--quiet"]
        subprocess.run(command, stdin=archive, cwd=into, check=True)


def _list_differences(one: Path, other: Path) -> list[str]:
    """Return the files that differ between two trees, or are in one of them only, except for keys."""
    names = {str(path.relative_to(tree)) for tree in (one, other) for path in tree.rglob("*") if path.is_file()}
    return sorted(
        name
        for name in names
        if not _matches(name, KEY_FILES) and _read_content(one / name) != _read_content(other / name)
    )


def _read_content(path: Path) -> tuple[int, bytes] | None:
    """Return mode and content of a file, None if there is no such file."""
    return (path.stat().st_mode, path.read_bytes()) if path.is_file() else None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
