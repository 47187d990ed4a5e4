"""This host as a unit, behind the SSH server of the self-tests: the gate runs on it in seconds, without QEMU.

What the gate does with its answers is real: the options, the lease, the shell, the probe, the record, the verdict.
It has no offload stack, so only questions to the layer `openssl` can be answered well.
"""

import json
import os
import platform
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paramiko
from gate_run import Gate, GateResult
from ssh_server import USER, ssh_server

from fixtures.lab import lease

PROGRAMS = {
    # There is no module to load; /sys/module has what is built into the kernel, too.
    "modprobe": "#!/bin/sh\nexit 0\n",
    # The log of this host is nobody's business.
    "dmesg": "#!/bin/sh\nexit 0\n",
}
"""What takes the place of this host's own programs."""


@dataclass
class HostBoard:
    """A board file and a lab file with one unit, which is up already."""

    folder: Path
    board: dict[str, Any]
    """The board file: may be changed until `ask`."""
    units: list[dict[str, Any]]
    """Those of the lab file, of one board each."""

    @property
    def programs(self) -> Path:
        """The folder with what takes the place of this host's own programs."""
        return self.folder / "bin"

    def add_board(self, name: str) -> None:
        """Add a board of another name, with one unit, which is this host too."""
        self.units.append({**self.units[0], "board": name})

    def ask(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> GateResult:
        """Run the gate on this unit to its end.

        :param environment: what to set beside what is there. Plugins of this folder are found by `-p NAME`.
        """
        options: list[str | Path] = ["--lab", self.folder / "lab.yaml"]
        for unit in self.units:
            file = self.folder / f"{unit['board']}.yaml"
            file.write_text(json.dumps(self.board))  # JSON is YAML
            options += ["--board", file]
        (self.folder / "lab.yaml").write_text(json.dumps({"units": self.units}))
        place = self.folder / "place"
        place.mkdir(exist_ok=True)
        path = {"PYTHONPATH": str(Path(__file__).parent)}
        with Gate(place, *options, *arguments, environment={**path, **(environment or {})}) as gate:
            return gate.end()


@contextmanager
def host_board(folder: Path) -> Iterator[HostBoard]:
    """Serve this host as a unit until the end of the block."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    with ssh_server(folder, paramiko.ECDSAKey.generate()) as server:
        server.guard.shell = ["env", f"PATH={programs}:{os.environ['PATH']}", "sh"]
        network = {
            "address": "127.0.0.1",
            "port": server.port,
            "user": USER,
            "key_file": str(server.user_key_file),
            "host_key": server.host_key_line,
        }
        board = {
            "extends": "virt",
            "made_by": None,
            "architecture": platform.machine(),
            "cryptodev": {"module": "kernel", "device": "/dev/null"},
            "layers": ["openssl"],
        }
        # The lease of a unit is taken by its name, and several runs of the self-tests may go on at once.
        name = f"host-{secrets.token_hex(4)}"
        host = HostBoard(folder, board, [{"name": name, "board": "host", "network": network}])
        yield host
        for unit in host.units:
            (lease.FOLDER / f"{quote(unit['board'] + '/' + name, safe='')}.lease").unlink(missing_ok=True)
