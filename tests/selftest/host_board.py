"""This host as a unit, behind the SSH server of the self-tests: the gate runs on it in seconds, without QEMU.

Options, lease, shell, probe, run record and verdict are the real ones. The host has no offload stack, so only tests at
the layer `openssl` can pass.
"""

import json
import os
import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paramiko
import pytest
from gate_run import Gate, GateResult
from ssh_server import USER, ssh_server

from fixtures.lab import lease

PROGRAMS = {
    # No module is loaded; /sys/module also lists `kernel`, which is built in.
    "modprobe": "#!/bin/sh\nexit 0\n",
    # The kernel log of this host stays private.
    "dmesg": "#!/bin/sh\nexit 0\n",
}
"""Replacements for programs of this host: name -> script."""


@dataclass
class HostBoard:
    """A board file, and a lab file with a unit that is up already."""

    folder: Path
    board: dict[str, Any]
    """The content of the board file. It may be changed before `run_gate`."""
    units: list[dict[str, Any]]
    """The units of the lab file, each of another board."""

    @property
    def programs(self) -> Path:
        """The folder of the replaced programs."""
        return self.folder / "bin"

    def add_board(self, name: str) -> None:
        """Add a board of another name, whose unit is this host too."""
        self.units.append({**self.units[0], "board": name})

    def run_gate(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str | Path] = (),
        may_crash: bool = False,
    ) -> GateResult:
        """Run the gate on this unit to its end.

        :param environment: variables to add. Plugins of this folder can be loaded by `-p NAME`.
        :param prefix: words before the command line of pytest. :param may_crash: whether a traceback is expected.
        """
        options: list[str | Path] = ["--lab", self.folder / "lab.yaml"]
        for unit in self.units:
            file = self.folder / f"{unit['board']}.yaml"
            file.write_text(json.dumps(self.board))  # JSON is YAML
            options += ["--board", file]
        (self.folder / "lab.yaml").write_text(json.dumps({"units": self.units}))
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        path = {"PYTHONPATH": str(Path(__file__).parent)}
        with Gate(temporary, *options, *arguments, environment={**path, **(environment or {})}, prefix=prefix) as gate:
            return gate.wait_for_end() if may_crash else gate.wait()


@contextmanager
def host_board(folder: Path) -> Iterator[HostBoard]:
    """Run the SSH server of the unit until the end of the block."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    with ssh_server(folder, paramiko.ECDSAKey.generate()) as server:
        server.interface.shell = ["env", f"PATH={programs}:{os.environ['PATH']}", "sh"]
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
        # A unit is leased by name, and several self-test runs may use this host at once.
        name = f"host-{secrets.token_hex(4)}"
        host = HostBoard(folder, board, [{"name": name, "board": "host", "network": network}])
        yield host
        for unit in host.units:
            (lease.FOLDER / f"{quote(unit['board'] + '/' + name, safe='')}.lease").unlink(missing_ok=True)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostBoard]:
    """This host as a unit. A test file gets this fixture by `pytest_plugins = ["host_board"]`."""
    with host_board(tmp_path) as board:
        yield board
