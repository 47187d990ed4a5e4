"""Manual power control at a real terminal (the controlling pty of the process), and without one."""

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


class Operator:
    """Operator at the terminal from which a run was started. Standard input and output of the run are redirected."""

    def __init__(self, seconds: float) -> None:
        """Start the script SWITCH. :param seconds: its confirmation timeout."""
        output, self._output = os.pipe()
        self.run_output = output
        pid, self._terminal = pty.fork()
        if pid == 0:
            os.dup2(0, 9)  # keeps the terminal open, as the shell that starts a run does
            null = os.open("/dev/null", os.O_RDWR)
            for target, source in ((0, null), (1, self._output), (2, self._output)):
                os.dup2(source, target)
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-c", SWITCH, str(seconds)])
        os.close(self._output)
        self.pid = pid

    def read_terminal(self, pattern: str) -> str:
        """Return the output of the terminal up to a match."""
        return self._await(self._terminal, pattern)

    def read_output(self, pattern: str) -> str:
        """Return the output of the run up to a match."""
        return self._await(self.run_output, pattern)

    def type_keys(self, keys: bytes) -> None:
        """Type at the terminal."""
        os.write(self._terminal, keys)

    def close_terminal(self) -> None:
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
    operator = Operator(20)
    assert operator.read_output("ready.*\n") == "ready 3.0\n"
    operator.read_terminal("offload-hil: switch OFF unit ls1046a/bench-1, then press Enter: $")
    operator.type_keys(b"done\n")
    assert operator.read_output("is off\n") == "is off\n"
    operator.read_terminal("switch ON unit ls1046a/bench-1, then press Enter: $")
    operator.type_keys(b"\n")
    operator.read_output("is on")
    os.waitpid(operator.pid, 0)


def test_keys_typed_before_the_prompt_are_discarded() -> None:
    operator = Operator(1)
    operator.type_keys(b"\n\n\n")
    assert "switching OFF unit ls1046a/bench-1 by hand was not confirmed: no Enter within 1 s" in operator.read_output(
        "LabError.*\n"
    )
    os.waitpid(operator.pid, 0)


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
    operator = Operator(20)
    operator.read_output("ready.*\n")
    operator.read_terminal("press Enter: $")
    operator.type_keys(answer)
    operator.close_terminal()  # the kernel sends SIGHUP to the run, before or after its read ends
    _, status = os.waitpid(operator.pid, 0)
    assert os.WIFSIGNALED(status) or "by hand was not confirmed: the terminal was closed" in operator.read_output(
        "LabError.*\n"
    )
