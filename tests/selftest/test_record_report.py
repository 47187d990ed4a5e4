"""The HTML report of a run, and the command that writes it again, use the run record alone."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from run_records import with_verdict

from fixtures.outcome import UsageError
from fixtures.record import terminal
from fixtures.record.record import Record, RunRecord, read_record
from fixtures.record.report import render_page, write_report
from fixtures.record.summary import Summary, load_summary, summarise

BUILD_ID = "8c1d5b0f3a7e42d98810e5d3b2a6c4f7e9d01234"
AT_ENGINE = {"layer": "engine", "algorithm": "AES-192-CBC"}
DRIVER = "virtio_crypto_aes_cbc"


def result(nodeid: str, outcome: str = "passed", reason: str = "") -> Record:
    return {"kind": "test", "nodeid": nodeid, "outcome": outcome, "seconds": 0.12, "reason": reason}


def throughput(value: float, floor: float | None, ceiling: float | None) -> Record:
    rates = {"bytes_per_second": value, "low": value * 0.97, "high": value * 1.04, "cpu_seconds": 0.9}
    where = {"kind": "throughput", "layer": "engine", "algorithm": "aes-128-cbc", "block": 16384, "processes": 1}
    return {**where, **rates, "floor": floor, "ceiling": ceiling}


def vectors(layer: str, algorithm: str, total: int, failed: int = 0) -> Record:
    counts = {"total": total, "failed": failed, "seconds": 0.1, "driver": None}
    return {"kind": "vectors", "layer": layer, "algorithm": algorithm, "group": f"{algorithm}-x", **counts}


def bad_run() -> list[Record]:
    """Return the records of a bad run, with a record of each kind."""
    answers = "3 of 128 answers are wrong; first: COUNT = 2\r\nkey 00\n<b>&amp;<script>alert(1)</script>"
    numbers: dict[str, Any] = {"operations": 1000, "before": 4711, "after": 4723, "proven": False}
    return [
        {"kind": "fact", "name": "engine build-id", "value": BUILD_ID},
        {"kind": "refused", "source": "CBCMCT128.rsp", "total": 200, "why": "Monte Carlo: not run yet"},
        {"kind": "algorithm", "algorithm": "AES-192-CBC", "kernel": "cbc(aes)", "driver": DRIVER, "promised": True},
        {"kind": "algorithm", "algorithm": "SHA512", "kernel": "sha512", "driver": "sha512-generic", "promised": False},
        *(vectors("openssl", name, 588) for name in ("AES-192-CBC", "SHA512")),
        vectors("engine", "AES-192-CBC", 588, 3),
        vectors("engine", "SHA512", 129),
        {"kind": "witness", "test": "t.py::w", **AT_ENGINE, "name": "virtio-crypto interrupts", **numbers},
        throughput(2.31e6, 1e5, 4e7),
        throughput(4.75e7, 1e6, 4e7),
        *(result(f"tests/test_answers.py::test_known_answers[{number}]") for number in range(150)),
        result("tests/test_answers.py::test_known_answers[x]", "failed", answers),
        result("tests/test_boot.py::test_reset", "error", "SSH lost"),
        result("tests/test_fast.py::test_calibrated", "skipped", "no bound is marked as calibrated"),
    ]


def summarise_run(records: list[Record]) -> Summary:
    return summarise(with_verdict(records), Path("20261122T181500Z-virt"))


def write_record(root: Path, records: list[Record]) -> Path:
    """Write records as a run does, and return the folder."""
    with RunRecord.create(root, "virt", version="0.1") as record:
        for fields in records:
            record.write(**fields)
    return record.folder


def test_long_names_do_not_fill_the_terminal() -> None:
    name = "x" * 1_000_000
    records = [{**vectors("cryptodev", name, 3), "layer": name, "driver": name, "at": "2026-11-29T12:00:00Z"}]
    assert len(terminal.render(summarise_run(records)).splitlines()) < 40


class Page(HTMLParser):
    """A parsed page: its attributes, its text, and the tags that are still open."""

    def __init__(self, text: str) -> None:
        """Read the whole page."""
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Store the attributes of a tag, and the tag if it needs an end tag."""
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "br", "rect", "line", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Assert that the end tag matches the last open tag."""
        if tag not in ("rect", "line", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Store text."""
        self.text += f" {data}"


def test_report_stands_alone_and_is_well_formed(tmp_path: Path) -> None:
    path = write_report(load_summary(write_record(tmp_path, with_verdict(bad_run()))))
    text = path.read_text()
    page = Page(text)
    assert path.name == "report.html"
    assert page.open == []
    links = [(tag, value) for tag, name, value in page.attributes if name in ("href", "src")]
    assert links == [("a", "console.log"), ("a", "junit.xml"), ("a", "record.jsonl")]
    assert not re.search(r"<script|<link|@import|url\(|https?:|\bon\w+=", text)
    assert list(path.parent.glob("*.new")) == []


def test_report_shows_every_finding() -> None:
    text = render_page(summarise_run(bad_run()))
    shown = " ".join(Page(text).text.split())
    for words in (
        "bad exit status 1",
        "3 of 128 answers are wrong; first: COUNT = 2 key 00 <b>&amp;<script>alert(1)</script>",
        "AES-192-CBC 588 585 3 wrong not proven virtio_crypto_aes_cbc",
        "SHA512 588 129 software sha512-generic",
        "16384 B, 1 process 0.90 s of CPU time floor 0.100 measured 2.24 to 2.40 ceiling 40.0 2.31 MB/s within",
        "floor 1.00 measured 46.1 to 49.4 ceiling 40.0 47.5 MB/s above ceiling",
        "AES-192-CBC engine virtio-crypto interrupts 1000 4711 4723 12 not proven",
        "no bound is marked as calibrated",
        "CBCMCT128.rsp 200 Monte Carlo: not run yet",
        BUILD_ID,
        "tests/test_answers.py 150 passed",
    ):
        assert words in shown
    assert shown.index("failed 1") < shown.index("lab error 1") < shown.index("skipped 1") < shown.index("passed 150")


def test_report_shows_errors_outside_the_tests() -> None:
    where = {"kind": "harness_error", "source": "collection", "where": "tests/test_a.py"}
    error = {**where, "reason": "tests/test_a.py cannot be collected: SyntaxError", "details": "line 41: <b>x = (</b>"}
    shown = " ".join(Page(render_page(summarise_run([result("t.py::a"), error]))).text.split())
    assert "lab trouble exit status 9" in shown
    assert "error outside the tests 1 tests/test_a.py cannot be collected: SyntaxError line 41: <b>x = (</b>" in shown


def test_report_of_a_killed_run_shows_its_findings_and_unreadable_lines(tmp_path: Path) -> None:
    folder = write_record(tmp_path, bad_run())
    with (folder / "record.jsonl").open("a") as file:
        file.write('{"kind": "test", "nod')
    shown = " ".join(Page(write_report(load_summary(folder)).read_text()).text.split())
    assert "unfinished no exit status" in shown
    assert "AES-192-CBC 588 585 3 wrong" in shown
    assert re.search(r"lines that cannot be read line \d+ of the run record cannot be read: not JSON", shown)


def test_summary_without_a_record_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run record to read"):
        load_summary(tmp_path)


def test_bar_shows_the_rate_relative_to_its_bounds() -> None:
    def marks(value: float, floor: float | None, ceiling: float | None) -> list[float]:
        text = render_page(summarise_run([throughput(value, floor, ceiling)]))
        zone = re.search(r'class="zone" x="([\d.]+)%" y="6" width="([\d.]+)%"', text)
        median = re.search(r'class="median" cx="([\d.]+)%"', text)
        assert zone
        assert median
        return [float(zone[1]), float(median[1]), float(zone[1]) + float(zone[2])]

    low, middle, high = marks(2e6, 1e5, 4e7)
    assert 0 < low < middle < high < 100
    assert middle == pytest.approx((low + high) / 2, abs=0.5)
    below = marks(9e4, 1e5, 4e7)
    assert below[1] < below[0]
    above = marks(5e7, 1e5, 4e7)
    assert above[1] > above[2]
    assert marks(1e6, None, None)[::2] == [0, 100]
    assert marks(0, None, 1)[1] >= 0


def test_report_of_an_empty_run_is_complete_and_unprintable_bytes_are_escaped(tmp_path: Path) -> None:
    for words in ("No vectors were run", "Nothing was measured", "No witness was read", "No test was recorded"):
        assert words in render_page(summarise_run([]))
    path = write_report(
        load_summary(write_record(tmp_path, with_verdict([result("t.py::a", "failed", "\x00\udcff\033")])))
    )
    assert r"\x00\udcff\x1b" in path.read_text()


ROOT = Path(__file__).parents[2]


def run_record_command(folder: Path, here: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    line = [sys.executable, "-m", "fixtures.record", str(folder)]
    return subprocess.run(line, cwd=here, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_command_prints_the_verdict_again_and_rewrites_the_report(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "runs", with_verdict(bad_run()))
    (folder / "report.html").write_text("old")
    done = run_record_command(Path("runs/latest"), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"record   runs/{folder.name}\nOUTCOME  bad, exit status 1\n" in done.stdout
    assert "AES-192-CBC" in (folder / "report.html").read_text()
    assert read_record(folder)[-1]["kind"] == "verdict"


def test_command_without_a_record_exits_with_status_4(tmp_path: Path) -> None:
    done = run_record_command(Path("runs/latest"), tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert "no run record to read" in done.stderr


def test_record_that_is_no_plain_file_exits_with_status_4(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.jsonl")
    (tmp_path / "loop").symlink_to("loop")
    pipe, loop = (run_record_command(Path(name), tmp_path) for name in (".", "loop"))
    assert (pipe.returncode, loop.returncode) == (4, 4) and "not a regular file" in pipe.stderr
    assert "symbolic links" in loop.stderr and "Traceback" not in loop.stderr


def test_report_is_not_written_through_a_link(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "runs", with_verdict(bad_run()))
    (tmp_path / "mine").write_text("kept")
    (folder / "report.new").symlink_to(tmp_path / "mine")
    write_report(load_summary(folder))
    assert (tmp_path / "mine").read_text() == "kept" and not (folder / "report.html").is_symlink()


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_verdict_that_cannot_be_printed_exits_with_status_9(tmp_path: Path, redirection: str) -> None:
    folder = write_record(tmp_path / "runs", with_verdict(bad_run()))
    command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-m", "fixtures.record", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 9 and re.search(r"^\S+: the verdict cannot be printed: .+\n\Z", done.stderr), done.stderr


def test_record_of_an_earlier_release_shows_the_verdict_it_holds(tmp_path: Path) -> None:
    """A record from before tests had the field `evidence`: its verdict is shown, and no new diagnosis is made."""
    folder = tmp_path / "20261129T052422Z-virt"
    shutil.copytree(Path(__file__).parent / "data/record/before-evidence", folder)
    records = read_record(folder)
    assert not any("evidence" in line for line in records)
    line = [sys.executable, "-m", "fixtures.record", str(folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert "OUTCOME  bad, exit status 1" in done.stdout
    assert "CULPRIT  engine (likely)" in done.stdout
    assert "engine" in (folder / "report.html").read_text()


def test_killed_run_of_an_earlier_release_is_shown_as_unfinished(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "data/record/before-evidence/record.jsonl").read_text()
    (tmp_path / "record.jsonl").write_text("".join(text.splitlines(keepends=True)[:-1]))
    summary = load_summary(tmp_path)
    assert (summary.outcome, summary.culprit) == ("unfinished", None)
