"""No secret of a power command reaches a message, whatever fails; neither its value nor that of a variable."""

import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fixtures.lab.labfile import Command, Manual, Pdudaemon, Qmp, load_lab
from fixtures.outcome import LabError, UsageError
from fixtures.power import command as power_command
from fixtures.power import manual
from fixtures.power.switch import create_power_switch

SECRET = "hunter2-p@ss:w0rd"

COMMANDS = {
    "fails": "false --password '{0}' on",
    "prints its arguments": "echo relay --password {0}; false",
    "prints a part": "echo w0rd; false --user admin:{0}",
    "is missing": "no-such-relay --password {0}",
    "is not executable": "/ --password {0}",
    "is no shell command": "relay '{0}",
    "is traced": "set -x; PASSWORD={0} false",
    "begins with an assignment": "PASSWORD='{0}' false",
    "is in a pipe": "echo '{0}' | (cat; false)",
    "uses a variable": "echo $RELAY_PASSWORD; false",
    "uses a variable in braces": "echo ${{RELAY_PASSWORD}}; false",
    "does not end": "echo {0}; sleep 60",
    "dies of a signal": "echo {0}; kill -9 $$",
    "has a URL": "python3 -c 'raise SystemExit(\"http://admin:{0}@pdu/\")'",
}


@pytest.mark.parametrize("text", COMMANDS.values(), ids=COMMANDS.keys())
def test_failing_command_does_not_reveal_its_secret(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PASSWORD", SECRET)
    monkeypatch.setattr(power_command, "COMMAND_TIMEOUT", 1.0)
    entry = Command(on=text.format(SECRET), off="true")
    with pytest.raises(LabError, match=r"^power: ") as caught:
        create_power_switch(entry, "ls1046a/bench-1").on()
    shown = [str(caught.value), str(caught.value.__cause__), repr(entry), str(entry), str(caught.getrepr(style="long"))]
    assert [text for text in shown if "hunter2" in text or "w0rd" in text] == []


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("relay --password x", "relay"),
        ("/opt/pdu/relay x", "/opt/pdu/relay"),
        ("PASSWORD=x DEBUG='a b' relay on", "relay"),
        ("relay;echo", "relay"),
        ("relay 'x", "a command"),
        ("'", "a command"),
        ("(relay)", "a command"),
    ],
)
def test_only_the_program_of_a_command_is_shown(text: str, program: str) -> None:
    assert repr(Command(on=text, off="true").on) == f"'{program} …'"


def test_output_without_end_is_bounded_and_times_out() -> None:
    """The peak memory of a process of its own is measured; ru_maxrss would have that of its parent in it."""
    script = (
        "from fixtures.power import command\n"
        "from fixtures.lab.labfile import Command\n"
        "from fixtures.outcome import LabError\n"
        "command.COMMAND_TIMEOUT = 2.0\n"
        "def peak():\n"
        "    return int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])\n"
        "before = peak()\n"
        "try:\n"
        "    command.CommandPower(Command(on='yes', off='true')).on()\n"
        "except LabError as error:\n"
        "    print(error)\n"
        "print(peak() - before)\n"
    )
    started = time.monotonic()
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    message, kilobytes = done.stdout.splitlines()
    assert message.startswith("power: 'yes …' in the lab file did not end within 2 s.")
    assert int(kilobytes) < 20_000
    assert time.monotonic() - started < 20


def test_end_of_a_long_output_is_shown() -> None:
    with pytest.raises(LabError) as caught:
        create_power_switch(Command(on="seq 1 100000; exit 3", off="true"), "u").on()
    message = str(caught.value)
    assert message.startswith("power: exit status 3 from 'seq …' in the lab file (output: ")
    assert message.endswith("99999\n***)")
    assert len(message) < 1200


class Answer(BaseHTTPRequestHandler):
    """A pdudaemon that fails, with control characters in its answer."""

    def do_GET(self) -> None:
        """Answer status 500."""
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"\x1b[2Jbroken" + b"x" * 100_000)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def pdu() -> Iterator[str]:
    """URL of a server that answers status 500 to every request."""
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, name="pdu")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_answer_of_pdudaemon_is_shown_short_and_escaped(pdu: str) -> None:
    with pytest.raises(LabError, match=r"answers status 500 to .*: \\x1b\[2Jbrokenxxx") as caught:
        create_power_switch(Pdudaemon(url=pdu, hostname="rack-1", port=3), "u").on()
    assert len(str(caught.value)) < 1500


def test_other_kinds_of_power_take_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their messages are made of addresses, which can hold no secret: a URL with a user is refused."""
    with pytest.raises(ValueError, match="expected the address of pdudaemon's HTTP interface"):
        Pdudaemon(url=f"http://admin:{SECRET}@pdu", hostname="rack-1", port=3)
    monkeypatch.setattr(manual, "TERMINAL", "/dev/null/none")
    for entry in (Qmp(path=tmp_path / "qmp"), Manual()):
        with pytest.raises(LabError, match=r"^power: "):
            create_power_switch(entry, "u").on()


REFUSED = {
    "a command of two lines": 'power: {{kind: command, on: "relay {0}\\n", off: relay}}',
    "a command that is too long": "power: {{kind: command, on: 'relay {0}{1}', off: relay}}",
    "a command that is a list": "power: {{kind: command, on: [relay, '{0}'], off: relay}}",
    "a URL with a user": "power: {{kind: pdudaemon, url: 'http://admin:{0}@pdu', hostname: h, port: 1}}",
    "a URL with a query": "power: {{kind: pdudaemon, url: 'http://pdu/?password={0}', hostname: h, port: 1}}",
    "a console with a user": "console: {{url: 'socket://admin:{0}@host:1'}}",
    "a console with a query": "console: {{url: 'rfc2217://host/?password={0}'}}",
    "a console without a scheme": "console: {{url: 'admin:{0}@host:1'}}",
    "an unknown key": "network: {{password: '{0}'}}",
    "an unknown key of power": "power: {{kind: command, on: a, off: b, environment: {{PASSWORD: '{0}'}}}}",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_refused_lab_file_does_not_reveal_its_secret(text: str, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"units:\n  - name: a\n    board: b\n    {text.format(SECRET, 'x' * 3000)}\n")
    with pytest.raises(UsageError, match=r"lab\.yaml:4: ") as caught:
        load_lab(file)
    assert "hunter2" not in str(caught.value)
    assert "w0rd" not in str(caught.value)
