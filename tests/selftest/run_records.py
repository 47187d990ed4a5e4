"""The records of whole runs, made from the lines that a test is about."""

from dataclasses import asdict
from typing import Any

from fixtures.record.record import Record
from fixtures.record.verdict import count_collection_errors, count_failures, decide

AT = "2026-11-29T12:00:00.000Z"


def complete(records: list[Record], **end: Any) -> list[Record]:
    """Return these lines as a whole run writes them: with its plan, and with how pytest ended.

    Every test is planned, and may be skipped for having no console.

    :param end: fields of the line of pytest's end that differ from those of a session that ran to its end.
    """
    tests = list(dict.fromkeys(line["nodeid"] for line in records if line["kind"] == "test"))
    lines = [{**line, "skip": "no console"} if line.get("outcome") == "skipped" else line for line in records]
    failed = count_failures(records) + count_collection_errors(records)
    session = {"worker": None, "failed": failed, "end": "complete", "why": "", "exit_status": int(failed > 0)}
    plan = {"kind": "plan", "questions": tests, "may_skip": {"no console": tests}}
    return number([plan, *lines, {"kind": "session", **session, **end}])


def number(records: list[Record]) -> list[Record]:
    """Return lines with what the record adds to each, those of one writer."""
    return [{"at": AT, **line, "writer": "main", "number": n} for n, line in enumerate(records, 1)]


def with_verdict(records: list[Record], **end: Any) -> list[Record]:
    """Return these lines as `complete`, with their verdict."""
    lines = complete(records, **end)
    verdict = {"kind": "verdict", **asdict(decide(lines))}
    return number([*lines, verdict])
