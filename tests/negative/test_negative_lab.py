"""Faults of the lab and of the product, and the outcome of the run. Each row runs the gate on a unit of a lab file.

Other faults are tested elsewhere: test_negative_kernel_faults.py (crash, reset, hang, no SSH, no network, during
vectors), test_negative_xdist.py (a unit is lost beside another), test_negative_ends.py (a held unit, a holder killed by
SIGKILL, QEMU killed), test_negative_misuse.py (what the host lacks), test_negative_flash.py (memories), and
test_negative_injected_faults.py (faults of the image).
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gate_run import Gate, find_qemu
from own_lab import During, OwnLab, own_lab

from fixtures.power.qmp import QmpPower
from fixtures.virt.build import Built, build

BOOT = ("tests/test_boot.py",)
VECTORS = ("tests/test_boot.py", "tests/test_aes.py", "-k", "boot or (openssl and CTR)")


@dataclass(frozen=True)
class Row:
    """A fault, and the expected outcome."""

    inject: Callable[[OwnLab], None]
    status: int
    """Expected exit status: 2 every test passed, in a selection; 1 the product is bad; 9 the lab is bad."""
    reason: str
    """Regular expression that matches in the reasons of the tests that failed or ended with an error."""
    arguments: tuple[str, ...] = BOOT
    during: During | None = None
    on_board: str = ""
    """Shell command that the board runs during the last test of test_boot.py."""


def change_nothing(_lab: OwnLab) -> None:
    """Change nothing."""


def set_console_url(url: str) -> Callable[[OwnLab], None]:
    """Replace the console's URL."""
    return lambda lab: lab.unit["console"].update(url=url)


def set_power_commands(on: str, off: str = "true") -> Callable[[OwnLab], None]:
    """Control power by two commands of the host."""
    return lambda lab: lab.unit.update(power={"kind": "command", "on": on, "off": off, "settle": 0.1})


def leave_power_stuck_on(lab: OwnLab) -> None:
    """Leave the board powered on, with a power control that does nothing."""
    lab.run_gate(*BOOT)
    QmpPower(lab.machine.qmp).on()
    set_power_commands("true")(lab)


def pin_another_host_key(lab: OwnLab) -> None:
    """Pin a host key that the board does not have."""
    lab.unit["network"]["host_key"] = lab.generate_key()[1]


def log_in_with_another_key(lab: OwnLab) -> None:
    """Log in with a key that the board does not accept."""
    lab.unit["network"]["key_file"] = str(lab.generate_key()[0])


def use_unserved_tftp_folder(lab: OwnLab) -> None:
    """Put the image into a folder that the TFTP server does not serve."""
    folder = lab.folder / "elsewhere"
    folder.mkdir()
    lab.unit["tftp"]["folder"] = str(folder)


def replace_image_file(name: str, change: Callable[[bytes], bytes]) -> Callable[[OwnLab], None]:
    """Replace a file of the image."""

    def inject(lab: OwnLab) -> None:
        path = lab.image / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(change(content))

    return inject


def kill_qemu(lab: OwnLab, _gate: Gate) -> None:
    """Kill QEMU: the unit is gone, as when its cables are pulled."""
    os.kill(find_qemu(str(lab.machine.qmp)), signal.SIGKILL)


TABLE: dict[str, Row] = {
    # Faults of the lab.
    "console server is down": Row(set_console_url("socket://127.0.0.1:9"), 9, "console .* cannot be opened: .*refused"),
    "console is not a serial device": Row(set_console_url("/dev/null"), 9, "console /dev/null cannot be opened"),
    "console is not connected": Row(
        set_console_url("loop://"), 9, r"(?s)printed nothing within 10 s|answers on its console"
    ),
    "power command fails": Row(
        set_power_commands("expr 40 + 2; false"), 9, r"exit status 1 from 'expr …' .*\(output: 42"
    ),
    "power is stuck on": Row(leave_power_stuck_on, 9, "power-off failed: .* still answers on its console"),
    "power is stuck off": Row(set_power_commands("true"), 9, "power-on failed: .* printed nothing within 10 s"),
    "host key has changed": Row(pin_another_host_key, 9, "host key"),
    "board refuses the key": Row(log_in_with_another_key, 9, "(?i)authentication"),
    "TFTP server serves another folder": Row(use_unserved_tftp_folder, 9, "(?s)U-Boot: exit status .*File not found"),
    "machine dies during boot": Row(
        change_nothing, 9, "console was lost|no answer at", during=("powering on", kill_qemu)
    ),
    "kernel file is not a kernel": Row(
        replace_image_file("kernel", lambda old: bytes(4096) + old[4096:]),
        9,
        "(?s)kernel's first line did not come.*Bad Linux",
    ),
    "disk of the board is full": Row(
        change_nothing, 9, "(?is)no space left.*df -Pk", VECTORS, on_board="dd if=/dev/zero of=/tmp/full bs=1M"
    ),
    # Faults of the product.
    "initrd file is empty": Row(replace_image_file("initrd", lambda _: bytes(4096)), 1, "kernel panic.*root fs"),
    # Disturbances that do not change the outcome.
    "kernel floods the console": Row(
        change_nothing, 2, "", VECTORS, on_board="while :; do echo flood >/dev/kmsg; done </dev/null >/dev/null 2>&1 &"
    ),
}


@pytest.fixture(scope="module")
def built() -> Built:
    """Healthy image of the virtual board."""
    return build(None, None, print)


@pytest.fixture
def lab(built: Built) -> Iterator[OwnLab]:
    """Lab with one unit, powered off."""
    with own_lab(built) as made:
        yield made


@pytest.mark.parametrize("name", TABLE)
def test_fault_is_reported_and_the_unit_stays_usable(lab: OwnLab, name: str) -> None:
    row = TABLE[name]
    row.inject(lab)
    options: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    if row.on_board:
        options = ("-p", "kernel_fault_plugin")
        environment = {
            "PYTHONPATH": str(Path(__file__).parent),
            "INJECT_COMMAND": row.on_board,
            "INJECT_AT": "test_command_runs",
        }
    run = lab.run_gate(*row.arguments, *options, during=row.during, **environment)
    reasons = "\n".join([*run.tests("error").values(), *run.tests("failed").values()])
    assert run.exit_status == row.status, run.text
    assert re.search(row.reason, reasons), run.text
    outcome = {2: "passed", 1: "failed", 9: "error"}[row.status]
    assert run.tests(outcome) and not (row.status == 9 and run.tests("failed")), run.text
    if row.during and row.during[1] is kill_qemu:
        return  # the unit is gone; the next row starts another
    lab.restore()
    after = lab.run_gate(*BOOT)
    assert after.is_healthy, after.text
