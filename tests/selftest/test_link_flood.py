"""The gate on a board that prints without end, on its console and over SSH: little memory, and the right verdict."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gate_run import GateResult
from host_board import HostBoard

pytest_plugins = ["host_board"]

FLOOD = int(os.environ.get("HIL_FLOOD_BYTES", 200_000_000))
"""Bytes that the board would print, half of them on the console."""
MAX_MEMORY = 300_000
"""Maximum resident memory of the gate, in kB."""

MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""
"""Runs a command and writes the memory of its largest process into a file, in kB. It is a small process of its own:
until it executes a program, a process has the memory of its parent, and that counts."""


@contextmanager
def console_that_floods(count: int, *, login: bytes = b"") -> Iterator[str]:
    """Serve a console that answers the first key with a login and prints `count` bytes. Yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as client:
                client.recv(1)
                client.sendall(login)
                text = b"[    1.000000] caam 1700000.crypto: job ring error\r\n" * 1000
                for _ in range(count // len(text)):
                    client.sendall(text)
                while client.recv(1000):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
    thread.join(10)


def replace_program(host: HostBoard, name: str, script: str) -> None:
    """Replace a program of the board."""
    (host.programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (host.programs / name).chmod(0o755)


def run_in_little_memory(host: HostBoard, *files: str) -> GateResult:
    """Run these test files. Assert that no process of the gate is larger than MAX_MEMORY."""
    memory = host.folder / "memory"
    run = host.run_gate(*files, prefix=(sys.executable, "-c", MEASURE, memory))
    assert int(memory.read_text()) < MAX_MEMORY
    return run


def test_flood_over_console_and_ssh_is_a_bad_product_in_little_memory(host: HostBoard) -> None:
    replace_program(host, "modprobe", f"yes 'a line of output without end' | head -c {FLOOD // 2}")
    with console_that_floods(FLOOD // 2, login=b"\r\n# ") as url:
        host.units[0]["console"] = {"url": url}
        run = run_in_little_memory(host, "tests/test_stack.py")
    assert (run.exit_status, run.verdict["outcome"]) == (1, "bad"), run.text
    assert any("limit MAX_COMMAND_OUTPUT" in reason for reason in run.tests("failed").values()), run.text


def test_flood_on_the_console_alone_ends_a_command_over_ssh(host: HostBoard) -> None:
    replace_program(host, "uname", "sleep 60")
    with console_that_floods(FLOOD, login=b"\r\n# ") as url:
        host.units[0]["console"] = {"url": url}
        run = run_in_little_memory(host, "tests/test_boot.py", "tests/test_stack.py")
    assert (run.exit_status, run.verdict["outcome"]) == (1, "bad"), run.text
    assert any("(MAX_CONSOLE_OUTPUT)" in reason for reason in run.tests("failed").values()), run.text
