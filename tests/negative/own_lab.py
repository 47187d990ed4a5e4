"""A lab with one unit: a virtual machine described by a lab file and a board file, as a real board is."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from gate_run import UNIT, Gate, GateResult

from fixtures.virt.build import Built
from fixtures.virt.machine_types import DEFAULT_TYPE, MACHINE_TYPES
from fixtures.virt.qemu import SERVER, Machine, machine

During = tuple[str, Callable[["OwnLab", Gate], None]]
"""A text to wait for in the output of the gate, and the function to call then."""


class OwnLab:
    """A lab file whose entries a test may change, and the machine that it describes."""

    def __init__(self, folder: Path, built: Built, addresses: Machine) -> None:
        """Write the board file and describe the machine."""
        self.folder, self.built, self.machine = folder, built, addresses
        self.tftp, self.image = folder / "tftp", folder / "release"
        (folder / "bench.yaml").write_text("extends: virt\nmade_by: null\nbootloader: {timeout: 10}\n")
        self.restore()

    def restore(self) -> None:
        """Restore the healthy image and the correct lab-file entries."""
        shutil.rmtree(self.image, ignore_errors=True)
        self.image.mkdir()
        (self.image / "kernel").symlink_to(self.built.kernel)
        (self.image / "initrd").symlink_to(self.built.initrd)
        self.unit: dict[str, Any] = {
            "name": UNIT.rpartition("/")[2],  # the lease is taken on this name: each xdist worker has its own
            "board": "bench",
            "console": {"url": f"socket://127.0.0.1:{self.machine.console_port}"},
            "power": {"kind": "qmp", "path": str(self.machine.qmp)},
            "network": {
                "address": "127.0.0.1",
                "port": self.machine.ssh_port,
                "key_file": str(self.built.folder / "user_key"),
                "host_key": (self.built.folder / "host_key.pub").read_text().strip(),
            },
            "tftp": {"server": SERVER, "folder": str(self.tftp)},
        }

    def write_lab_file(self) -> Path:
        """Write the lab file and return its path."""
        path = self.folder / "lab.yaml"
        path.write_text(json.dumps({"units": [self.unit]}))  # JSON is YAML
        return path

    def run_gate(self, *arguments: str, during: During | None = None, **environment: str) -> GateResult:
        """Run the gate against the unit to its end, with these variables added to its environment."""
        options: list[str | Path] = ["--board", self.folder / "bench.yaml", "--lab", self.write_lab_file()]
        if "power" in self.unit:
            options += ["--image", self.image]
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        with Gate(temporary, *options, *arguments, environment=environment) as gate:
            if during:
                text, action = during
                gate.await_text(text)
                action(self, gate)
            return gate.wait()

    def generate_key(self) -> tuple[Path, str]:
        """Generate a key pair. Return the file of the private key, and the public key as OpenSSH writes it."""
        key = Ed25519PrivateKey.generate()
        path = self.folder / "another_key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        path.chmod(0o600)
        return path, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@contextmanager
def own_lab(built: Built) -> Iterator[OwnLab]:
    """Start a machine that is powered off, and yield the lab that describes it."""
    with tempfile.TemporaryDirectory(prefix="hil-bench-") as name:
        folder = Path(name)
        (folder / "tftp").mkdir()
        with machine(folder, folder / "tftp", MACHINE_TYPES[DEFAULT_TYPE]) as addresses:
            yield OwnLab(folder, built, addresses)
        shutil.rmtree(folder / "tmp", ignore_errors=True)
