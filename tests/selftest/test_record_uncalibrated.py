"""Uncalibrated bounds are marked in each view of a run and do not affect the outcome."""

from dataclasses import asdict
from pathlib import Path

import pytest

from fixtures.record.record import RunRecord, read_record
from fixtures.record.report import render_page
from fixtures.record.summary import Summary, load_summary
from fixtures.record.terminal import render
from fixtures.record.verdict import Verdict, decide

GUESS = "estimated from a thread, not measured"


def ended(folder: Path, rate: float, uncalibrated: str | None, *, finish: bool = True) -> tuple[Verdict, Summary]:
    """A run that measured one rate, between a floor of 1 MB/s and a ceiling of 10 MB/s, for two block sizes."""
    with RunRecord.create(folder, "ls1046a", version="0") as record:
        record.write("test", nodeid="tests/test_boot.py::test_x", outcome="passed", seconds=1.0, reason="")
        for block in (1024, 16384):
            record.write(
                "throughput", layer="engine", algorithm="aes-128-cbc", block=block, processes=4, bytes_per_second=rate,
                low=rate, high=rate, cpu_seconds=0.1, floor=1e6, ceiling=1e7, uncalibrated=uncalibrated,
            )  # fmt: skip
        verdict = decide(read_record(record.folder))
        if finish:
            record.write("verdict", **asdict(verdict))
    return verdict, load_summary(record.folder)


@pytest.mark.parametrize(("rate", "where"), [(5e6, "within"), (5e5, "below floor"), (5e7, "above ceiling")])
def test_a_guessed_bound_is_shown_and_decides_nothing(tmp_path: Path, rate: float, where: str) -> None:
    verdict, summary = ended(tmp_path, rate, GUESS)
    (lines,) = verdict.not_judged
    assert (verdict.outcome, verdict.exit_status, verdict.why) == ("good", 0, [])
    assert lines == (
        "throughput of aes-128-cbc, 4 processes, blocks of 1024 and 16384 bytes: the bounds are not calibrated "
        f"({GUESS}); --calibrate measures them"
    )
    screen = render(summary, width=80)
    assert screen.count(f"not judged, {where.split()[0]}") == 2
    assert "OUTCOME  good, exit status 0; 1 measured and not judged" in screen
    assert "the bounds are not calibrated" in " ".join(screen.split())
    html = render_page(summary)
    assert html.count(f"not judged, {where.split()[0]}") == 2
    assert lines in html


def test_a_measured_bound_is_judged(tmp_path: Path) -> None:
    verdict, summary = ended(tmp_path, 5e5, None)
    assert verdict.not_judged == []
    assert summary.rates[0].assessment == "bad"
    for shown in (render(summary, width=100), render_page(summary)):
        assert "below floor" in shown
        assert "not judged" not in shown
        assert "not calibrated" not in shown


def test_killed_run_shows_what_was_not_judged(tmp_path: Path) -> None:
    _, summary = ended(tmp_path, 5e6, GUESS, finish=False)
    assert summary.outcome == "unfinished"
    assert GUESS in summary.not_judged[0]


def test_each_measurement_and_reason_has_its_line() -> None:
    line = {"kind": "throughput", "algorithm": "aes-128-cbc", "block": 16, "uncalibrated": GUESS}
    records = [{**line, "processes": 1}, {**line, "processes": 2}, {**line, "processes": 2, "uncalibrated": "other"}]
    lines = decide(records).not_judged
    assert [text.split(":")[0] for text in lines] == [
        "throughput of aes-128-cbc, 1 process, blocks of 16 bytes",
        "throughput of aes-128-cbc, 2 processes, blocks of 16 bytes",
        "throughput of aes-128-cbc, 2 processes, blocks of 16 bytes",
    ]
    assert decide([{"kind": "throughput", "algorithm": "x", "block": 1, "processes": 1}]).not_judged == []
