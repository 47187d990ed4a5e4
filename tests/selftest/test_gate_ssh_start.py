"""An SSH server that starts long after the login has a time limit of its own: that of the login prompt, or a key."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from host_board import HostBoard
from ssh_server import _forward

from fixtures.gate.leased_unit import connect_over_ssh
from fixtures.lab.labfile import Network
from fixtures.outcome import LabError

pytest_plugins = ["host_board"]


def closed_port() -> int:
    """Return a port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


TEST = ("-p", "short_ssh_timeout", "tests/test_sha.py", "-k", "SHA1")


@contextmanager
def late_server(host: HostBoard, delay: float) -> Iterator[None]:
    """Let the unit's SSH server listen at another port, which is closed for some seconds. :param delay: seconds."""
    network = host.units[0]["network"]
    target, network["port"] = network["port"], closed_port()
    ended = threading.Event()

    def serve() -> None:
        if ended.wait(delay):
            return
        with socket.create_server(("127.0.0.1", network["port"])) as server:
            server.settimeout(0.1)
            while not ended.is_set():
                with suppress(TimeoutError):
                    relay(server.accept()[0], socket.create_connection(("127.0.0.1", target)))

    def relay(*ends: socket.socket) -> None:
        flows = threading.Event()
        flows.set()
        for source, sink in (ends, ends[::-1]):
            source.setblocking(True)
            threading.Thread(target=_forward, args=(source, sink, flows), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)


def test_server_that_starts_within_the_limit_of_the_login_prompt_is_waited_for(host: HostBoard) -> None:
    host.board["linux"] = {"timeout": 60}
    with late_server(host, 12):
        run = host.run_gate(*TEST)
    assert run.is_healthy, run.text


def test_limit_of_the_board_file_ends_the_wait_with_a_lab_error(host: HostBoard) -> None:
    host.board["linux"] = {"timeout": 60, "ssh_timeout": 2}
    started = time.monotonic()
    with late_server(host, 600):
        run = host.run_gate(*TEST)
    assert time.monotonic() - started < 40
    assert run.exit_status == 9, run.text
    assert "within 2 s: " in run.text and "If the server starts later, raise `ssh_timeout`" in run.text
    assert "on the console" not in run.text


def test_message_about_a_unit_with_a_console_names_it(host: HostBoard) -> None:
    network = Network.model_validate({**host.units[0]["network"], "port": closed_port()})
    with pytest.raises(
        LabError, match=r"^no SSH server answered .* raise `ssh_timeout` .* the gate runs over the console$"
    ):
        connect_over_ssh(network, 0.2, has_console=True)
