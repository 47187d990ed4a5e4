"""The table of troubles: what a lab and a product do to a run, and what comes of it. Each row is run on a bench.

More rows, which need other means: test_negative_kernel_faults.py (crash, reset, hang, no SSH, no network,
in the middle of vectors), test_negative_xdist.py (a unit dies beside another), test_negative_ends.py (a holder
killed with -9, a unit
held, QEMU killed), test_negative_misuse.py (what the host lacks), test_negative_flash.py (memories), and the faults
of virt.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gate_run import Gate, qemu_of
from own_lab import During, OwnLab, own_lab

from fixtures.power.qmp import QmpPower
from fixtures.virt.build import Built, build

BOOT = ("tests/test_boot.py",)
VECTORS = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or (openssl and CTR)")
FIRST = "-k the_image_boots"


@dataclass(frozen=True)
class Row:
    """A trouble, and what must come of it."""

    plant: Callable[[OwnLab], None]
    status: int
    """The run's exit status: 0 good, 1 the product is bad, 9 the lab is in trouble."""
    says: str
    """A regular expression that the reasons must match."""
    asked: tuple[str, ...] = BOOT
    during: During | None = None
    do: str = ""
    """What the board does in the middle of a test of vectors."""


def nothing(_lab: OwnLab) -> None:
    """Leave the lab as it is."""


def console(url: str) -> Callable[[OwnLab], None]:
    """Have the lab file name another console."""
    return lambda lab: lab.unit["console"].update(url=url)


def power(on: str, off: str = "true") -> Callable[[OwnLab], None]:
    """Have the mains switched by commands."""
    return lambda lab: lab.unit.update(power={"kind": "command", "on": on, "off": off, "settle": 0.1})


def stuck_on(lab: OwnLab) -> None:
    """Have a board that is on, and a switch that does nothing."""
    lab.ask(*BOOT)
    QmpPower(lab.made.qmp).on()
    power("true")(lab)


def another_host_key(lab: OwnLab) -> None:
    """Pin a key that the board does not have."""
    lab.unit["network"]["host_key"] = lab.another_key()[1]


def another_user_key(lab: OwnLab) -> None:
    """Log in with a key that the board does not know."""
    lab.unit["network"]["key_file"] = str(lab.another_key()[0])


def another_folder(lab: OwnLab) -> None:
    """Publish where the TFTP server does not look."""
    folder = lab.folder / "elsewhere"
    folder.mkdir()
    lab.unit["tftp"]["folder"] = str(folder)


def released(name: str, change: Callable[[bytes], bytes]) -> Callable[[OwnLab], None]:
    """Change a file of the image."""

    def plant(lab: OwnLab) -> None:
        path = lab.image / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(change(content))

    return plant


def kill_qemu(lab: OwnLab, _gate: Gate) -> None:
    """End the machine as a cable does that is pulled."""
    os.kill(qemu_of(str(lab.made.qmp)), signal.SIGKILL)


TABLE: dict[str, Row] = {
    # The lab's.
    "nobody listens at the console": Row(console("socket://127.0.0.1:9"), 9, "console .* cannot be opened: .*refused"),
    "the console is no serial line": Row(console("/dev/null"), 9, "console /dev/null cannot be opened"),
    "the console of nobody": Row(console("loop://"), 9, r"(?s)printed nothing within 10 s|answers on its console"),
    "the power's command fails": Row(power("echo fuse blown; false"), 9, "exit status 1 .* said: fuse blown"),
    "the power is stuck on": Row(stuck_on, 9, "power-off failed: .* still answers on its console"),
    "the power is stuck off": Row(power("true"), 9, "power-on failed: .* printed nothing within 10 s"),
    "the host key has changed": Row(another_host_key, 9, "host key"),
    "the board does not know the key": Row(another_user_key, 9, "(?i)authentication"),
    "the TFTP server has another folder": Row(another_folder, 9, "(?s)U-Boot: exit status .*File not found"),
    "the machine is gone while it boots": Row(
        nothing, 9, "console was lost|no answer at", during=("switching on", kill_qemu)
    ),
    "the kernel is none": Row(
        released("kernel", lambda old: bytes(4096) + old[4096:]), 9, "(?s)kernel's first line did not come.*Bad Linux"
    ),
    # The product's.
    "the initrd is none": Row(released("initrd", lambda _: bytes(4096)), 1, "kernel panic.*root fs"),
    "the board's disk is full": Row(nothing, 1, "(?i)no space left", VECTORS, do="dd if=/dev/zero of=/tmp/full bs=1M"),
    # Nobody's: a run goes on.
    "the kernel floods its console": Row(
        nothing, 0, "", VECTORS, do="while :; do echo flood >/dev/kmsg; done </dev/null >/dev/null 2>&1 &"
    ),
}


@pytest.fixture(scope="module")
def built() -> Built:
    """The healthy image."""
    return build(None, None, print)


@pytest.fixture
def lab(built: Built) -> Iterator[OwnLab]:
    """A bench."""
    with own_lab(built) as made:
        yield made


@pytest.mark.parametrize("name", TABLE)
def test_the_trouble_is_told_as_what_it_is_and_the_unit_is_usable_afterwards(lab: OwnLab, name: str) -> None:
    row = TABLE[name]
    row.plant(lab)
    options: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    if row.do:
        options = ("-p", "kernel_fault_plugin")
        environment = {
            "PYTHONPATH": str(Path(__file__).parent),
            "TROUBLE_DO": row.do,
            "TROUBLE_AT": "test_a_command_runs",
        }
    run = lab.ask(*row.asked, *options, during=row.during, **environment)
    reasons = "\n".join([*run.tests("error").values(), *run.tests("failed").values()])
    assert run.status == row.status, run.text
    assert re.search(row.says, reasons), run.text
    outcome = {0: "passed", 1: "failed", 9: "error"}[row.status]
    assert run.tests(outcome) and not (row.status == 9 and run.tests("failed")), run.text
    if row.during and row.during[1] is kill_qemu:
        return  # this unit is gone; the next row has another
    lab.restore()
    after = lab.ask(*BOOT)
    assert after.status == 0, after.text
