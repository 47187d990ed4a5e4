"""The gate in a process of its own, as a user starts it: what it says, how it ends, what it leaves behind."""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fixtures.lab.lease import acquire
from fixtures.record.record import CONSOLE_FILE, Record, read
from fixtures.record.verdict import test_results

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs"

UNIT = os.environ.get("HIL_NEGATIVE_UNIT", "virt/0")
"""The unit that is asked. Another one for who runs these tests twice at a time."""

SECONDS = 300.0
"""The longest that a gate may take. On two cores the whole of it takes 80, and the first that builds the board more."""


@dataclass(frozen=True)
class Run:
    """A gate that has ended."""

    status: int
    text: str
    """What it printed, both streams."""

    @property
    def records(self) -> list[Record]:
        """The run record, where the last lines of the text say it is; none where they do not."""
        named = re.search(r"^record   (\S+)$", self.text, re.MULTILINE)
        return read(ROOT / named[1]) if named else []

    def of(self, kind: str) -> list[Record]:
        """The lines of the run record of one kind."""
        return [record for record in self.records if record["kind"] == kind]

    def tests(self, outcome: str) -> dict[str, str]:
        """The tests that came to an outcome -> the reason: `test_aes.py::test_known_answers[…]`."""
        return {
            test.nodeid.removeprefix("tests/"): test.reason
            for test in test_results(self.records)
            if test.outcome == outcome
        }

    @property
    def verdict(self) -> Record:
        """The verdict in the run record."""
        return self.of("verdict")[-1]


class Gate:
    """A gate that runs. When the context ends it has ended too, well or by force."""

    def __init__(
        self,
        place: Path,
        *arguments: str | Path,
        before: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `pytest` with these arguments.

        :param place: for its temporary files.
        :param before: a command that takes the gate's command as its last arguments.
        :param environment: what to set beside what is there.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HIL_", "TOX"))}
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "pytest", *arguments],
            cwd=ROOT,
            env={**kept, "TMPDIR": str(place), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout
        self._pipe = self._process.stdout
        self._said = b""
        self._deadline = time.monotonic() + SECONDS

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See that it has ended."""
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self._process.wait()
        self._pipe.close()

    @property
    def pid(self) -> int:
        """The process id of pytest."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group, as a terminal does for Ctrl-C."""
        os.killpg(self._process.pid, number)

    def await_text(self, text: str) -> None:
        """Wait until it has printed this."""
        while text.encode() not in self._said:
            assert self._more(), f"the gate ended and did not say {text!r}; it said:\n{self._said.decode()}"

    def await_console(self, text: str) -> None:
        """Wait until the board has printed this on its console."""
        log = RUNS / "latest" / CONSOLE_FILE
        while text not in log.read_text("utf-8", "replace"):
            assert time.monotonic() < self._deadline, f"no {text!r} on the console within {SECONDS:g} s"
            time.sleep(0.02)  # A file that grows makes no event that a portable wait could be given.

    def end(self) -> Run:
        """Wait until it has ended, and everything that holds its output."""
        while self._more():
            pass
        run = Run(self._process.wait(), self._said.decode())
        assert "Traceback (most recent call last)" not in run.text and "INTERNALERROR" not in run.text, run.text
        return run

    def qemu(self) -> int:
        """The process id of its QEMU, which must be there."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        (qemu,) = (int(child) for child in children if "qemu" in Path(f"/proc/{child}/comm").read_text())
        return qemu

    def _more(self) -> bool:
        ready, _, _ = select.select([self._pipe], [], [], self._deadline - time.monotonic())
        assert ready, f"the gate did not end within {SECONDS:g} s; it said:\n{self._said.decode()}"
        chunk = os.read(self._pipe.fileno(), 65536)
        self._said += chunk
        return bool(chunk)


@contextmanager
def clean(unit: str = UNIT) -> Iterator[Path]:
    """A folder for a gate's temporary files; afterwards it is empty, no process names it, and the unit is free."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        left = [path.name for path in Path(folder).iterdir()] + processes(folder)
        assert not left, f"the gate left behind: {left}"
        acquire(unit).release()


def processes(naming: str) -> list[str]:
    """The command lines, of all processes there are, that have this text in them."""
    return list(_running(naming).values())


def qemu_of(naming: str) -> int:
    """The process id of the QEMU that has this text in its command line."""
    (found,) = (pid for pid, line in _running(naming).items() if line.startswith("qemu"))
    return found


def _running(naming: str) -> dict[int, str]:
    """Process id -> command line, of those that have this text in it."""
    lines = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it ended just now, and is none of those that are looked for
            continue
        if naming in line:
            lines[int(file.parent.name)] = line
    return lines


def await_exit(pid: int, seconds: float = 10.0) -> None:
    """Wait until a process has ended that is no child of this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    assert ready, f"process {pid} still runs after {seconds:g} s"


def ask(
    *arguments: str | Path,
    unit: str = UNIT,
    before: Sequence[str | Path] = (),
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a gate to its end, which leaves nothing behind."""
    with clean(unit) as place, Gate(place, *arguments, before=before, environment=environment) as gate:
        return gate.end()
