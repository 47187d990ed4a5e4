"""Power by hand, at a real terminal (a pty that is the process's own), and without one."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SWITCH = (
    "import sys; from fixtures.power import manual; from fixtures.power.switch import create_power_switch; "
    "from fixtures.lab.labfile import Manual; from fixtures.outcome import LabError; "
    "manual.CONFIRMATION_TIMEOUT = float(sys.argv[1])"
    """
try:
    switch = create_power_switch(Manual(), "ls1046a/bench-1")
    print("ready", switch.settle, flush=True)
    switch.off()
    print("is off", flush=True)
    switch.on()
    print("is on", flush=True)
except LabError as error:
    print("LabError:", error, flush=True)
"""
)


class Person:
    """Somebody at a terminal at which a run was started; standard input and output of the run are elsewhere."""

    def __init__(self, seconds: float) -> None:
        """Start the script above."""
        output, self._output = os.pipe()
        self.run_says = output
        pid, self._terminal = pty.fork()
        if pid == 0:
            os.dup2(0, 9)  # keeps the terminal open, as the shell does that somebody starts a run from
            null = os.open("/dev/null", os.O_RDWR)
            for target, source in ((0, null), (1, self._output), (2, self._output)):
                os.dup2(source, target)
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-c", SWITCH, str(seconds)])
        os.close(self._output)
        self.pid = pid

    def sees(self, pattern: str) -> str:
        """What comes on the terminal until it matches."""
        return self._await(self._terminal, pattern)

    def reads(self, pattern: str) -> str:
        """What the run itself prints."""
        return self._await(self.run_says, pattern)

    def types(self, keys: bytes) -> None:
        """Type at the terminal."""
        os.write(self._terminal, keys)

    def leaves(self) -> None:
        """Close the terminal."""
        os.close(self._terminal)

    @staticmethod
    def _await(descriptor: int, pattern: str) -> str:
        text, deadline = "", time.monotonic() + 20
        while not re.search(pattern, text):
            ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"expected {pattern!r}, came: {text!r}"
            data = os.read(descriptor, 1000)
            assert data, f"expected {pattern!r}, the end came after: {text!r}"
            text += data.decode()
        return text


def test_operator_is_prompted_and_confirms() -> None:
    person = Person(20)
    assert person.reads("ready.*\n") == "ready 3.0\n"
    person.sees("offload-hil: switch OFF unit ls1046a/bench-1, then press Enter: $")
    person.types(b"done\n")
    assert person.reads("is off\n") == "is off\n"
    person.sees("switch ON unit ls1046a/bench-1, then press Enter: $")
    person.types(b"\n")
    person.reads("is on")
    os.waitpid(person.pid, 0)


def test_keys_typed_before_the_prompt_are_discarded() -> None:
    person = Person(1)
    person.types(b"\n\n\n")
    assert "switching OFF unit ls1046a/bench-1 by hand was not confirmed: no Enter within 1 s" in person.reads(
        "LabError.*\n"
    )
    os.waitpid(person.pid, 0)


def test_run_without_a_terminal_is_a_lab_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWITCH, "20"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        start_new_session=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == (
        "LabError: power: unit ls1046a/bench-1 is switched by hand (`kind: manual` in the lab file), but this run has"
        " no terminal. Start it in a terminal, or configure another kind of `power`\n"
    )


@pytest.mark.parametrize("answer", [b"", b"almost"])
def test_closed_terminal_ends_the_wait(answer: bytes) -> None:
    person = Person(20)
    person.reads("ready.*\n")
    person.sees("press Enter: $")
    person.types(answer)
    person.leaves()  # which sends SIGHUP to the run, before or after it sees the end of what it reads
    _, status = os.waitpid(person.pid, 0)
    assert os.WIFSIGNALED(status) or "by hand was not confirmed: the terminal was closed" in person.reads(
        "LabError.*\n"
    )
