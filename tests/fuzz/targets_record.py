"""The run record: what is read back, shown, decided and diagnosed from a file that something damaged."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from campaign import ROOT, Target
from hypothesis.strategies import SearchStrategy
from mutation import mutated_text

from fixtures.diagnosis import diagnose
from fixtures.outcome import UsageError
from fixtures.record.record import RECORD_FILE, read_record
from fixtures.record.report import render_page
from fixtures.record.summary import Summary, summarise
from fixtures.record.terminal import render
from fixtures.record.verdict import decide

AT = "2026-11-29T12:00:00.000Z"
GOOD: tuple[dict[str, Any], ...] = (
    {"kind": "run", "board": "virt", "started": "2026-11-29T12:00:00Z", "version": "1", "unit": "v/0", "image": None},
    {"kind": "plan", "questions": ["tests/test_boot.py::test_boots", "tests/test_aes.py::test_a[x]"], "may_skip": {}},
    {"kind": "fact", "name": "kernel release", "value": "6.1.0"},
    {"kind": "fact", "name": "seconds to boot", "value": 8.5},
    {"kind": "algorithm", "algorithm": "AES-128-CBC", "kernel": "cbc(aes)", "driver": "cbc-aes-caam", "promised": True,
     "candidates": ["cbc-aes-caam 3000 passed", "cbc(aes-generic) 100 passed"]},
    {"kind": "vectors", "layer": "engine", "algorithm": "AES-128-CBC", "group": "VarKey", "total": 9, "failed": 0,
     "seconds": 0.1, "driver": "cbc-aes-caam (KERNEL_DRIVER_ONLY)"},
    {"kind": "refused", "source": "SHA1Monte.rsp", "total": 100, "why": "Monte Carlo"},
    {"kind": "witness", "test": "t", "layer": "engine", "algorithm": "AES-128-CBC", "name": "irq", "operations": 9,
     "before": 1, "after": 20, "proven": True},
    {"kind": "throughput", "layer": "engine", "algorithm": "aes-128-cbc", "block": 16384, "processes": 1,
     "bytes_per_second": 3e7, "low": 2e7, "high": 4e7, "cpu_seconds": 0.1, "floor": 1e6, "ceiling": 1e9},
    {"kind": "pace", "layer": "engine", "algorithm": "AES-128-CBC", "driver": "d", "block": 16384, "seconds": 0.001},
    {"kind": "memory", "layer": "cryptodev", "algorithm": "AES-128-CBC", "driver": "d", "requests": 128, "slab": 0.0,
     "memory": 992.0, "leaks": False},
    {"kind": "log", "source": "caam_jr", "lines": 3, "level": 4, "culprit": "driver"},
    {"kind": "cpu", "layer": "openssl", "algorithm": "AES-128-CBC", "driver": "software", "block": 16384,
     "process": 0.02, "board": 0.1},
    {"kind": "cpu", "layer": "engine", "algorithm": "AES-128-CBC", "driver": "engine devcrypto", "block": 16384,
     "process": 0.02, "board": 0.1},
    {"kind": "test", "nodeid": "tests/test_boot.py::test_boots", "outcome": "passed", "seconds": 1.5, "reason": ""},
    {"kind": "test", "nodeid": "tests/test_aes.py::test_a[x]", "outcome": "passed", "seconds": 0.5, "reason": ""},
    {"kind": "session", "worker": None, "end": "complete", "why": "", "failed": 0, "exit_status": 0},
    {"kind": "verdict", "outcome": "good", "exit_status": 0, "culprit": None, "why": []},
)  # fmt: skip
FAILED: tuple[dict[str, Any], ...] = (
    {"kind": "test", "nodeid": "tests/test_aes.py::test_a[y]", "outcome": "failed", "seconds": 0.5, "reason": "wrong",
     "evidence": [{"kind": "kernel fault", "subject": "caam", "modules": ["caam_jr"]}]},
    {"kind": "interface", "layer": "cryptodev", "row": "poll", "caller": "native", "seen": "x", "passed": False,
     "driver": True, "expected": {"open": "0"}},
    {"kind": "blocked", "task": "openssl", "stack": "f+0x1/0x2 [caam]", "promised": ["cbc-aes-caam"]},
    {"kind": "harness_error", "source": "thread", "where": "console", "reason": "it ended", "details": ""},
    {"kind": "recovery", "unit": "virt/0", "after": "no answer", "by": "power cycle"},
    {"kind": "unasked", "total": 3},
    {"kind": "verdict", "outcome": "bad", "exit_status": 1, "culprit": "driver", "why": ["wrong"], "because": ["x"]},
)  # fmt: skip
WORDS = (
    b"null", b"true", b"[]", b"{}", b'""', b'["a"]', b'[{"kind": 1}]', b"1e400", b"NaN", b"-1", b'"good"', b'"failed"',
    b'"\\u001b[2J"', b'"\\ud800"', b'"2026-11-29"', b'"kind"', b'"verdict"', b'{"kind": "verdict"}', b"[" * 5000,
)  # fmt: skip


def records() -> SearchStrategy[bytes]:
    """Return mutated records: a good one, a bad one, and those of the diagnosis's self-tests."""
    made = [_encode(GOOD), _encode((*GOOD[:-2], *FAILED))]
    stored = sorted((ROOT / "tests/selftest/data/diagnosis").glob("*.jsonl"))
    return mutated_text([*made, *(file.read_bytes() for file in stored if file.stat().st_size < 20_000)], WORDS)


def _encode(lines: tuple[dict[str, Any], ...]) -> bytes:
    added = ({"at": AT, "writer": "w", "number": number} for number in range(1, len(lines) + 1))
    return b"".join(json.dumps({**line, **more}).encode() + b"\n" for line, more in zip(lines, added, strict=False))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="offload-hil-fuzz-")


def run_record(data: bytes) -> str:
    """Read a record; decide and diagnose it, and show it on a terminal."""
    records, summary = _read(data)
    decide(records, diagnose(records))
    return check_shown(render(summary)) or check_summary(summary, records)


def run_report(data: bytes) -> str:
    """Read a record, and show it as a page."""
    return check_shown(render_page(_read(data)[1]))


def _read(data: bytes) -> tuple[list[dict[str, Any]], Summary]:
    folder = Path(_folder().name)
    (folder / RECORD_FILE).write_bytes(data)
    records = read_record(folder)
    return records, summarise(records, folder)


def check_shown(text: str) -> str:
    """Return whether a text for people has characters that a terminal or browser would act upon."""
    unprintable = any(not (character.isprintable() or character in "\n\t") for character in text)
    return "a control character in what is shown" if unprintable else ""


def check_summary(summary: Summary, records: list[dict[str, Any]]) -> str:
    """Return what no run writes: an outcome that its lines contradict, or numbers that are impossible."""
    if summary.outcome == "good":
        outcomes = [test.outcome for test in summary.tests]
        if summary.unreadable or summary.harness_errors or records[-1]["kind"] != "verdict":
            return "good, with lines that are damaged or report an error"
        if "failed" in outcomes or "error" in outcomes or "passed" not in outcomes or summary.exit_status != 0:
            return "good, against its tests or its exit status"
    if any(test.seconds < 0 for test in summary.tests):
        return "a negative duration"
    if any(not 0 <= row.wrong <= row.total for row in summary.rows):
        return "more failed vectors than vectors"
    if any(not 0 <= rate.low <= rate.value <= rate.high for rate in summary.rates):
        return "a rate outside of its own range"
    return ""


TARGETS = (
    Target("record", records, run_record, (UsageError,)),
    Target("report", records, run_report, (UsageError,)),
)
