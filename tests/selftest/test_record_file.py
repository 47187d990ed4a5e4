"""The run record as a file: each line is stored at once, with several writers and after a writer is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fixtures import limits
from fixtures.outcome import LabError, UsageError
from fixtures.record.kinds import KINDS
from fixtures.record.record import RunRecord, read_record

TEST = {"nodeid": "tests/test_boot.py::test_boots", "outcome": "passed", "seconds": 1, "reason": ""}


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return RunRecord.create(tmp_path / "runs", "virt", version="0.1")


def test_new_record_has_a_folder_a_link_latest_and_a_line_for_the_run(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    record = RunRecord.create(root, "virt", version="0.1", unit="virt/0", image="image-1")
    assert re.fullmatch(r"\d{8}T\d{6}Z-virt", record.folder.name)
    assert str((root / "latest").readlink()) == record.folder.name
    (line,) = read_record(root / "latest")
    assert {name: line[name] for name in ("kind", "board", "unit", "image", "version")} == {
        "kind": "run",
        "board": "virt",
        "unit": "virt/0",
        "image": "image-1",
        "version": "0.1",
    }
    stamp = record.folder.name[:16]
    assert re.sub(r"[-:]", "", line["started"]) == stamp


def test_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = [RunRecord.create(tmp_path, "virt", version="0.1").folder for _ in range(20)]
    assert len(set(folders)) == 20
    assert str((tmp_path / "latest").readlink()) == folders[-1].name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["latest", *(path.name for path in folders)])


def test_latest_always_leads_to_a_folder(tmp_path: Path) -> None:
    RunRecord.create(tmp_path, "virt", version="0.1").close()
    stop = threading.Event()
    missing = []

    def check() -> None:
        while not stop.is_set():
            if not (tmp_path / "latest").is_dir():
                missing.append("latest")

    checking = threading.Thread(target=check)
    checking.start()
    for _ in range(100):
        RunRecord.create(tmp_path, "virt", version="0.1").close()
    stop.set()
    checking.join(60)
    assert missing == []


def test_board_name_is_made_a_valid_folder_name(tmp_path: Path) -> None:
    record = RunRecord.create(tmp_path, "ls1046a/../x y", version="0.1")
    assert record.folder.parent == tmp_path
    assert record.folder.name.endswith("-ls1046a-..-x-y")
    assert read_record(record.folder)[0]["board"] == "ls1046a/../x y"


def test_unwritable_root_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UsageError, match=r"runs: cannot create the folder of the run record"):
        RunRecord.create(tmp_path / "runs", "virt", version="0.1")


def test_latest_that_is_a_folder_is_not_destroyed(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").write_text("kept")
    with pytest.raises(UsageError, match=r"latest"):
        RunRecord.create(tmp_path, "virt", version="0.1")
    assert (tmp_path / "latest" / "mine").read_text() == "kept"
    assert not list(tmp_path.glob(".latest*"))


def test_a_line_is_in_the_file_when_write_returns(record: RunRecord) -> None:
    record.write("fact", name="kernel\nrelease \u2028\udcff", value="6.1")
    last = (record.folder / "record.jsonl").read_bytes().split(b"\n")[-2]
    assert json.loads(last)["name"] == "kernel\nrelease \u2028\udcff"
    assert read_record(record.folder)[-1]["name"] == "kernel\nrelease \u2028\udcff"


GOOD: dict[str, dict[str, Any]] = {
    "run": {"board": "virt", "unit": None, "image": None, "started": "2026-11-22T18:15:00Z", "version": "0.1"},
    "fact": {"name": "kernel", "value": "6.1"},
    "vectors": {
        "layer": "engine",
        "algorithm": "SHA1",
        "group": "SHA1-ShortMsg",
        "total": 65,
        "failed": 0,
        "driver": None,
        "seconds": 0.5,
    },
    "repeated": {
        "layer": "afalg-software",
        "algorithm": "SHA1",
        "group": "SHA1-ShortMsg",
        "total": 65,
        "failed": 0,
        "driver": None,
    },
    "refused": {"source": "SHA1Monte.rsp", "total": 100, "why": "Monte Carlo"},
    "algorithm": {"algorithm": "SHA1", "kernel": "sha1", "driver": "sha1-generic", "promised": False},
    "witness": {
        **dict.fromkeys(["test", "layer", "algorithm", "name"], "x"),
        "operations": 10,
        "before": 1,
        "after": 2,
        "proven": True,
    },
    "threshold": {
        **dict.fromkeys(["test", "layer", "algorithm", "operation"], "x"),
        "offloaded": 4080,
        "software": 4096,
        "proofs": 10,
    },
    "pace": {"layer": "afalg", "algorithm": "AES-128-CBC", "driver": "cbc-aes-caam", "block": 16384, "seconds": 0.0003},
    "memory": {
        "layer": "afalg",
        "algorithm": "AES-128-CBC",
        "driver": "cbc-aes-caam",
        "requests": 128,
        "slab": 2048.0,
        "memory": 2976.0,
        "leaks": True,
    },
    "log": {"source": "caam_jr", "lines": 128, "culprit": "driver"},
    "cpu": {
        "layer": "engine",
        "algorithm": "AES-128-CBC",
        "driver": "engine devcrypto",
        "block": 16384,
        "process": 0.0236,
        "board": 0.1,
    },
    "blocked": {"task": "openssl", "stack": "[<0>] wait+0x1/0x2 [caam_jr]", "promised": ["cbc-aes-caam"]},
    "harness_error": {
        "source": "thread",
        "where": "console",
        "reason": "thread 'console' of the suite ended: ValueError",
        "details": "",
    },
    "unasked": {"total": 400},
    "recovery": {"unit": "virt/0", "after": "SSH was lost", "by": "power cycle"},
    "calibration": {
        "algorithm": "aes-128-cbc",
        "block": 16384,
        "processes": 1,
        "runs": 10,
        "median": 5.0e7,
        "low": 4.9e7,
        "high": 5.1e7,
        "deviation": 7.4e5,
        "software": 1.0e9,
        "floor": 4.4e7,
        "ceiling": 2.4e8,
    },
    "interface": {
        "layer": "cryptodev",
        "row": "crypt-zero-length",
        "caller": "native",
        "passed": True,
        "seen": "crypt=0",
        "expected": {"crypt": "0"},
        "driver": False,
    },
    "throughput": {
        "layer": "engine",
        "algorithm": "aes-128-cbc",
        "block": 1024,
        "processes": 1,
        "bytes_per_second": 1e6,
        "low": 1,
        "high": 2.0e6,
        "cpu_seconds": None,
        "floor": None,
        "ceiling": None,
    },
    "plan": {"questions": ["tests/test_boot.py::test_boots"], "may_skip": {"no console": []}},
    "test": TEST,
    "session": {"worker": None, "end": "complete", "why": "", "failed": 0, "exit_status": 0},
    "verdict": {"outcome": "good", "exit_status": 0, "culprit": None, "why": []},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written_and_each_of_its_fields_is_required(record: RunRecord, kind: str) -> None:
    record.write(kind, **GOOD[kind], extra="more than needed is allowed")
    assert read_record(record.folder)[-1] | GOOD[kind] == read_record(record.folder)[-1]
    for field in GOOD[kind]:
        with pytest.raises(TypeError, match=f"kind '{kind}' lacks the field '{field}'"):
            record.write(kind, **{name: value for name, value in GOOD[kind].items() if name != field})
        with pytest.raises(TypeError, match=rf"{kind}\.{field} is "):
            record.write(kind, **{**GOOD[kind], field: b"bytes"})
    assert len(read_record(record.folder)) == 2


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("test", "outcome", "xfailed"),
        ("test", "seconds", float("nan")),
        ("test", "seconds", True),
        ("vectors", "failed", False),
        ("vectors", "failed", 0.0),
        ("throughput", "floor", "1e5"),
        ("verdict", "outcome", "excellent"),
        ("verdict", "why", [1]),
        ("verdict", "why", "a string"),
        ("fact", "value", ["a", "list"]),
    ],
)
def test_wrong_values_are_refused(record: RunRecord, kind: str, field: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"{kind}\.{field} is "):
        record.write(kind, **{**GOOD[kind], field: value})
    assert len(read_record(record.folder)) == 1


def test_unknown_kind_and_closed_record_are_refused(record: RunRecord) -> None:
    with pytest.raises(TypeError, match="unknown kind 'tests'; the kinds are run, fact, "):
        record.write("tests", **TEST)
    record.close()
    record.close()
    with pytest.raises(TypeError, match="closed"):
        record.write("test", **TEST)


def test_threads_share_a_record(record: RunRecord) -> None:
    def work(number: int) -> None:
        for line in range(100):
            record.write("fact", name=f"{number}.{line}", value="x" * 5000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    facts = read_record(record.folder)[1:]
    assert sorted(fact["name"] for fact in facts) == sorted(f"{n}.{line}" for n in range(8) for line in range(100))
    assert {len(fact["value"]) for fact in facts} == {5000}


WRITER = """
import sys
from pathlib import Path
from fixtures.record.record import RunRecord
record = RunRecord.open(Path(sys.argv[1]))
for line in range(int(sys.argv[3])):
    record.write("fact", name=f"{sys.argv[2]}.{line}", value="y" * 9000)
    print(line, flush=True)
"""


def _start_writer(folder: Path, name: str, lines: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), name, str(lines)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


def test_processes_append_to_one_record(record: RunRecord) -> None:
    writers = [_start_writer(record.folder, str(number), 100) for number in range(3)]
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    names = [line["name"] for line in read_record(record.folder)[1:]]
    assert sorted(names) == sorted(f"{n}.{line}" for n in range(3) for line in range(100))


def test_lines_of_a_killed_process_are_kept(record: RunRecord) -> None:
    writer = _start_writer(record.folder, "w", 10**6)
    assert writer.stdout
    output = [writer.stdout.readline() for _ in range(10)]
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    lines = read_record(record.folder)
    assert output[-1] == "9\n"
    assert [line["name"] for line in lines[1:11]] == [f"w.{line}" for line in range(10)]


def test_torn_last_line_is_reported_and_not_fatal(record: RunRecord) -> None:
    record.write("test", **TEST)
    with (record.folder / "record.jsonl").open("ab") as file:
        file.write(b'{"kind": "test", "nodeid": "tests/te')
    lines = read_record(record.folder)
    assert [line["kind"] for line in lines] == ["run", "test", "unreadable"]
    assert (lines[2]["line"], lines[2]["text"]) == (3, '{"kind": "test", "nodeid": "tests/te')


def test_line_glued_to_a_torn_one_is_read(record: RunRecord) -> None:
    with (record.folder / "record.jsonl").open("ab") as file:
        file.write(b'{"kind": "fact", "name": "torn \xff')
    record.write("test", **{**TEST, "reason": 'says {"kind": "x"}'})
    lines = read_record(record.folder)
    assert [line["kind"] for line in lines] == ["run", "unreadable", "test"]
    assert lines[1]["text"] == '{"kind": "fact", "name": "torn \\xff'
    assert lines[2]["reason"] == 'says {"kind": "x"}'


TWICE = '{"kind": "fact", "at": "2026-11-29T12:00:00.000Z", "name": "x", "value": 1, "value": 2}'


@pytest.mark.parametrize("line", ["[]", "1", '{"no": "kind"}', '{"kind": "fact", "name": "x"}', "", "\x00", TWICE])
def test_line_that_is_no_record_is_reported(record: RunRecord, line: str) -> None:
    with (record.folder / "record.jsonl").open("a") as file:
        file.write(line + "\n")
    record.write("test", **TEST)
    assert [line["kind"] for line in read_record(record.folder)] == ["run", "unreadable", "test"]


def test_kind_of_a_later_version_is_read_as_it_is(record: RunRecord) -> None:
    with (record.folder / "record.jsonl").open("a") as file:
        file.write(json.dumps(later := {"kind": "culprit", "at": "2026-11-22T18:15:00Z", "x": 1}) + "\n")
    assert read_record(record.folder)[-1] == later


def test_missing_record_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run record to read"):
        read_record(tmp_path)
    with pytest.raises(UsageError, match="no run record to append to"):
        RunRecord.open(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this host has no /dev/full")
def test_full_disk_is_a_lab_error(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").symlink_to("/dev/full")
    with pytest.raises(LabError, match=r"cannot write the run record: No space left"):
        RunRecord(tmp_path).write("test", **TEST)


def test_record_of_somebody_else_is_a_regular_file_of_limited_size(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = record.folder / "record.jsonl"
    monkeypatch.setattr(limits, "MAX_RECORD_SIZE", file.stat().st_size)
    assert read_record(record.folder)
    monkeypatch.setattr(limits, "MAX_RECORD_SIZE", file.stat().st_size - 1)
    with pytest.raises(UsageError, match=rf"no run record to read \(larger than {limits.MAX_RECORD_SIZE} bytes"):
        read_record(record.folder)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UsageError, match=r"no run record to read \(not a regular file\)"):
        read_record(record.folder)
