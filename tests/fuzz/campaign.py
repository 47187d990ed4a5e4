"""Fuzz one parser for a limited time: mutated inputs, limits of a call, and what was found, by place in the source."""

import functools
import itertools
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from fixtures import cache

ROOT = Path(__file__).parents[2]
CALL_TIMEOUT = 5.0
"""Maximum CPU time of one call of a parser, in seconds: longer is a hang, however busy the machine is."""
MAX_MEMORY = 1 << 30
"""Bytes of memory that a call may take beyond what the process has before it."""
REDUCTION_TIME = 10.0
"""Time for making the inputs of the findings smaller, in seconds."""
ROUND_SIZE = 100
"""Inputs until Hypothesis starts again, with the next number as its seed."""

Kind = Literal["traceback", "hang", "nonsense"]


@dataclass(frozen=True)
class Target:
    """A parser under test."""

    name: str
    inputs: Callable[[], SearchStrategy[bytes]]
    """Returns the strategy of its inputs, made from seeds."""
    run: Callable[[bytes], str]
    """Parses an input. Returns what is wrong with an accepted one, in a few words without its values; "" if nothing."""
    allowed: tuple[type[Exception], ...]
    """How the parser may refuse an input."""


@dataclass
class Finding:
    """A defect of a parser, by the place where it shows."""

    kind: Kind
    place: str
    """File, line and type of an exception; file and function of a hang; what is wrong with an accepted input."""
    example: bytes
    """The smallest input that shows it."""
    detail: str = ""
    """End of the traceback."""
    count: int = 1


@dataclass
class Result:
    """What fuzzing a target found."""

    target: str
    inputs: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)

    def add(self, found: Finding) -> None:
        """Count a finding; keep the smallest example of each place."""
        known = self.findings.setdefault(found.place, found)
        if known is not found:
            known.count += 1
            if len(found.example) < len(known.example):
                known.example, known.detail = found.example, found.detail


class _Input(bytes):
    """An input whose repr is short: Hypothesis makes one of each input that it stores."""

    def __repr__(self) -> str:
        """Return the size."""
        return f"{len(self)} bytes"


class _Hang(BaseException):
    """A call took longer than CALL_TIMEOUT. No parser catches it: it is no Exception."""


class _Found(AssertionError):
    """An input showed a defect: Hypothesis shall store it."""


def call(target: Target, data: bytes) -> Finding | None:
    """Run a parser on an input within CALL_TIMEOUT; return the defect that the input shows."""
    try:
        with _limits():
            nonsense = target.run(data)
    except target.allowed:
        return None
    except _Hang as error:
        where = _innermost(error)
        return Finding("hang", f"{where.filename}, {where.name}", data, _tail(error))
    except Exception as error:  # noqa: BLE001 what it is, is the finding
        where = _innermost(error)
        return Finding("traceback", f"{where.filename}:{where.lineno}, {type(error).__name__}", data, _tail(error))
    return Finding("nonsense", nonsense, data) if nonsense else None


Progress = Callable[[Result, bytes], None]
"""Called before each input, with what was found before."""


def fuzz(target: Target, seconds: float, database: Path | None = None, progress: Progress = lambda *_: None) -> Result:
    """Fuzz a target for some seconds. Inputs that failed in an earlier run are tried first.

    The inputs are the same in every run, except for those of the database, up to where the time is over.

    :param database: folder of such inputs; by default one in the cache.
    """
    stored = DirectoryBasedExampleDatabase(database or cache.home() / "fuzz" / target.name)
    result, inputs, end = Result(target.name), target.inputs().map(_Input), time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() >= end:
            break
        _run_round(target, inputs, number, stored, result, end, progress)
    end = time.monotonic() + REDUCTION_TIME
    for found in result.findings.values():
        reduce(target, found, end)
    return result


def reduce(target: Target, found: Finding, end: float) -> None:
    """Remove pieces of an example that its defect does not need, until a time of the monotonic clock.

    A hang stays as it is.
    """
    size = len(found.example) // 2 if found.kind != "hang" else 0
    while size:
        start = 0
        while start < len(found.example) and time.monotonic() < end:
            shorter = found.example[:start] + found.example[start + size :]
            again = call(target, shorter)
            if again and again.place == found.place:
                found.example, found.detail = shorter, again.detail
            else:
                start += size
        size //= 2


def _run_round(
    target: Target,
    inputs: SearchStrategy[_Input],
    number: int,
    stored: DirectoryBasedExampleDatabase,
    result: Result,
    end: float,
    progress: Progress,
) -> None:
    """Let Hypothesis run ROUND_SIZE inputs, or fewer: it stores the first with a new defect, and ends soon after."""
    known = frozenset(result.findings)

    @settings(
        max_examples=ROUND_SIZE, database=stored, deadline=None,
        suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet,
        phases=(Phase.generate,) if number else (Phase.reuse, Phase.generate),
    )  # fmt: skip
    @seed(number)  # below the settings, whose database it would remove
    @given(inputs)
    def attempt(data: _Input) -> None:
        if time.monotonic() >= end:
            return
        progress(result, data)
        result.inputs += 1
        found = call(target, bytes(data))
        if not found:
            return
        result.add(found)
        if found.place not in known:
            raise _defect(found.place)

    with suppress(_Found, Flaky, ExceptionGroup):
        attempt()


@functools.cache
def _defect(place: str) -> type[_Found]:
    """Return an exception type of its own for each place: Hypothesis tells failures apart by their type."""
    return type("_FoundAt", (_Found,), {"__doc__": place})


@contextmanager
def _limits() -> Iterator[None]:
    """Limit time and memory of a call."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Hang

    old = signal.signal(signal.SIGPROF, stop)
    # Again and again: an exception in a finalizer is lost.
    signal.setitimer(signal.ITIMER_PROF, CALL_TIMEOUT, 1.0)
    most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_memory_in_use() + MAX_MEMORY, most[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, most)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def _innermost(error: BaseException) -> traceback.FrameSummary:
    """Return the innermost frame of a traceback that is in this project; its file is relative to the root."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT / "fixtures")]
    frame = (own or frames)[-1]
    name = str(Path(frame.filename).relative_to(ROOT)) if own else frame.filename
    return traceback.FrameSummary(name, frame.lineno, frame.name, lookup_line=False)


def _tail(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-4))[-1500:]


def _memory_in_use() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
