"""Leases, with real processes and real signals."""

import json
import math
import multiprocessing
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from fixtures.lab import lease
from fixtures.lab.lease import acquire, acquire_any
from fixtures.outcome import LabError

ROOT = Path(__file__).parents[2]
USER = pwd.getpwuid(os.getuid()).pw_name
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a process as another user")
NOBODY = 65534

# Takes a unit, says so, and holds it until its standard input ends.
HOLDER = "import sys; from pathlib import Path; from fixtures.lab.lease import acquire; "
HOLD = HOLDER + "held = acquire(sys.argv[1], Path(sys.argv[2])); print('held', flush=True); sys.stdin.read()"
# The same, with a child that lives on after it, and does not know of the lease.
HOLD_WITH_CHILD = HOLDER + (
    "import subprocess; held = acquire(sys.argv[1], Path(sys.argv[2])); "
    "child = subprocess.Popen(['cat'], close_fds=False); print(child.pid, flush=True); sys.stdin.read()"
)
HOLD_WITH_FORK = HOLDER + (
    "import os, time; held = acquire(sys.argv[1], Path(sys.argv[2])); pid = os.fork(); "
    "pid or time.sleep(60); print(pid, flush=True); sys.stdin.read()"
)


@contextmanager
def holder(script: str, folder: Path, unit: str = "virt/0") -> Iterator[subprocess.Popen[str]]:
    """A process that runs one of the scripts above; ended, if it still runs, at the end."""
    command = [sys.executable, "-c", script, unit, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, umask=0o077
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line of what it prints."""
    assert process.stdout
    return process.stdout.readline().strip()


def refusal(folder: Path, unit: str = "virt/0") -> str:
    """What the error says when the unit is taken once more."""
    with pytest.raises(LabError) as caught:
        acquire(unit, folder)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


def test_a_unit_held_by_another_process_is_refused_and_says_by_whom(folder: Path) -> None:
    with holder(HOLD, folder) as other:
        assert said(other) == "held"
        text = refusal(folder)
    found = re.fullmatch(
        r"unit virt/0 is held by (\S+), process (\d+), since (\S+); wait for it to end or name .*", text
    )
    assert found, text
    assert found[1] == USER
    assert int(found[2]) == other.pid
    since = datetime.fromisoformat(found[3])
    assert found[3].endswith("Z")
    assert abs((datetime.now(UTC) - since).total_seconds()) < 60


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_holder_lets_go(folder: Path, how: signal.Signals) -> None:
    with holder(HOLD, folder) as other:
        said(other)
        refusal(folder)
        other.send_signal(how)
        other.wait(10)
        with acquire("virt/0", folder) as held:
            assert held.unit_id == "virt/0"
            assert f"process {os.getpid()}," in refusal(folder)


@pytest.mark.parametrize("script", [HOLD_WITH_CHILD, HOLD_WITH_FORK], ids=["started", "forked"])
def test_a_child_that_outlives_the_holder_does_not_keep_the_unit(folder: Path, script: str) -> None:
    with holder(script, folder) as other:
        child = int(said(other))
        try:
            refusal(folder)
            other.kill()
            other.wait(10)
            os.kill(child, 0)  # it lives
            # On a busy machine a forked child may not have run yet, and so not closed what it inherited.
            acquire_any(["virt/0"], folder, wait=10).release()
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_fork_does_not_take_the_lease_from_its_parent(folder: Path) -> None:
    with acquire("virt/0", folder):
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        refusal(folder)


def test_a_lease_that_nobody_refers_to_is_kept_until_the_process_ends(folder: Path) -> None:
    script = HOLD.replace("held = ", "")
    with holder(script, folder) as other:
        said(other)
        refusal(folder)


def test_release_and_the_end_of_the_block_let_go(folder: Path) -> None:
    held = acquire("virt/0", folder)
    held.release()
    held.release()
    with pytest.raises(KeyError), acquire("virt/0", folder):
        raise KeyError
    acquire("virt/0", folder).release()


def test_units_do_not_get_in_each_others_way(folder: Path) -> None:
    names = ["virt/0", "virt/1", "virt%2F0", "../virt/0", "virt_0", ".."]
    leases = [acquire(name, folder) for name in names]
    assert len(list(folder.iterdir())) == len(names)
    assert len(list(folder.parent.iterdir())) == 1
    for held in leases:
        held.release()


def test_the_first_free_unit_is_taken_and_all_holders_are_told(folder: Path) -> None:
    with acquire("a/1", folder):
        with acquire_any(["a/1", "a/2"], folder) as second:
            assert second.unit_id == "a/2"
            with pytest.raises(
                LabError, match=r"(?s)unit a/1 is held by .*\nunit a/2 is held by .*; wait for it to end"
            ):
                acquire_any(["a/1", "a/2"], folder)
        acquire_any(["a/1", "a/2"], folder).release()


def test_out_of_many_at_once_exactly_one_gets_it(folder: Path) -> None:
    script = HOLD.replace("held = acquire", "\ntry: held = acquire").replace(
        "; print('held'", "\nexcept Exception: print('no')\nelse: print('held'"
    )
    with (
        holder(script, folder) as a,
        holder(script, folder) as b,
        holder(script, folder) as c,
        holder(script, folder) as d,
    ):
        assert sorted(said(process) for process in (a, b, c, d)) == ["held", "no", "no", "no"]


def test_the_note_is_json_and_the_files_are_open_to_all_whatever_the_umask(folder: Path) -> None:
    with holder(HOLD, folder) as other:  # runs with umask 077
        said(other)
        (file,) = folder.iterdir()
        note = json.loads(file.read_text())
        assert (note["user"], note["pid"]) == (USER, other.pid)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
        assert stat.S_IMODE(file.stat().st_mode) == 0o666
    before = os.umask(0o027)
    try:
        acquire("virt/1", folder).release()
        assert os.umask(0o027) == 0o027  # put back
    finally:
        os.umask(before)


def test_a_shorter_note_leaves_nothing_of_a_longer_one(folder: Path) -> None:
    acquire("virt/0", folder).release()
    (file,) = folder.iterdir()
    file.write_text("x" * 5000)
    with acquire("virt/0", folder):
        assert json.loads(file.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("note", ["", "{", "[1]", "5", '{"user": "x"}', "[" * 4000])
def test_an_unreadable_note_is_no_obstacle(folder: Path, note: str) -> None:
    with acquire("virt/0", folder):
        (file,) = folder.iterdir()
        file.write_text(note)
        assert refusal(folder).startswith("unit virt/0 is held by someone, process unknown, since a moment ago;")


def test_a_note_cannot_write_to_the_terminal(folder: Path) -> None:
    with acquire("virt/0", folder):
        (file,) = folder.iterdir()
        file.write_text(json.dumps({"user": "\x1b[2Jx\ny", "pid": 1, "since": "z" * 1000}))
        text = refusal(folder)
        assert "held by ?[2Jx?y, process 1" in text
        assert "z" * 65 not in text


def test_a_symbolic_link_in_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert f"{folder}: Not a directory; expected {folder} to be a folder of mode 1777" in refusal(folder)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_in_place_of_the_file_is_refused(folder: Path, tmp_path: Path, exists: bool) -> None:
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    folder.mkdir()
    (folder / "virt%2F0.lease").symlink_to(victim)
    assert "virt%2F0.lease: Too many levels of symbolic links; expected " in refusal(folder)
    assert not exists or victim.read_text() == "precious"
    assert victim.exists() == exists


def test_a_hard_link_to_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder.mkdir()
    (folder / "virt%2F0.lease").hardlink_to(victim)
    assert "found something that is no plain file, or has a second name; remove it" in refusal(folder)
    assert victim.read_text() == "precious"


def test_a_pipe_in_place_of_the_file_does_not_hold_us_up(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "virt%2F0.lease")
    assert "found something that is no plain file" in refusal(folder)


def test_a_file_removed_between_opening_and_locking_gives_no_worthless_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cleans up /tmp removes the file, another run makes it anew and locks it: ours must not be a second lease."""
    acquire("virt/0", folder).release()
    (file,) = folder.iterdir()
    real = lease.refuse_strange
    others: list[object] = []

    def remove_and_let_another_in(found: os.stat_result, path: Path) -> None:
        real(found, path)
        if not others:
            file.unlink()
            others.append(None)
            others.append(acquire("virt/0", folder))

    monkeypatch.setattr(lease, "refuse_strange", remove_and_let_another_in)
    assert refusal(folder).startswith("unit virt/0 is held by ")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach and read: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="offload-hil-selftest-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _take_as_nobody(folder: Path, unit: str, mouth: "Connection") -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.umask(0o077)
    try:
        with acquire(unit, folder):
            mouth.send("held")
            mouth.poll(60)
    except LabError as error:
        mouth.send(str(error))


@contextmanager
def nobody(folder: Path, unit: str = "virt/0") -> Iterator[str]:
    """A process of the user nobody that takes a unit and holds it meanwhile; gives `held` or what the error says."""
    # Forked, not started: the Python that runs here may be closed to that user.
    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_take_as_nobody, args=(folder, unit, there))
    process.start()
    assert here.poll(30)
    yield here.recv()
    here.send("end")
    process.join(30)
    assert process.exitcode == 0


@AS_ROOT
def test_users_share_the_leases_whoever_came_first(open_folder: Path) -> None:
    folder = open_folder / "leases"
    open_folder.chmod(0o1777)
    with nobody(folder) as answer:  # makes the folder and the file
        assert answer == "held"
        assert refusal(folder).startswith("unit virt/0 is held by nobody, process ")
    acquire("virt/0", folder).release()
    with acquire("virt/1", folder), nobody(folder, "virt/1") as answer:
        assert answer.startswith(f"unit virt/1 is held by {USER}, process {os.getpid()}, since ")
    with nobody(folder, "virt/1") as answer:
        assert answer == "held"


@AS_ROOT
def test_a_folder_that_is_closed_to_us_says_what_is_expected(open_folder: Path) -> None:
    with nobody(open_folder) as answer:
        pass
    file = open_folder / "virt%2F0.lease"
    assert answer.startswith(
        f"no lease of virt/0: {file}: Permission denied; expected {open_folder} to be a folder of "
    )


def test_an_existing_file_is_never_opened_to_be_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux refuses that (fs.protected_regular) in a folder of mode 1777, if the file is another user's."""
    flags: list[int] = []
    real = os.open

    def listen(path: str, flag: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        flags.append(flag)
        return real(path, flag, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", listen)
    acquire("virt/0", folder).release()
    assert [flag for flag in flags if flag & os.O_CREAT]
    flags.clear()
    acquire("virt/0", folder).release()
    assert flags
    assert not [flag for flag in flags if flag & os.O_CREAT]


def test_the_shared_folder_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with acquire(f"selftest/{os.getpid()}"):
        file = lease.FOLDER / f"selftest%2F{os.getpid()}.lease"
        assert file.exists()
    file.unlink()
    assert not list(tmp_path.iterdir())


# Waits for one of the units, says whom for, and that it has one; argv: folder, seconds, units.
WAIT = (
    "import sys; from pathlib import Path\n"
    "from fixtures.lab.lease import acquire_any; from fixtures.outcome import LabError\n"
    "def tell(text): print(text.replace(chr(10), ' & '), flush=True)\n"
    "try:\n"
    "    held = acquire_any(sys.argv[3:], Path(sys.argv[1]), wait=float(sys.argv[2]), tell=tell)\n"
    "    tell('has ' + held.unit_id); sys.stdin.read()\n"
    "except LabError as error: tell('LabError: ' + str(error))\n"
)


@contextmanager
def waiter(folder: Path, seconds: float, *units: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the script above."""
    command = [sys.executable, "-c", WAIT, str(folder), str(seconds), *units]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_who_waits_is_told_whom_for_and_gets_the_unit_when_its_holder_dies(folder: Path, end: signal.Signals) -> None:
    with holder(HOLD, folder) as other:
        assert said(other) == "held"
        with waiter(folder, math.inf, "virt/0") as waiting:
            told = said(waiting)
            found = re.fullmatch(
                r"waiting, for 0 s now: unit virt/0 is held by (\S+), process (\d+), since (\S+)", told
            )
            assert found, told
            assert (found[1], found[2]) == (USER, str(other.pid))
            assert abs((datetime.now(UTC) - datetime.fromisoformat(found[3])).total_seconds()) < 30
            other.send_signal(end)
            killed = time.monotonic()
            assert said(waiting) == "has virt/0"
            assert time.monotonic() - killed < 2
            assert refusal(folder).startswith(f"unit virt/0 is held by {USER}, process {waiting.pid}, since ")


def test_a_wait_has_its_end_and_says_so(folder: Path) -> None:
    with acquire("virt/0", folder):
        started = time.monotonic()
        with pytest.raises(LabError, match=r"^unit virt/0 is held by .*; waited 0.6 s for it to end$"):
            acquire_any(["virt/0"], folder, wait=0.6)
        assert 0.6 <= time.monotonic() - started < 5


def test_the_first_of_several_that_becomes_free_is_taken(folder: Path) -> None:
    with holder(HOLD, folder, "a/1") as first, holder(HOLD, folder, "a/2") as second:
        assert said(first) == said(second) == "held"
        with waiter(folder, 60, "a/1", "a/2") as waiting:
            told = said(waiting)
            assert re.fullmatch(r"waiting, for 0 s now of 60: unit a/1 is held .* & unit a/2 is held by .*", told)
            second.kill()
            assert said(waiting) == "has a/2"


def test_who_waits_is_told_of_a_new_holder_and_reminded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder's note changes while the unit stays held, as when another run was quicker to take it."""
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(lease, "REMIND_SECONDS", 0.3)
    told: list[str] = []
    with acquire("virt/0", folder):
        (file,) = folder.iterdir()

        def tell(text: str) -> None:
            told.append(text)
            file.write_text('{"user": "alice", "pid": 1, "since": "today"}')

        with pytest.raises(LabError):
            acquire_any(["virt/0"], folder, wait=0.5, tell=tell)
    assert len(told) == 3
    assert USER in told[0]
    assert told[1].endswith("unit virt/0 is held by alice, process 1, since today")
    assert told[2] == told[1]


def test_a_free_unit_is_taken_without_a_word(folder: Path) -> None:
    told: list[str] = []
    acquire_any(["virt/0"], folder, wait=math.inf, tell=told.append).release()
    assert told == []


def test_a_folder_that_is_not_usable_is_not_waited_for(folder: Path) -> None:
    folder.write_text("no folder")
    with pytest.raises(LabError, match="Not a directory"):
        acquire_any(["virt/0"], folder, wait=math.inf)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--wait=soon", "argument --wait: found 'soon'; expected a number of seconds, or nothing"),
        ("--wait=-1", "argument --wait: found '-1'; expected"),
        ("--wait=inf", "argument --wait: found 'inf'; expected"),
    ],
)
def test_a_wait_that_is_no_time_is_a_usage_error(option: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--board", "virt", option],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert told in done.stderr
