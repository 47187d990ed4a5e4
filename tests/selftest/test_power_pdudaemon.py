"""Power control with a real pdudaemon over HTTP, and its driver for local commands."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import powered
import pytest
from servers import wait_for_server

from fixtures.boot import power_cycle
from fixtures.lab.labfile import Pdudaemon
from fixtures.link.console import Console
from fixtures.outcome import LabError
from fixtures.power import pdudaemon
from fixtures.power.switch import PowerSwitch, create_power_switch

DAEMON = shutil.which("pdudaemon", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
NEEDS_DAEMON = pytest.mark.skipif(
    not DAEMON,
    reason="no pdudaemon here: pip install --no-deps -r tests/selftest/requirements-pdudaemon.txt",
)


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the outlets of the PDU, one file each."""
    return tmp_path_factory.mktemp("outlets")


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[str]:
    """Run a pdudaemon with three PDUs: `rack-1` works, `broken` only reports success, `absent` fails. Yield its URL."""
    port = find_free_port()
    configuration = {
        "daemon": {"hostname": "127.0.0.1", "port": port, "listener": "http", "logging_level": "DEBUG"},
        "pdus": {
            "rack-1": {
                "driver": "localcmdline",
                "cmd_on": f"echo on >{folder}/%s",
                "cmd_off": f"echo off >{folder}/%s",
            },
            "broken": {"driver": "localcmdline", "cmd_on": "false %s", "cmd_off": "false %s"},
            # The driver raises, as its device does not exist.
            "absent": {"driver": "ubus", "retries": 1, "retrydelay": 0},
        },
    }
    file = folder / "pdudaemon.conf"
    file.write_text(json.dumps(configuration))
    log = (folder / "log").open("w")
    assert DAEMON
    with log, subprocess.Popen([DAEMON, "--conf", str(file)], stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            wait_for_server(process, lambda: socket.create_connection(("127.0.0.1", port), 1).close(), 30)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def make_outlet(url: str, hostname: str = "rack-1", port: int = 3, settle: float = 0.2) -> PowerSwitch:
    return create_power_switch(Pdudaemon(url=url, hostname=hostname, port=port, settle=settle), "ls1046a/bench-1")


@NEEDS_DAEMON
def test_configured_outlet_is_switched(daemon: str, folder: Path) -> None:
    make_outlet(daemon).on()
    powered.wait_for_content(folder / "3", "on")
    make_outlet(f"{daemon}/", port=4).on()
    make_outlet(daemon).off()
    powered.wait_for_content(folder / "3", "off")
    powered.wait_for_content(folder / "4", "on")


@NEEDS_DAEMON
def test_unknown_pdu_is_a_lab_error(daemon: str) -> None:
    with pytest.raises(LabError) as caught:
        make_outlet(daemon, hostname="rack2&port=9").on()
    assert str(caught.value) == (
        f"power: pdudaemon answers status 500 to {daemon}/power/control/on?hostname=rack2%26port%3D9&port=3:"
        " Invalid request; expected 200. Check that its configuration has the PDU rack2&port=9, that the PDU answers,"
        " and pdudaemon's log"
    )


@NEEDS_DAEMON
def test_unreachable_pdu_is_a_lab_error(daemon: str) -> None:
    with pytest.raises(LabError, match=r"pdudaemon answers status 500 .*hostname=absent"):
        make_outlet(daemon, hostname="absent").off()


@NEEDS_DAEMON
def test_outlet_that_does_not_switch_is_detected_on_the_console(daemon: str, folder: Path, tmp_path: Path) -> None:
    """The daemon answers 200 although the command failed: only the console shows it."""
    power_file = folder / "3"
    power_file.write_text("on")
    with powered.unit(power_file) as url, Console(url, 115200, tmp_path / "log") as console:
        with pytest.raises(LabError, match="power-off failed"):
            power_cycle.power_off(make_outlet(daemon, "broken"), console, "bench-1")
        power_cycle.power_off(make_outlet(daemon), console, "bench-1")
        with pytest.raises(LabError, match="power-on failed"):
            power_cycle.power_on(make_outlet(daemon, "broken"), console, "bench-1", 0.3)
        power_cycle.power_on(make_outlet(daemon), console, "bench-1", 5)


def test_missing_daemon_is_a_lab_error() -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    with pytest.raises(LabError) as caught:
        make_outlet(url).on()
    message = str(caught.value)
    assert message.startswith(f"power: pdudaemon does not answer at {url}: ")
    assert "Connection refused" in message
    assert message.endswith(". Check that it runs there with `listener: http`")


def test_server_without_http_is_a_lab_error() -> None:
    """pdudaemon with its old listener `tcp` does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-c", f"import socket; s = socket.socket(fileno={server.fileno()}); c, _ = s.accept();"
             " c.recv(1000); c.sendall(b'nack\\n'); c.close()"],
            pass_fds=[server.fileno()],
        ), pytest.raises(LabError, match=r"does not answer at .*: nack\. .*with `listener: http`"):  # fmt: skip
            make_outlet(url).on()


@pytest.mark.parametrize(
    ("start", "repeated", "why"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "does not answer at .*"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", "does not answer at .*"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x", "no whole response within 0.3 s"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", b"", "status 302"),
    ],
    ids=["continue", "headers", "text", "redirect"],
)
def test_response_that_never_ends_is_a_lab_error(
    monkeypatch: pytest.MonkeyPatch, start: bytes, repeated: bytes, why: str
) -> None:
    monkeypatch.setattr(pdudaemon, "RESPONSE_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with suppress(OSError), server.accept()[0] as client:
                client.sendall(start)
                while True:
                    client.sendall(repeated)
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(LabError, match=why):
            make_outlet(f"http://127.0.0.1:{server.getsockname()[1]}").on()
        assert time.monotonic() - started < 5


def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://203.0.113.1:1")
    with pytest.raises(LabError, match="Connection refused"):
        make_outlet(f"http://127.0.0.1:{find_free_port()}").on()
