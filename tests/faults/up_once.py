"""A healthy board that was booted once: faults in files that are read after the boot are put on it and taken off."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from gate_run import ROOT, Run
from own_lab import OwnLab, own_lab

from fixtures.boot import boot_methods
from fixtures.boot.bringup import BringUp
from fixtures.boot.image import Image
from fixtures.gate.leased_unit import over_ssh
from fixtures.lab.board import load_board
from fixtures.lab.labfile import load_lab
from fixtures.link.console import Console
from fixtures.outcome import LabError, ProductError
from fixtures.power.switch import create_power_switch
from fixtures.virt.build import Built, build
from fixtures.virt.faults import Fault
from fixtures.virt.layout import LIBRARIES

KEYS = ("etc/dropbear/*", "root/.ssh/*")
"""Each image has its own."""
READ_LATER = (f"{LIBRARIES}/*", "etc/ssl/*", "usr/lib/modules/*/extra/cryptodev.ko")
"""What nothing has read yet when the board is up: the gate itself loads cryptodev."""


class UpOnce:
    """The board, and the tree that it was booted with."""

    def __init__(self, lab: OwnLab, folder: Path) -> None:
        """Boot it."""
        self._lab, self._healthy = lab, folder / "healthy"
        _unpack(lab.built, self._healthy)
        self._boot()

    def ask(self, fault: Fault, *arguments: str) -> Run | None:
        """Ask the board with a fault; None where it takes a boot of its own, or the board came to harm."""
        if fault.no_accelerator:
            return None
        with TemporaryDirectory() as folder:
            bad = Path(folder) / "bad"
            _unpack(build(None, fault, print), bad)
            files = _differences(self._healthy, bad)
            if not all(_is_any(name, READ_LATER) for name in files):
                return None
            self._put(bad, files)
        run = self._lab.ask(*arguments)
        try:
            self._put(self._healthy, files)
        except (LabError, ProductError):
            self._boot()
        return None if run.of("recovery") else run

    def ask_healthy(self, *arguments: str) -> Run:
        """Ask the board as it was booted."""
        return self._lab.ask(*arguments)

    def _boot(self) -> None:
        """Bring it up; from then on its lab file knows of no power, so that no gate boots it."""
        self._lab.restore()
        unit = load_lab(self._lab.write()).units[0]
        assert unit.console and unit.power
        board = load_board(str(self._lab.folder / "bench.yaml"), ROOT / "boards")
        with Console(unit.console.url, unit.console.baud, self._lab.folder / "console.log") as console:
            image, switch = Image.from_folder(self._lab.image), create_power_switch(unit.power, unit.id)
            BringUp(unit, board, image, switch, console, lambda _name, _value: None).boot(boot_methods.default(board))
        del self._lab.unit["power"]

    def _put(self, tree: Path, files: list[str]) -> None:
        """Have these files on the board as they are in a tree, and cryptodev not loaded."""
        network = load_lab(self._lab.write()).units[0].network
        assert network
        with closing(over_ssh(network)) as shell:
            for name in files:
                shell.run(f"rm -f '/{name}'").check()
                if (tree / name).exists():
                    shell.put((tree / name).read_bytes(), f"/{name}")
            shell.run("rmmod cryptodev 2>/dev/null; ! grep -q '^cryptodev ' /proc/modules").check()


@contextmanager
def up_once() -> Iterator[UpOnce]:
    """Give the board; its machine is gone afterwards."""
    with TemporaryDirectory() as folder, own_lab(build(None, None, print)) as lab:
        yield UpOnce(lab, Path(folder))


def _unpack(built: Built, into: Path) -> None:
    into.mkdir()
    with built.initrd.open("rb") as archive:
        command = ["cpio", "--extract", "--make-directories", "--no-preserve-owner", "--quiet"]
        subprocess.run(command, stdin=archive, cwd=into, check=True)


def _differences(one: Path, other: Path) -> list[str]:
    """The files that are not the same in two trees, or are in one of them alone; keys aside."""
    names = {str(path.relative_to(tree)) for tree in (one, other) for path in tree.rglob("*") if path.is_file()}
    return sorted(it for it in names if not _is_any(it, KEYS) and _content(one / it) != _content(other / it))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _is_any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
