"""A simulated unit for tests of power: a console as a TCP server, and a file that holds "on" while it has power.

The program `powered.py FILE [SILENT]` prints its port, then simulates a board with power while FILE holds "on": it
prints the start of a boot at power-on, then answers each key. With SILENT it prints nothing, like a hung board.
"""

import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BOOT = b"\r\nU-Boot 2023.04\r\nHit any key to stop autoboot:  3 "
NOISE = b"\x00\xff\x00\r\n"
"""Bytes on the serial line while the supply voltage of a board falls."""


def serve_console(power_file: Path, silent: bool) -> None:
    """Serve the console until standard input ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)  # noqa: T201
        console, _ = server.accept()
        had_power = is_on(power_file)
        while not select.select([sys.stdin], [], [], 0)[0]:
            has_power = is_on(power_file)
            if has_power != had_power and not silent:
                console.sendall(BOOT if has_power else NOISE)
            had_power = has_power
            if select.select([console], [], [], 0.01)[0]:
                keys = console.recv(100)
                if not keys:
                    return
                if has_power and not silent:
                    console.sendall(b"<INTERRUPT>\r\n=> ")


def is_on(power_file: Path) -> bool:
    """Return whether the file holds "on"."""
    with contextlib.suppress(FileNotFoundError):
        return power_file.read_text().strip() == "on"
    return False


@contextmanager
def unit(power_file: Path, *, silent: bool = False) -> Iterator[str]:
    """Run a unit in a process of its own; yield the URL of its console."""
    command = [sys.executable, __file__, str(power_file), *(["silent"] if silent else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"socket://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def wait_for_content(power_file: Path, content: str, timeout: float = 5.0) -> None:
    """Wait until the file holds a text. :param timeout: seconds."""
    deadline = time.monotonic() + timeout
    while power_file.read_text().strip() != content:
        assert time.monotonic() < deadline, f"{power_file}: {power_file.read_text()!r}; expected {content!r}"
        time.sleep(0.01)


if __name__ == "__main__":
    serve_console(Path(sys.argv[1]), len(sys.argv) > 2)
