"""Is a unit leased to one run at a time? Tested with real processes and real signals."""

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
NEEDS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a process as another user")
NOBODY = 65534

# Takes a unit, prints `held`, and holds the unit until its standard input ends.
HOLDER = "import sys; from pathlib import Path; from fixtures.lab.lease import acquire; "
HOLD = HOLDER + "held = acquire(sys.argv[1], Path(sys.argv[2])); print('held', flush=True); sys.stdin.read()"
# The same, with a child process that outlives it and does not use the lease.
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
    """Run one of the scripts above in a process, which is killed at the end."""
    command = [sys.executable, "-c", script, unit, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, umask=0o077
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of the standard output of a process."""
    assert process.stdout
    return process.stdout.readline().strip()


def refusal(folder: Path, unit: str = "virt/0") -> str:
    """Return the message of the LabError that acquiring the unit raises."""
    with pytest.raises(LabError) as caught:
        acquire(unit, folder)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


def test_unit_held_by_another_process_is_refused_with_its_holder(folder: Path) -> None:
    with holder(HOLD, folder) as other:
        assert read_line(other) == "held"
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


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_lease_ends_when_its_holder_is_killed(folder: Path, signal_number: signal.Signals) -> None:
    with holder(HOLD, folder) as other:
        read_line(other)
        refusal(folder)
        other.send_signal(signal_number)
        other.wait(10)
        with acquire("virt/0", folder) as held:
            assert held.unit_id == "virt/0"
            assert f"process {os.getpid()}," in refusal(folder)


@pytest.mark.parametrize("script", [HOLD_WITH_CHILD, HOLD_WITH_FORK], ids=["started", "forked"])
def test_child_that_outlives_the_holder_does_not_keep_the_lease(folder: Path, script: str) -> None:
    with holder(script, folder) as other:
        child = int(read_line(other))
        try:
            refusal(folder)
            other.kill()
            other.wait(10)
            os.kill(child, 0)  # still running
            # On a busy machine a forked child may not have run yet, and still have its inherited descriptor.
            acquire_any(["virt/0"], folder, wait=10).release()
        finally:
            os.kill(child, signal.SIGKILL)


def test_parent_keeps_the_lease_when_a_forked_child_ends(folder: Path) -> None:
    with acquire("virt/0", folder):
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        refusal(folder)


def test_unreferenced_lease_is_kept_until_the_process_ends(folder: Path) -> None:
    script = HOLD.replace("held = ", "")
    with holder(script, folder) as other:
        read_line(other)
        refusal(folder)


def test_release_and_end_of_the_with_block_end_the_lease(folder: Path) -> None:
    held = acquire("virt/0", folder)
    held.release()
    held.release()
    with pytest.raises(KeyError), acquire("virt/0", folder):
        raise KeyError
    acquire("virt/0", folder).release()


def test_similar_unit_names_have_separate_files_in_the_folder(folder: Path) -> None:
    names = ["virt/0", "virt/1", "virt%2F0", "../virt/0", "virt_0", ".."]
    leases = [acquire(name, folder) for name in names]
    assert len(list(folder.iterdir())) == len(names)
    assert len(list(folder.parent.iterdir())) == 1
    for held in leases:
        held.release()


def test_first_free_unit_is_taken_and_error_lists_all_holders(folder: Path) -> None:
    with acquire("a/1", folder):
        with acquire_any(["a/1", "a/2"], folder) as second:
            assert second.unit_id == "a/2"
            with pytest.raises(
                LabError, match=r"(?s)unit a/1 is held by .*\nunit a/2 is held by .*; wait for it to end"
            ):
                acquire_any(["a/1", "a/2"], folder)
        acquire_any(["a/1", "a/2"], folder).release()


def test_one_of_several_concurrent_processes_gets_the_lease(folder: Path) -> None:
    script = HOLD.replace("held = acquire", "\ntry: held = acquire").replace(
        "; print('held'", "\nexcept Exception: print('no')\nelse: print('held'"
    )
    with (
        holder(script, folder) as a,
        holder(script, folder) as b,
        holder(script, folder) as c,
        holder(script, folder) as d,
    ):
        assert sorted(read_line(process) for process in (a, b, c, d)) == ["held", "no", "no", "no"]


def test_holder_is_json_and_file_modes_do_not_depend_on_umask(folder: Path) -> None:
    with holder(HOLD, folder) as other:  # runs with umask 077
        read_line(other)
        (file,) = folder.iterdir()
        content = json.loads(file.read_text())
        assert (content["user"], content["pid"]) == (USER, other.pid)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
        assert stat.S_IMODE(file.stat().st_mode) == 0o666
    before = os.umask(0o027)
    try:
        acquire("virt/1", folder).release()
        assert os.umask(0o027) == 0o027  # restored
    finally:
        os.umask(before)


def test_shorter_content_replaces_longer_content(folder: Path) -> None:
    acquire("virt/0", folder).release()
    (file,) = folder.iterdir()
    file.write_text("x" * 5000)
    with acquire("virt/0", folder):
        assert json.loads(file.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[1]", "5", '{"user": "x"}', "[" * 4000])
def test_unreadable_content_is_reported_as_unknown_holder(folder: Path, content: str) -> None:
    with acquire("virt/0", folder):
        (file,) = folder.iterdir()
        file.write_text(content)
        assert refusal(folder).startswith("unit virt/0 is held by someone, process unknown, since a moment ago;")


def test_control_characters_in_the_content_are_escaped(folder: Path) -> None:
    with acquire("virt/0", folder):
        (file,) = folder.iterdir()
        file.write_text(json.dumps({"user": "\x1b[2Jx\ny", "pid": 1, "since": "z" * 1000}))
        text = refusal(folder)
        assert r"held by \x1b[2Jx\ny, process 1" in text
        assert "z" * 65 not in text


def test_symbolic_link_in_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert f"{folder}: Not a directory; expected {folder} to be a folder of mode 1777" in refusal(folder)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_folder_in_which_others_can_remove_a_lease_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(LabError, match=rf"found mode {mode:04o}, .*; expected 1777"):
        acquire("virt/0", folder)
    folder.chmod(mode | stat.S_ISVTX)
    acquire("virt/0", folder).release()


@pytest.mark.parametrize("exists", [True, False])
def test_symbolic_link_in_place_of_the_file_is_refused(folder: Path, tmp_path: Path, exists: bool) -> None:
    victim = tmp_path / "victim"
    if exists:
        victim.write_text("precious")
    folder.mkdir()
    (folder / "virt%2F0.lease").symlink_to(victim)
    assert "virt%2F0.lease: Too many levels of symbolic links; expected " in refusal(folder)
    assert not exists or victim.read_text() == "precious"
    assert victim.exists() == exists


def test_hard_link_to_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder.mkdir()
    (folder / "virt%2F0.lease").hardlink_to(victim)
    assert "found a file that is not a plain file, or has a second name (a hard link). Remove it" in refusal(folder)
    assert victim.read_text() == "precious"


def test_named_pipe_in_place_of_the_file_does_not_block(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "virt%2F0.lease")
    assert "found a file that is not a plain file" in refusal(folder)


def test_lock_on_a_file_removed_after_opening_is_no_lease(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleaner of /tmp removes the file, and another run creates and locks a new one: only that one is a lease."""
    acquire("virt/0", folder).release()
    (file,) = folder.iterdir()
    real = lease.require_plain_file
    others: list[object] = []

    def replace_file(found: os.stat_result, path: Path) -> None:
        real(found, path)
        if not others:
            file.unlink()
            others.append(None)
            others.append(acquire("virt/0", folder))

    monkeypatch.setattr(lease, "require_plain_file", replace_file)
    assert refusal(folder).startswith("unit virt/0 is held by ")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can search and read; tmp_path is closed to other users."""
    with tempfile.TemporaryDirectory(prefix="offload-hil-selftest-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _take_as_nobody(folder: Path, unit: str, connection: "Connection") -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.umask(0o077)
    try:
        with acquire(unit, folder):
            connection.send("held")
            connection.poll(60)
    except LabError as error:
        connection.send(str(error))


@contextmanager
def hold_as_nobody(folder: Path, unit: str = "virt/0") -> Iterator[str]:
    """Take and hold a unit in a process of the user nobody; yield `held` or the message of the error."""
    # Forked, because that user may have no access to this Python.
    pipe, child_pipe = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_take_as_nobody, args=(folder, unit, child_pipe))
    process.start()
    assert pipe.poll(30)
    yield pipe.recv()
    pipe.send("end")
    process.join(30)
    assert process.exitcode == 0


@NEEDS_ROOT
def test_users_share_leases_in_any_order(open_folder: Path) -> None:
    folder = open_folder / "leases"
    open_folder.chmod(0o1777)
    with hold_as_nobody(folder) as answer:  # creates folder and file
        assert answer == "held"
        assert refusal(folder).startswith("unit virt/0 is held by nobody, process ")
    acquire("virt/0", folder).release()
    with acquire("virt/1", folder), hold_as_nobody(folder, "virt/1") as answer:
        assert answer.startswith(f"unit virt/1 is held by {USER}, process {os.getpid()}, since ")
    with hold_as_nobody(folder, "virt/1") as answer:
        assert answer == "held"


@NEEDS_ROOT
def test_folder_without_permission_is_refused_with_the_expected_mode(open_folder: Path) -> None:
    with hold_as_nobody(open_folder) as answer:
        pass
    file = open_folder / "virt%2F0.lease"
    assert answer.startswith(
        f"no lease of virt/0: {file}: Permission denied; expected {open_folder} to be a folder of "
    )


def test_existing_file_is_opened_without_o_creat(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of mode 1777 Linux refuses O_CREAT for another user's file (sysctl fs.protected_regular)."""
    flags: list[int] = []
    real = os.open

    def record_flags(path: str, flag: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        flags.append(flag)
        return real(path, flag, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", record_flags)
    acquire("virt/0", folder).release()
    assert [flag for flag in flags if flag & os.O_CREAT]
    flags.clear()
    acquire("virt/0", folder).release()
    assert flags
    assert not [flag for flag in flags if flag & os.O_CREAT]


def test_shared_folder_does_not_depend_on_tmpdir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with acquire(f"selftest/{os.getpid()}"):
        file = lease.FOLDER / f"selftest%2F{os.getpid()}.lease"
        assert file.exists()
    file.unlink()
    assert not list(tmp_path.iterdir())


# Waits for one of the units, prints every message, then the unit that it got. argv: folder, seconds, units.
WAIT = (
    "import sys; from pathlib import Path\n"
    "from fixtures.lab.lease import acquire_any; from fixtures.outcome import LabError\n"
    "def show(text): print(text.replace(chr(10), ' & '), flush=True)\n"
    "try:\n"
    "    held = acquire_any(sys.argv[3:], Path(sys.argv[1]), wait=float(sys.argv[2]), progress=show)\n"
    "    show('has ' + held.unit_id); sys.stdin.read()\n"
    "except LabError as error: show('LabError: ' + str(error))\n"
)


@contextmanager
def waiter(folder: Path, seconds: float, *units: str) -> Iterator[subprocess.Popen[str]]:
    """Run the script above in a process, which is killed at the end."""
    command = [sys.executable, "-c", WAIT, str(folder), str(seconds), *units]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_waiting_run_names_the_holder_and_gets_the_unit_when_it_is_killed(folder: Path, end: signal.Signals) -> None:
    with holder(HOLD, folder) as other:
        assert read_line(other) == "held"
        with waiter(folder, math.inf, "virt/0") as waiting:
            message = read_line(waiting)
            found = re.fullmatch(
                r"waiting, for 0 s now: unit virt/0 is held by (\S+), process (\d+), since (\S+)", message
            )
            assert found, message
            assert (found[1], found[2]) == (USER, str(other.pid))
            assert abs((datetime.now(UTC) - datetime.fromisoformat(found[3])).total_seconds()) < 30
            other.send_signal(end)
            killed = time.monotonic()
            assert read_line(waiting) == "has virt/0"
            assert time.monotonic() - killed < 2
            assert refusal(folder).startswith(f"unit virt/0 is held by {USER}, process {waiting.pid}, since ")


def test_wait_ends_with_an_error_that_states_the_limit(folder: Path) -> None:
    with acquire("virt/0", folder):
        started = time.monotonic()
        with pytest.raises(LabError, match=r"^unit virt/0 is held by .*; waited 0.6 s for it to end$"):
            acquire_any(["virt/0"], folder, wait=0.6)
        assert 0.6 <= time.monotonic() - started < 5


def test_waiting_run_takes_the_first_unit_that_becomes_free(folder: Path) -> None:
    with holder(HOLD, folder, "a/1") as first, holder(HOLD, folder, "a/2") as second:
        assert read_line(first) == read_line(second) == "held"
        with waiter(folder, 60, "a/1", "a/2") as waiting:
            message = read_line(waiting)
            assert re.fullmatch(r"waiting, for 0 s now of 60: unit a/1 is held .* & unit a/2 is held by .*", message)
            second.kill()
            assert read_line(waiting) == "has a/2"


def test_waiting_run_reports_a_new_holder_and_repeats_its_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content changes while the unit stays held, as when another run took the unit first."""
    monkeypatch.setattr(lease, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(lease, "REMINDER_INTERVAL", 0.3)
    messages: list[str] = []
    with acquire("virt/0", folder):
        (file,) = folder.iterdir()

        def report(text: str) -> None:
            messages.append(text)
            file.write_text('{"user": "alice", "pid": 1, "since": "today"}')

        with pytest.raises(LabError):
            acquire_any(["virt/0"], folder, wait=0.5, progress=report)
    assert len(messages) == 3
    assert USER in messages[0]
    assert messages[1].endswith("unit virt/0 is held by alice, process 1, since today")
    assert messages[2] == messages[1]


def test_free_unit_is_taken_without_a_message(folder: Path) -> None:
    messages: list[str] = []
    acquire_any(["virt/0"], folder, wait=math.inf, progress=messages.append).release()
    assert messages == []


def test_unusable_folder_is_an_error_without_waiting(folder: Path) -> None:
    folder.write_text("no folder")
    with pytest.raises(LabError, match="Not a directory"):
        acquire_any(["virt/0"], folder, wait=math.inf)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--wait=soon", "argument --wait: found 'soon'; expected a number of seconds, or nothing"),
        ("--wait=-1", "argument --wait: found '-1'; expected"),
        ("--wait=inf", "argument --wait: found 'inf'; expected"),
    ],
)
def test_invalid_wait_is_a_usage_error(option: str, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--board", "virt", option],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert message in done.stderr
