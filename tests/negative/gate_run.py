"""Run the gate in a process of its own, as a user starts it, and return its output, exit status and run record."""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fixtures.lab.lease import acquire
from fixtures.record.record import CONSOLE_FILE, Record, read_record
from fixtures.record.verdict import recorded_tests
from fixtures.virt.faults import Fault
from fixtures.virt.machine_types import DEFAULT_TYPE, MACHINE_TYPES

ROOT = Path(__file__).parents[2]

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")

RUNS = ROOT / "runs" / "negative" / _WORKER
"""Folder of the run records of these gates: workers of pytest-xdist do not see each other's."""

UNIT = os.environ.get("HIL_NEGATIVE_UNIT", f"virt/{_WORKER.removeprefix('gw')}")
"""Unit under test: one for each worker of pytest-xdist."""

GATE_TIMEOUT = 600.0
"""Maximum duration of a gate, in seconds. A whole gate takes 75 s on two idle cores; the first builds the image."""


def unit_of(fault: Fault) -> str:
    """Return the unit that the gate runs on: UNIT, or the same of the board that has the fault's machine."""
    return UNIT if fault.machine in (None, DEFAULT_TYPE) else unit_with(str(fault.machine))


def unit_with(machine: str) -> str:
    """Return the unit with UNIT's number of the board that has a type of machine, a key of MACHINE_TYPES."""
    return f"{MACHINE_TYPES[machine].board}/{UNIT.rpartition('/')[2]}"


@dataclass(frozen=True)
class GateResult:
    """Output and exit status of a gate that has ended."""

    exit_status: int
    text: str
    """Standard output and standard error, in the order they were written."""

    @property
    def records(self) -> list[Record]:
        """Lines of the run record that the verdict names; empty if the gate printed no verdict."""
        folder = re.search(r"^record   (\S+)$", self.text, re.MULTILINE)
        return read_record(ROOT / folder[1]) if folder else []

    def records_of(self, kind: str) -> list[Record]:
        """Return the lines of the run record of one kind."""
        return [record for record in self.records if record["kind"] == kind]

    def tests(self, outcome: str) -> dict[str, str]:
        """Return the reason of each test with that outcome, by node id without `tests/`."""
        return {
            test.nodeid.removeprefix("tests/"): test.reason
            for test in recorded_tests(self.records)
            if test.outcome == outcome
        }

    @property
    def is_healthy(self) -> bool:
        """Whether every test that ran passed, and exit status and verdict say so: good, or partial for a selection."""
        return (self.verdict["outcome"], self.exit_status) in (("good", 0), ("partial", 2))

    @property
    def verdict(self) -> Record:
        """Last `verdict` line of the run record."""
        verdicts = self.records_of("verdict")
        assert verdicts, f"the gate wrote no verdict:\n{self.text}"
        return verdicts[-1]


class Gate(AbstractContextManager["Gate"]):
    """A running gate. A context manager: at its end the gate is killed if it still runs."""

    def __init__(
        self,
        folder: Path,
        *arguments: str | Path,
        prefix: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `pytest` with these arguments.

        :param folder: for the gate's temporary files ($TMPDIR).
        :param prefix: words before the command line of pytest, such as `unshare --net`.
        :param environment: variables to add to those of this process.
        """
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HIL_", "TOX"))
        }
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "pytest", *arguments],
            cwd=ROOT,
            env={**inherited, "TMPDIR": str(folder), "HIL_RUNS": str(RUNS), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout
        self._pipe = self._process.stdout
        self._output = b""
        self._deadline = time.monotonic() + GATE_TIMEOUT

    def __exit__(self, *_: object) -> None:
        """Kill the gate if it still runs."""
        if self._process.poll() is None:
            self.send_signal(signal.SIGKILL)
            self._process.wait()
        self._pipe.close()

    @property
    def pid(self) -> int:
        """Process id of pytest."""
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process group, as a terminal does for Ctrl-C."""
        os.killpg(self._process.pid, number)

    def await_text(self, text: str) -> None:
        """Wait until the gate has printed a text."""
        while text.encode() not in self._output:
            assert self._read_more(), f"the gate ended without printing {text!r}:\n{self._text()}"

    def await_console(self, text: str) -> None:
        """Wait until the board has printed a text on its console."""
        log = RUNS / "latest" / CONSOLE_FILE
        while not log.exists() or text not in log.read_text("utf-8", "replace"):
            assert time.monotonic() < self._deadline, f"no {text!r} on the console within {GATE_TIMEOUT:g} s"
            assert self._process.poll() is None, f"the gate ended before {text!r} was on the console"
            time.sleep(0.02)  # Python has no portable wait for a file that grows.

    def wait_for_end(self) -> GateResult:
        """Wait until the gate and all holders of its output have ended."""
        while self._read_more():
            pass
        return GateResult(self._process.wait(), self._text())

    def wait(self) -> GateResult:
        """Wait until the gate and all holders of its output have ended. Assert that no traceback was printed."""
        result = self.wait_for_end()
        assert "Traceback (most recent call last)" not in result.text and "INTERNALERROR" not in result.text, (
            result.text
        )
        return result

    def find_qemu(self) -> int:
        """Return the process id of the gate's only QEMU."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        (qemu,) = (int(child) for child in children if "qemu" in Path(f"/proc/{child}/comm").read_text())
        return qemu

    def _text(self) -> str:
        return self._output.decode("utf-8", "replace")

    def _read_more(self) -> bool:
        """Read some output, waiting for it until the deadline. Return False at the end of the output."""
        ready, _, _ = select.select([self._pipe], [], [], max(self._deadline - time.monotonic(), 0))
        assert ready, f"the gate did not end within {GATE_TIMEOUT:g} s:\n{self._text()}"
        chunk = os.read(self._pipe.fileno(), 65536)
        self._output += chunk
        return bool(chunk)


@contextmanager
def no_leftovers(unit: str = UNIT) -> Iterator[Path]:
    """Yield a folder for temporary files; afterwards assert that no file, process or lease was left behind."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        leftovers = [path.name for path in Path(folder).iterdir()] + find_processes(folder)
        assert not leftovers, f"the gate left behind: {leftovers}"
        acquire(unit).release()


def find_processes(text: str) -> list[str]:
    """Return the command lines of all running processes that contain a text."""
    return list(_command_lines(text).values())


def find_qemu(text: str) -> int:
    """Return the process id of the only QEMU whose command line contains a text."""
    (pid,) = (pid for pid, line in _command_lines(text).items() if line.startswith("qemu"))
    return pid


def _command_lines(text: str) -> dict[int, str]:
    """Return process id -> command line of the processes whose command line contains a text."""
    lines = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # the process has just ended
            continue
        if text in line:
            lines[int(file.parent.name)] = line
    return lines


def await_exit(pid: int, timeout: float = 10.0) -> None:
    """Wait until a process that is not a child of this one has ended. :param timeout: seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], timeout)
    finally:
        os.close(descriptor)
    assert ready, f"process {pid} still runs after {timeout:g} s"


def run_gate(
    *arguments: str | Path,
    unit: str = UNIT,
    prefix: Sequence[str | Path] = (),
    environment: Mapping[str, str] | None = None,
) -> GateResult:
    """Run a gate to its end and assert that it leaves nothing behind."""
    with no_leftovers(unit) as folder, Gate(folder, *arguments, prefix=prefix, environment=environment) as gate:
        return gate.wait()
