"""Console behind ser2net, a real console server: both protocols, and a restart of the server in between."""

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from debian_programs import find_program
from simulated_board import SimulatedBoard, power_on_and_log_in

from fixtures.link import console as console_module
from fixtures.link import serial_shell
from fixtures.link.console import Console
from fixtures.link.serial_shell import SerialShell
from fixtures.outcome import LabError

DATA = random.Random(2).randbytes(5000)

PROTOCOLS = {
    # ign_set_control: a pseudo-terminal has no modem control lines that ser2net could set; a real port has.
    "rfc2217": ("telnet(rfc2217),tcp", "rfc2217://127.0.0.1:{}?ign_set_control"),
    "socket": ("tcp", "socket://127.0.0.1:{}"),
}


class Server:
    """Process of ser2net with one port."""

    def __init__(self, folder: Path, device: str, protocol: str) -> None:
        """Start ser2net and wait until it listens."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        accepter, url = PROTOCOLS[protocol]
        self.url = url.format(self._port)
        self._config = folder / "ser2net.yaml"
        self._config.write_text(
            f"connection: &board\n  accepter: {accepter},127.0.0.1,{self._port}\n"
            f"  connector: serialdev,{device},115200n81,local\n  options:\n    kickolduser: true\n"
        )
        self.start()

    def start(self) -> None:
        """Start ser2net and wait until it listens, at most 10 s."""
        command = [find_program("ser2net", package="ser2net"), "-n", "-d", "-u", "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not self._listens():
            if time.monotonic() > deadline:
                self.stop()
                pytest.fail("ser2net did not listen within 10 s")
            time.sleep(0.02)

    def _listens(self) -> bool:
        """Return whether ser2net listens, without connecting: it accepts one client at a time."""
        return f"0100007F:{self._port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()

    def stop(self) -> None:
        """Kill ser2net, as in a crash."""
        self._process.kill()
        self._process.wait()


@contextmanager
def console_behind_server(folder: Path, board: SimulatedBoard, protocol: str) -> Iterator[tuple[Server, Console]]:
    """Yield a console server of its own and a console behind it."""
    server = Server(folder, board.url, protocol)
    try:
        with Console(server.url, 115200, folder / "console.log") as console:
            yield server, console
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def short_silence_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_shell, "SILENCE_TIMEOUT", 0.5)


@pytest.fixture
def board() -> Iterator[SimulatedBoard]:
    """Simulated board that is powered off."""
    with SimulatedBoard() as board:
        yield board


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shell_survives_a_restart_of_the_console_server(protocol: str, board: SimulatedBoard, tmp_path: Path) -> None:
    with console_behind_server(tmp_path, board, protocol) as (server, console):
        power_on_and_log_in(board, console)
        shell = SerialShell(console)
        assert shell.run("cat", stdin=DATA).output == DATA
        server.stop()
        server.start()
        count = tmp_path / "count"
        assert shell.run(f"echo once >>{count}; echo back").text == "back\n"
        assert count.read_text() == "once\n"
        assert shell.run("cat", stdin=DATA).output == DATA
        assert console.reconnections == 1
        assert "(the console dropped: " in (tmp_path / "console.log").read_text()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_running_command_survives_a_restart_of_the_console_server(
    protocol: str, board: SimulatedBoard, tmp_path: Path
) -> None:
    """The response is lost while no client is connected, and is requested again."""
    with console_behind_server(tmp_path, board, protocol) as (server, console):
        power_on_and_log_in(board, console)
        shell = SerialShell(console)
        board.call_later(0.2, server.stop)
        board.call_later(1.0, server.start)
        assert shell.run("sleep 0.5; echo done", timeout=3).text == "done\n"


def test_stopped_console_server_is_a_lab_error(
    board: SimulatedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "RECONNECT_TIMEOUT", 0.5)
    with console_behind_server(tmp_path, board, "rfc2217") as (server, console):
        server.stop()
        with pytest.raises(LabError, match=r"the console was lost: .*; reconnecting failed for 0\.5 s"):
            console.expect("never", 10, "what never comes")
        with pytest.raises(LabError, match="the console was lost"):
            console.type_keys("x")
