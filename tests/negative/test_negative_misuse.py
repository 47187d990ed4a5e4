"""Each user mistake, and each thing the host lacks, gives one clear message and the right exit status."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gate_run import ROOT, RUNS, UNIT, GateResult, run_gate

from fixtures.virt import host
from fixtures.virt.build import build

UNPRIVILEGED = ("unshare", "--user")
"""Command prefix: run as a user without root rights or sudo, with access to the same files."""
OWN_NETWORK = ("unshare", "--user", "--map-root-user", "--net")
"""Command prefix: run in a network namespace of its own."""

LAB = """\
units:
  - name: bench
    board: real
    console: {url: /dev/null}
    power: {kind: command, on: "true", off: "true"}
    network:
      address: 192.0.2.1
      key_file: FOLDER/key
      host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFUA5aEKapuUBoDzhQPssf582jvNNFzFoIijDy1STSP5
"""
FILES = {
    "typo.yaml": "extends: virt\nopenssl:\n  enginee: devcrypto\n",
    "real.yaml": "extends: virt\nmade_by: null\n",
    "machine.yaml": "extends: virt-ls1046a\nmachine: caan\n",
    "kernel": "a kernel",
    "initrd": "a RAM disk",
    "lab.yaml": LAB + "    tftp: {server: 127.0.0.1, port: 6969}\n",
    "no-tftp.yaml": LAB,
}

MISTAKES = {
    "unknown board": ("--board vitr", r'no board "vitr" in boards; there are: .*\bvirt\b.*; did you mean virt\?'),
    "unknown unit": ("--board virt/7", r"--board virt/7: no such unit; there are: virt/0, virt/1, virt/2, virt/3, .*"),
    "board file that is not there": (
        "--board {}/none.yaml",
        r"\S+/none\.yaml: no such board file; there are: lab, machine, no-tftp, real, typo",
    ),
    "board file with a wrong key": (
        "--board {}/typo.yaml",
        r"\S+/typo\.yaml:3: openssl\.enginee: unknown key; known here: engine, settings, environment",
    ),
    "missing .ko": (
        "--board virt --cryptodev {}/none.ko",
        r"--cryptodev \S+/none\.ko: no such file, and no folder with a Makefile; expected a kernel module .*",
    ),
    "unknown fault": ("--board virt --fault engine/bored", r"--fault engine/bored: no such fault; there are:"),
    "a fault of the CAAM without one": (
        "--board virt --fault caam/iv-not-written",
        r"--fault caam/iv-not-written is for machines of the type caam, and virt has the type virtio-crypto: give"
        r" --board virt-ls1046a with it",
    ),
    "a fault of virtio-crypto without it": (
        "--board virt-ls1046a --fault driver/unbound",
        r"--fault driver/unbound is for machines of the type virtio-crypto, and virt-ls1046a has the type caam: give"
        r" --board virt with it",
    ),
    "a fault of the CAAM without a board": (
        "--fault caam/iv-not-written",
        r"--fault is for virtual boards: give --board virt-ls1046a with it",
    ),
    "unknown machine": (
        "--board {}/machine.yaml",
        r"board machine: machine: found caan; expected one of virtio-crypto, caam",
    ),
    "a fault in a real board": (
        "--board {0}/real.yaml --lab {0}/lab.yaml --image {0} --fault engine/offers-nothing",
        r"--fault is for virtual boards: give --board virt with it",
    ),
    "real board without a lab file": (
        "--board {}/real.yaml",
        r"no lab file lab\.yaml: it states where the units of real are\. Write it .*",
    ),
    "real board without an image": (
        "--board {0}/real.yaml --lab {0}/lab.yaml",
        r"board real boots an image: name the folder that holds its files with --image DIR",
    ),
    "unit without tftp": (
        "--board {0}/real.yaml --lab {0}/no-tftp.yaml --image {0}",
        r"--image: there is no `tftp` in the lab file for real/bench, and board real boots by TFTP",
    ),
    "image that is not there": ("--board virt --image {}/none", r"--image \S+/none: no such folder; expected .*"),
    "unknown boot method": (
        "--board virt --boot nro",
        r"--boot nro: board virt has no such boot or flash method; there are: tftp, nor, disk, disk-linux;"
        r" did you mean nor\?",
    ),
    "an image without the file that a memory takes": (
        "--board virt --boot nor --image {}",
        r"--boot nor of board virt writes the file 'firmware' of the image, but the image has only .*",
    ),
    "boot method without an image": (
        "--board {0}/real.yaml --lab {0}/lab.yaml --boot nor",
        r"board real boots an image: name the folder that holds its files with --image DIR|--boot nor: .*",
    ),
    "one board twice": ("--board virt --board virt -n 2", r"--board virt is given twice; .*"),
    "two boards, one worker": ("--board virt/0 --board virt/1", r"give -n with 2 boards; .*: -n 2 or more"),
    "too many workers": ("--board virt/0 -n 2", r"-n 2: 2 workers for virt/0, which has 1 unit"),
    "board test without a board": (
        "tests/test_boot.py",
        r"test_boot\.py needs a board: add --board NAME .*, or set HIL_BOARD=NAME",
    ),
}
"""Mistake -> arguments ({} is a folder with FILES), and the first line of the message. The exit status is 4."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with FILES and with a key for the lab file."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.replace("FOLDER", str(tmp_path)))
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(key)
    return tmp_path


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_refused_before_power_on(arguments: str, message: str, files: Path) -> None:
    runs = sorted(RUNS.glob("*"))
    run = run_gate(*(word.format(files) for word in arguments.split()))
    assert run.exit_status == 4, run.text
    errors = [line for line in run.text.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1 and re.fullmatch(f"ERROR: {message}", errors[0]), run.text
    assert "powering on" not in run.text and sorted(RUNS.glob("*")) == runs


def assert_lab_error(run: GateResult, message: str) -> None:
    """Assert exit status 9 and one error at the first test, with no test failed or passed."""
    assert run.exit_status == 9, run.text
    ((test, reason),) = run.tests("error").items()
    assert test.startswith("test_boot.py::") and re.match(message, reason, re.DOTALL), run.text
    assert not run.tests("failed") and not run.tests("passed")
    assert run.verdict["outcome"] == "lab" and len(run.verdict["why"]) == 1
    assert run.text.count("ERROR at setup") == 1


def skip_unless_permitted(*prefix: str) -> None:
    """Skip the test if this host does not permit a command prefix."""
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this host does not permit: {' '.join(prefix)}: {tried.stderr.strip()}")


def link_all_programs_but(name: str, folder: Path) -> str:
    """Link every program of PATH but one into a folder. Return the folder, as a value for PATH."""
    for directory in reversed(os.environ["PATH"].split(":")):
        for program in Path(directory).glob("*"):
            link = folder / program.name
            if program.name != name:
                link.unlink(missing_ok=True)
                link.symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("lacking", ["qemu-system-aarch64", "cpio"])
def test_missing_program_is_reported_with_the_install_command(lacking: str, tmp_path: Path) -> None:
    skip_unless_permitted(*UNPRIVILEGED)
    run = run_gate("--board", UNIT, prefix=UNPRIVILEGED, environment={"PATH": link_all_programs_but(lacking, tmp_path)})
    package = {"qemu-system-aarch64": "qemu-system-arm"}.get(lacking, lacking)
    command = f"sudo apt-get install --yes --no-install-recommends {package}"
    assert_lab_error(run, f"the virtual board needs packages that this host lacks; run: {re.escape(command)}$")


def test_host_without_apt_gets_the_list_of_missing_packages(tmp_path: Path) -> None:
    run = run_gate("--board", UNIT, environment={"PATH": str(tmp_path)})
    assert_lab_error(run, r"the virtual board needs .* no apt-get .* packages qemu-system-arm .*\bmake\b")


@pytest.mark.parametrize(
    ("free", "message"),
    [(0, "Failed to find an available port"), (1, "Could not set up host forwarding rule")],
    ids=["none for the console", "none for SSH"],
)
def test_missing_port_is_reported_with_the_output_of_qemu(free: int, message: str) -> None:
    skip_unless_permitted(*OWN_NETWORK)
    host.prepare(lambda _: None)
    build(None, None, lambda _: None)  # nothing can be downloaded from that network namespace
    few_ports = (*OWN_NETWORK, sys.executable, ROOT / "tests/negative/few_ports.py", str(free))
    assert_lab_error(run_gate("--board", UNIT, prefix=few_ports), f"QEMU does not start: .*; its output: .*{message}")
