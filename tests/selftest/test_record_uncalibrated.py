"""Uncalibrated bounds are marked in each view of a run and do not affect the outcome."""

from pathlib import Path

import pytest
from run_records import complete

from fixtures.record.record import RunRecord, read_record
from fixtures.record.report import render_page
from fixtures.record.summary import Summary, summarise
from fixtures.record.terminal import render
from fixtures.record.verdict import Verdict, decide

GUESS = "estimated from a thread, not measured"


def run_with_rate(
    folder: Path, rate: float, uncalibrated: str | None, *, finish: bool = True
) -> tuple[Verdict, Summary]:
    """Record a run that measured one rate for two block sizes; the floor is 1 MB/s, the ceiling 10 MB/s.

    :param rate: bytes per second.
    :param finish: whether the run also records its verdict.
    """
    with RunRecord.create(folder, "ls1046a", version="0") as record:
        record.write("test", nodeid="tests/test_boot.py::test_x", outcome="passed", seconds=1.0, reason="")
        for block in (1024, 16384):
            record.write(
                "throughput", layer="engine", algorithm="aes-128-cbc", block=block, processes=4, bytes_per_second=rate,
                low=rate, high=rate, cpu_seconds=0.1, floor=1e6, ceiling=1e7, uncalibrated=uncalibrated,
            )  # fmt: skip
    records = complete(read_record(record.folder))
    verdict = decide(records)
    return verdict, summarise(records, record.folder, verdict if finish else None)


@pytest.mark.parametrize(("rate", "where"), [(5e6, "within"), (5e5, "below floor"), (5e7, "above ceiling")])
def test_uncalibrated_bounds_are_shown_and_do_not_affect_the_outcome(tmp_path: Path, rate: float, where: str) -> None:
    verdict, summary = run_with_rate(tmp_path, rate, GUESS)
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


def test_calibrated_bounds_are_checked(tmp_path: Path) -> None:
    verdict, summary = run_with_rate(tmp_path, 5e5, None)
    assert verdict.not_judged == []
    assert summary.rates[0].assessment == "bad"
    for shown in (render(summary, width=100), render_page(summary)):
        assert "below floor" in shown
        assert "not judged" not in shown
        assert "not calibrated" not in shown


def test_killed_run_shows_its_uncalibrated_bounds(tmp_path: Path) -> None:
    _, summary = run_with_rate(tmp_path, 5e6, GUESS, finish=False)
    assert summary.outcome == "unfinished"
    assert GUESS in summary.not_judged[0]


def test_each_measurement_and_reason_has_a_line_of_its_own() -> None:
    line = {"kind": "throughput", "algorithm": "aes-128-cbc", "block": 16, "uncalibrated": GUESS}
    records = [{**line, "processes": 1}, {**line, "processes": 2}, {**line, "processes": 2, "uncalibrated": "other"}]
    lines = decide(records).not_judged
    assert [text.split(":")[0] for text in lines] == [
        "throughput of aes-128-cbc, 1 process, blocks of 16 bytes",
        "throughput of aes-128-cbc, 2 processes, blocks of 16 bytes",
        "throughput of aes-128-cbc, 2 processes, blocks of 16 bytes",
    ]
    assert decide([{"kind": "throughput", "algorithm": "x", "block": 1, "processes": 1}]).not_judged == []
