"""Text of a board or of a file reaches terminal, CI logs, JUnit and report in printable form, and is never obeyed."""

import logging
import re
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import NoneType, SimpleNamespace
from xml.etree import ElementTree

import pytest
from gate_run import ROOT, GateResult
from host_board import HostBoard
from hostile_text import SAMPLES, TEXT, find_harmful

from fixtures.diagnosis import diagnose
from fixtures.gate import progress
from fixtures.gate.background_errors import BackgroundErrors
from fixtures.gate.escaped_output import EscapedLogRecord
from fixtures.gate.quoted_reports import QuotedText
from fixtures.gate.run_end import Result, print_result
from fixtures.limits import MAX_REASON
from fixtures.record import __main__ as record_program
from fixtures.record.kinds import CHOICES, KINDS
from fixtures.record.record import JUNIT_FILE, REPORT_FILE, RunRecord, read_record
from fixtures.record.report import render_page
from fixtures.record.summary import Summary, load_summary, summarise
from fixtures.record.terminal import render
from fixtures.record.verdict import decide
from fixtures.untrusted_text import escape_lines, escape_unprintable

pytest_plugins = ["host_board"]

QUESTIONS = "tests/selftest/hostile_questions.py"
HARMLESS = {"summary of pytest", "markup", "markup of rich"}


@pytest.mark.parametrize("name", SAMPLES)
def test_hostile_text_is_escaped(name: str) -> None:
    text = f"before\n{SAMPLES[name]}\nafter"
    assert bool(find_harmful(text)) == (name not in HARMLESS)
    escaped = escape_lines(text)
    assert find_harmful(escaped) == []
    assert escape_lines(escaped) == escaped
    assert find_harmful(escape_unprintable(SAMPLES[name])) == []


@pytest.mark.parametrize(
    "text",
    [
        "tests/test_boot.py::test_x[engine-AES-128-CBC]",
        "Prüfstand-1: 3,5 µs, 本機, „ok“ … ✓",
        "C++ a::b, ## heading, # [x], #[x], #include [x]",
        "The OUTCOME  good of another run",
        "two lines\n\tand a tab",
    ],
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert escape_lines(text) == text


def test_escapes_are_those_of_python() -> None:
    assert escape_lines("\033[1m\x9b\0\u202e\udc9b\r\n::x::\n ##vso[x]\nOUTCOME  good") == (
        "\\x1b[1m\\x9b\\x00\\u202e\\udc9b\n\\x3a:x::\n #\\x23vso[x]\n\\x4fUTCOME  good"
    )


@pytest.fixture
def hostile(host: HostBoard) -> HostBoard:
    """A board whose programs print the hostile texts, and whose file has one."""
    output = host.folder / "hostile.txt"
    output.write_bytes(TEXT.encode("utf-8", "surrogatepass") + b"\n")
    for name in ("hostile", "uname", "dmesg"):
        program = host.programs / name
        program.write_text(f"#!/bin/sh\nexec cat {output}\n")
        program.chmod(0o755)
    host.board["description"] = SAMPLES["GitHub, first version"]
    return host


def without_verdict(text: str) -> str:
    """Remove the one line of the verdict, which is true."""
    return re.sub(r"^OUTCOME  bad, exit status 1$", "", text, count=1, flags=re.MULTILINE)


def outputs(run: GateResult) -> dict[str, str]:
    """Return all texts of a bad run that people and CI servers read."""
    (folder,) = re.findall(r"^record   (\S+)$", run.text, re.MULTILINE)
    again = subprocess.run(
        [sys.executable, "-m", "fixtures.record", folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    junit = ElementTree.parse(ROOT / folder / JUNIT_FILE)
    return {
        "terminal": without_verdict(run.text),
        "fixtures.record": without_verdict(again.stdout + again.stderr),
        "junit.xml": "\n".join(text for node in junit.iter() for text in (node.text, *node.attrib.values()) if text),
        "report.html": (ROOT / folder / REPORT_FILE).read_text(),
    }


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (("-v", "-rA", "--tb=long", "--showlocals", "-o", "junit_logging=all"), {}),
        (("-n", "1", "-v", "-rA"), {"CI": "1"}),
        (("-s", "-vv", "--tb=short"), {"CI": "1"}),
        (("--tb=line", "-rA", "--setup-show"), {}),
        (("-o", "log_cli=true", "-o", "log_cli_level=DEBUG"), {}),
    ],
    ids=["alone", "-n 1", "-s", "--tb=line", "log_cli"],
)
def test_no_output_of_a_run_contains_hostile_text(
    hostile: HostBoard, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    run = hostile.run_gate(*options, "tests/test_stack.py", QUESTIONS, environment=environment)
    assert run.exit_status == 1, run.text
    assert len(run.tests("failed")) >= 4 and len(run.tests("error")) >= 3
    found = outputs(run)
    assert {name: find_harmful(text) for name, text in found.items() if find_harmful(text)} == {}
    assert "<script" not in found["report.html"]
    assert "::stop-commands::" in found["report.html"]  # the texts are there
    assert not re.search(r"^=+ 890 passed", run.text, re.MULTILINE)


def test_colours_of_pytest_are_kept_and_those_of_a_board_are_not(hostile: HostBoard) -> None:
    run = hostile.run_gate("-v", "-rA", "--color=yes", "tests/test_stack.py", QUESTIONS)
    assert run.exit_status == 1 and "\033[31mFAILED\033[0m" in run.text, run.text
    assert [text for text in SAMPLES.values() if "\033" in text and text in run.text] == []
    assert find_harmful(without_verdict(re.sub(r"\033\[[\d;]*m", "", run.text))) == []


def write_hostile_record(folder: Path, text: str) -> Summary:
    """Write a record with the text in every field that can hold one, and return its summary."""
    values = {str: text, int: 1, float: 1.5, bool: True, list: [text], dict: {text: [text]}, NoneType: None}
    outcomes = {"test": "failed", "verdict": "bad"}
    with RunRecord.create(folder, "sim", version="1") as record:
        for kind, types in KINDS.items():
            fields = {name: values[each[0]] for name, each in types.items()}
            fields |= {name: allowed[0] for (of, name), allowed in CHOICES.items() if of == kind}
            record.write(kind, **fields | ({"outcome": outcomes[kind]} if kind in outcomes else {}))
    return load_summary(record.folder)


@pytest.mark.parametrize("name", SAMPLES)
def test_hostile_record_is_shown_escaped(tmp_path: Path, name: str) -> None:
    """Every field of every kind of line is hostile."""
    summary = write_hostile_record(tmp_path, f"before\n{SAMPLES[name]}\nafter")
    *body, last = render(summary).splitlines()
    assert find_harmful("\n".join(body)) == [] and last.startswith("OUTCOME  ")
    in_colour = render(summary, colour=True)
    assert "\033[2J" not in in_colour and "\033[8m" not in in_colour
    page = render_page(summary)
    assert find_harmful(page.replace("OUTCOME", "")) == [] and "<script" not in page


@pytest.mark.parametrize("text", ["OUTCOME  good, exit status 0", "::error::x"])
@pytest.mark.parametrize("separator", ["", " "], ids=["one word", "two words"])
def test_line_break_of_the_verdict_does_not_free_hostile_text(tmp_path: Path, separator: str, text: str) -> None:
    """However many characters stand before it, so that each line break comes before it once."""
    for length in range(40, 125):
        summary = write_hostile_record(tmp_path, "a" * length + separator + text)
        for width in (80, 120):
            body = "\n".join(render(summary, width=width).splitlines()[:-1])
            assert find_harmful(body) == [], body


HOSTILE_LINE = "x\033[2J\n::error::y ##[error]z\nOUTCOME  good, exit status 0"


@pytest.mark.parametrize(
    "change",
    [
        {"libc": HOSTILE_LINE},
        {"extends": HOSTILE_LINE},
        {"made_by": HOSTILE_LINE},
        {HOSTILE_LINE: 1},
        {"layers": [HOSTILE_LINE]},
        {"cryptodev": {"module": HOSTILE_LINE, "device": HOSTILE_LINE}},
    ],
    ids=lambda change: next(iter(change)).partition("\n")[0],
)
def test_usage_error_of_a_hostile_board_file_is_escaped(host: HostBoard, change: dict[str, object]) -> None:
    host.board |= change
    run = host.run_gate()
    assert run.exit_status == 4, run.text
    assert find_harmful(run.text) == []


def test_usage_error_of_a_hostile_lab_file_is_escaped(host: HostBoard) -> None:
    host.units[0] |= {"name": HOSTILE_LINE, HOSTILE_LINE: HOSTILE_LINE}
    run = host.run_gate()
    assert run.exit_status == 4, run.text
    assert find_harmful(run.text) == []


@pytest.mark.parametrize("option", ["--board", "--image"])
def test_usage_error_of_a_hostile_file_name_is_escaped(host: HostBoard, option: str) -> None:
    path = host.folder / HOSTILE_LINE.replace("/", "")
    path.mkdir()
    (path / f"{HOSTILE_LINE}.yaml").write_text("[")
    run = host.run_gate(option, path / f"{HOSTILE_LINE}.yaml", "-n", "2")
    assert run.exit_status == 4, run.text
    assert find_harmful(run.text) == []


def test_hostile_name_of_a_record_is_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fixtures.record", str(tmp_path / HOSTILE_LINE)])
    assert record_program.main() == 4
    assert find_harmful(capsys.readouterr().err) == []


def test_calibration_is_printed_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = write_hostile_record(tmp_path, HOSTILE_LINE)
    records = read_record(summary.folder)
    verdict = decide(records, diagnose(records))
    config = SimpleNamespace(getoption=lambda _: True)
    print_result(config, Result(records, summarise(records, summary.folder, verdict)))  # type: ignore[arg-type]
    *body, _verdict = capsys.readouterr().out.splitlines()
    assert any(line.startswith("--calibrate: ") for line in body)
    assert find_harmful("\n".join(body)) == []


def test_exception_after_the_verdict_is_printed_escaped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, name, getattr(module, name))  # restored after this test
    errors = BackgroundErrors([])
    errors.pytest_sessionstart()
    errors.stop_recording()
    hook = threading.excepthook
    hook(threading.ExceptHookArgs((ValueError, ValueError(TEXT), None, None)))
    printed = capsys.readouterr().err
    assert "<script>" in printed and find_harmful(printed) == []


def test_traceback_in_a_log_record_is_escaped() -> None:
    record = EscapedLogRecord("x", logging.ERROR, __file__, 1, "%s", (TEXT,), (OSError, OSError(TEXT), None))
    shown = logging.Formatter("%(message)s").format(record)
    assert find_harmful(shown) == [] and "OSError" in shown


def test_progress_bar_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """The bar of a terminal."""
    plugin = SimpleNamespace(isatty=True, ensure_newline=lambda: None, global_and_fixture_disabled=nullcontext)
    config = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda _: plugin))
    for sample in SAMPLES.values():
        with progress.steps(config, "host/x", lambda _: None) as show:  # type: ignore[arg-type]
            show(sample, 0.5)
    printed = capsys.readouterr().out
    assert "host/x: " in printed and find_harmful(printed) == []


def test_long_reason_is_cut_in_its_middle() -> None:
    text = str(QuotedText("begin" + "x" * 2 * MAX_REASON + "end"))
    assert len(text) < MAX_REASON + 100 and text.startswith("beginx") and text.endswith("xend")
    assert f"\n({MAX_REASON + 8} characters left out: limits.MAX_REASON)\n" in text
