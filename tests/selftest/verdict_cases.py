"""Records with the verdict that they must have. Each condition of fixtures/record/verdict.py decides one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from run_records import complete, number

from fixtures.record.record import Record

A, B = "tests/test_a.py::test_a", "tests/test_a.py::test_b"
TORN: Record = {"kind": "unreadable", "line": 3, "why": "not JSON", "text": "{"}


def ran(nodeid: str = A, outcome: str = "passed", **more: Any) -> Record:
    """Return the line of a test."""
    return {
        "kind": "test",
        "nodeid": nodeid,
        "outcome": outcome,
        "seconds": 0.1,
        "reason": f"reason of {nodeid}",
        **more,
    }


def error(source: str = "thread") -> Record:
    """Return the line of an error that no test reports."""
    return {"kind": "harness_error", "source": source, "where": "x", "reason": "it broke", "details": ""}


def session(**fields: Any) -> Record:
    """Return how a process of pytest ended: to its end, unless the fields say another."""
    usual = {"worker": None, "failed": 0, "end": "complete", "why": "", "exit_status": 0}
    return {"kind": "session", **usual, **fields}


def plan(*questions: str, **may_skip: list[str]) -> Record:
    """Return a plan. The names of skip reasons have no spaces here."""
    return {"kind": "plan", "questions": list(questions), "may_skip": may_skip}


def verdict(outcome: str, exit_status: int, **fields: Any) -> Record:
    """Return a verdict as it was written."""
    usual: Record = {"culprit": None, "why": [], "confidence": "unknown", "because": []}
    return {"kind": "verdict", "outcome": outcome, "exit_status": exit_status, **usual, **fields}


def by_worker(*records: Record, missing: int = 0) -> list[Record]:
    """Return lines of another writer. :param missing: how many lines before them are lost."""
    return [{**line, "writer": "w", "number": n + missing} for n, line in enumerate(records, 1)]


def unnumbered(*records: Record) -> list[Record]:
    """Return lines as a release before the plan wrote them."""
    return list(records)


@dataclass(frozen=True)
class Case:
    """A record, and what must be decided of it."""

    records: list[Record]
    outcome: str
    exit_status: int | None
    why: str = ""
    """The beginning of one of the reasons; empty if there must be none."""
    reasons: int = 1
    """The number of reasons, if there are any."""
    again: bool = False
    """Whether the record was read from its file, with the verdict that was written."""
    culprit: str | None = None

    def is_right(self, verdicts: ModuleType) -> bool:
        """Return whether a module decides as it must."""
        decide: Callable[..., Any] = verdicts.decide_again if self.again else verdicts.decide
        found = decide(self.records)
        has_reason = any(reason.startswith(self.why) for reason in found.why) or not self.why
        return has_reason and (found.outcome, found.exit_status, found.culprit, len(found.why)) == self.expected

    @property
    def expected(self) -> tuple[str, int | None, str | None, int]:
        """Outcome, exit status, culprit, number of reasons."""
        return self.outcome, self.exit_status, self.culprit, self.reasons if self.why else 0


STOPPED = {"end": "stopped", "why": "pytest (enough)", "exit_status": 2}
SIGNAL = {"end": "signal", "why": "Ctrl-C", "exit_status": 2}
GOOD = number([plan(A), ran(), session()])

CASES: dict[str, Case] = {
    "good": Case(GOOD, "good", 0),
    "good, two tests": Case(complete([ran(), ran(B)]), "good", 0),
    "good, a worker": Case([*GOOD, *by_worker(error("x") | {"kind": "fact"}, session(worker="gw0"))], "good", 0),
    "failed": Case(complete([ran(outcome="failed"), ran(B)]), "bad", 1, f"{A}: reason"),
    "failed, and an error": Case(complete([ran(outcome="failed"), error()]), "bad", 1, "lab: it broke", reasons=2),
    "failed, then passed": Case(complete([ran(outcome="failed"), ran()]), "bad", 1, f"{A}: reason"),
    "status of the lab from a whole session": Case(
        complete([ran()], exit_status=9), "lab", 9, "lab: pytest ended with"
    ),
    "error of a test": Case(complete([ran(outcome="error"), ran(B)]), "lab", 9, f"lab: {A}"),
    "error of the suite": Case(complete([ran(), error()]), "lab", 9, "lab: it broke"),
    "unreadable line": Case([*GOOD, TORN], "lab", 9, "lab: line 3"),
    "unreadable line of an earlier release": Case([ran(), TORN], "lab", 9, "lab: line 3"),
    "Ctrl-C": Case(complete([ran()], **SIGNAL), "unfinished", 2, "interrupted by Ctrl-C"),
    "Ctrl-C, and a failure": Case(
        complete([ran(outcome="failed")], **SIGNAL), "unfinished", 2, f"{A}: reason", reasons=2
    ),
    "Ctrl-C, and an error": Case(complete([ran(), error()], **SIGNAL), "unfinished", 2, "lab: it broke", reasons=2),
    "stopped": Case(complete([ran()], **STOPPED), "unfinished", 2, "interrupted by pytest (enough)"),
    "stopped by an error of the lab": Case(
        complete([ran()], **STOPPED | {"exit_status": 9}), "lab", 9, "lab: pytest was ended: pytest (enough)"
    ),
    "internal error": Case(
        complete([ran()], end="exception", why="KeyError: x", exit_status=3),
        "lab",
        3,
        "lab: pytest was ended: KeyError",
    ),
    "exception after the tests": Case(
        complete([ran()], end="exception", why="OSError: full", exit_status=9), "lab", 9, "lab: pytest was ended: OSE"
    ),
    "internal error of a worker": Case(
        [*GOOD, *by_worker(session(worker="gw0", end="exception", why="KeyError", exit_status=3))],
        "lab",
        9,
        "lab: pytest in worker gw0 was ended: KeyError",
    ),
    "other status of pytest": Case(complete([ran()], exit_status=7), "lab", 9, "lab: pytest ended with exit status 7"),
    "status of an empty session with a test": Case(
        complete([ran()], exit_status=5), "lab", 9, "lab: pytest ended with"
    ),
    "no test collected": Case(number([plan(A), session(exit_status=5)]), "lab", 9, "no test passed or failed"),
    "no test passed": Case(complete([ran(outcome="skipped")]), "lab", 9, f"{A}: reason", reasons=2),
    "more failures than lines": Case(complete([ran()], failed=1), "lab", 9, "lab: failures that pytest counted: 1"),
    "as many failures as lines": Case(
        complete([ran(), error("collection")], failed=1, exit_status=1), "lab", 9, "lab: it broke"
    ),
    "status of a failure without one": Case(
        complete([ran()], exit_status=1, why="enough"), "lab", 9, "lab: pytest ended as after a failure (enough)"
    ),
    "status of a failure without one or a reason": Case(
        complete([ran()], exit_status=1), "lab", 9, "lab: pytest ended as after a failure (why is unknown)"
    ),
    "line lost": Case([GOOD[0], *GOOD[1:1], {**GOOD[2], "number": 3}, GOOD[1]], "lab", 9, "lab: lines of the run"),
    "line of a worker lost": Case(
        [*GOOD, *by_worker(session(worker="gw0"), missing=1)], "lab", 9, "lab: lines of the run record are missing"
    ),
    "line without a number": Case([*GOOD, ran(B)], "lab", 9, "lab: lines of the run record are missing"),
    "end of pytest lost": Case(GOOD[:2], "lab", 9, "lab: a process did not write how it ended: writer main"),
    "end of a worker lost": Case([*GOOD, *by_worker(ran(B))], "lab", 9, "lab: a process did not write how it ended"),
    "two ends": Case(number([plan(A), ran(), session(**SIGNAL), session()]), "unfinished", 2, "interrupted by Ctrl-C"),
    "not run": Case(number([plan(A, B), ran(), session()]), "partial", 2, f"not run: {B}, of the 2 tests"),
    "two not run": Case(number([plan(A, B, "c"), ran(), session()]), "partial", 2, f"not run: {B} and 1 more, of"),
    "skip allowed": Case(
        number([plan(A, B, console=[B]), ran(), ran(B, "skipped", skip="console"), session()]), "good", 0
    ),
    "skip for another reason": Case(
        number([plan(A, B, console=[B], other=[A]), ran(), ran(B, "skipped", skip="other"), session()]),
        "partial",
        2,
        f"skipped for a reason that the plan does not allow: {B}",
    ),
    "skip for an unknown reason": Case(
        number([plan(A, B, console=[B]), ran(), ran(B, "skipped", skip="new"), session()]), "partial", 2, "skipped for"
    ),
    "skip without a reason": Case(
        number([plan(A, B, console=[B]), ran(), ran(B, "skipped"), session()]), "partial", 2, "skipped for a reason"
    ),
    "plan lost": Case(GOOD[1:], "lab", 9, "lab: lines of the run record are missing"),
    "no plan": Case(number([ran(), session()]), "partial", 2, "the run record has no plan"),
    "of an earlier release": Case(unnumbered(ran()), "partial", 2, "the run record has no plan"),
    "empty plan": Case(number([plan(), ran(), session()]), "partial", 2, "the plan has no questions"),
    "plan, and no numbers": Case(unnumbered(plan(A), ran(), session()), "lab", 9, "lab: lines of the run record are"),
    "two plans": Case(number([plan(A), plan(A), ran(), session()]), "partial", 2, "the run record has 2 plan"),
    # Read from a file.
    "read, good": Case([*GOOD, {**verdict("good", 0), "writer": "main", "number": 4}], "good", 0, again=True),
    "read, bad": Case(
        number([plan(A), ran(outcome="failed"), session(failed=1, exit_status=1), verdict("bad", 1, culprit="engine")]),
        "bad",
        1,
        f"{A}: reason",
        again=True,
        culprit="engine",
    ),
    "read, killed": Case(GOOD[:2], "unfinished", None, "the run ended before its verdict", again=True),
    "read, killed before a test": Case(GOOD[:1], "unfinished", None, "the run ended before", again=True),
    "read, another outcome": Case(
        number([plan(A), ran(outcome="failed"), session(failed=1, exit_status=1), verdict("good", 0)]),
        "damaged",
        9,
        "record damaged: its verdict is 'good', and its other lines give 'bad'",
        again=True,
        reasons=2,
    ),
    "read, another status": Case(number([*GOOD, verdict("good", 1)]), "damaged", 9, "record damaged: its", again=True),
    "read, lines after the verdict": Case(
        number([*GOOD, verdict("good", 0), error() | {"kind": "fact"}]),
        "damaged",
        9,
        "record damaged: lines follow its verdict",
        again=True,
    ),
    "read, unreadable": Case(
        [*GOOD, TORN, {**verdict("lab", 9), "writer": "main", "number": 4}],
        "damaged",
        9,
        "record damaged: line 3 of the run record cannot be read",
        again=True,
        reasons=2,
    ),
    "read, of an earlier release": Case(
        unnumbered(ran(), verdict("good", 0)), "partial", 2, "the run record has no plan", again=True
    ),
    "read, other outcome of an earlier release": Case(
        unnumbered(ran(), verdict("bad", 1, culprit="engine")), "partial", 2, "the run record has no plan", again=True
    ),
    "read, bad run of an earlier release": Case(
        unnumbered(ran(outcome="failed"), verdict("bad", 1, culprit="kernel")),
        "bad",
        1,
        f"{A}: reason",
        again=True,
        culprit="kernel",
    ),
}
