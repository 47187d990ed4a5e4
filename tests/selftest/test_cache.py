"""A build is made once, also if several processes need it at the same time, and never left incomplete."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures import cache
from fixtures.cache import compute_key, get_or_build, home, scratch_folder
from fixtures.outcome import LabError

ROOT = Path(__file__).parents[2]

# Builds slowly, in two steps, and notes each begin; then prints its folder.
BUILDER = """
import sys, time
from pathlib import Path
from fixtures.cache import get_or_build
base, seconds = Path(sys.argv[1]), float(sys.argv[2])
def build(folder):
    with (base / "begun").open("a") as notes:
        print("begun", file=notes)
    (folder / "first").write_text("1")
    time.sleep(seconds)
    (folder / "second").write_text("2")
print(get_or_build("thing", "key", build, under=base / "cache"), flush=True)
"""


@contextmanager
def builder(base: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Start a process that requests the build `thing`, which takes some seconds."""
    command = [sys.executable, "-c", BUILDER, str(base), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_builds(base: Path, count: int, timeout: float = 10.0) -> bool:
    """Wait until a number of builds have begun. Return False if they have not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    notes = base / "begun"
    while not (notes.exists() and notes.read_text().count("begun") >= count):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def list_names(folder: Path) -> list[str]:
    """Return the names in a folder, without the lock."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_concurrent_processes_build_once_and_share_the_result(tmp_path: Path) -> None:
    with builder(tmp_path, 0.5) as one, builder(tmp_path, 0.5) as other:
        outputs = [process.communicate(timeout=20)[0].strip() for process in (one, other)]
    assert outputs == [str(tmp_path / "cache/thing-key")] * 2
    assert (tmp_path / "begun").read_text() == "begun\n"
    assert list_names(tmp_path / "cache") == ["thing-key"]
    assert list_names(tmp_path / "cache/thing-key") == ["first", "second"]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_build_leaves_no_result(tmp_path: Path, signal_number: signal.Signals) -> None:
    with builder(tmp_path, 60) as killed:
        assert wait_for_builds(tmp_path, 1)
        os.kill(killed.pid, signal_number)
        killed.wait(10)
    assert "thing-key" not in list_names(tmp_path / "cache")
    with builder(tmp_path, 0) as next_one:
        assert next_one.communicate(timeout=20)[0].strip() == str(tmp_path / "cache/thing-key")
    assert list_names(tmp_path / "cache") == ["thing-key"], "the folder of the killed build is left behind"
    assert list_names(tmp_path / "cache/thing-key") == ["first", "second"]


def test_waiting_process_builds_after_the_builder_was_killed(tmp_path: Path) -> None:
    with builder(tmp_path, 60) as killed, builder(tmp_path, 0) as waiting:
        assert wait_for_builds(tmp_path, 1)
        time.sleep(0.3)
        if (tmp_path / "cache/thing-key").exists():  # the other process was first
            return
        killed.kill()
        assert waiting.communicate(timeout=20)[0].strip() == str(tmp_path / "cache/thing-key")
    assert list_names(tmp_path / "cache") == ["thing-key"]


def test_failed_build_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        get_or_build("thing", "key", fail, under=tmp_path)
    assert list_names(tmp_path) == []
    assert list_names(get_or_build("thing", "key", lambda folder: (folder / "whole").touch(), under=tmp_path)) == [
        "whole"
    ]


def test_cached_build_is_not_repeated(tmp_path: Path) -> None:
    calls: list[Path] = []
    first = get_or_build("thing", "key", calls.append, under=tmp_path)
    assert get_or_build("thing", "key", calls.append, under=tmp_path) == first
    other = get_or_build("thing", "key2", calls.append, under=tmp_path)
    assert other != first
    assert len(calls) == 2


def test_unfinished_builds_of_others_are_kept(tmp_path: Path) -> None:
    others = [".thing-fault-key.x1y2", ".thing-key2.x1y2", ".other-key.x1y2"]
    for name in others:
        (tmp_path / name).mkdir()
    get_or_build("thing", "key", lambda folder: (folder / "whole").touch(), under=tmp_path)
    assert list_names(tmp_path) == sorted([*others, "thing-key"])


# Keys


def test_key_depends_on_the_content_of_the_parts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    (tmp_path / "b").write_text("text")
    key = compute_key(["text"])
    assert len(key) == 16
    assert int(key, 16) >= 0
    assert key == compute_key([b"text"]) == compute_key([tmp_path / "a"]) == compute_key([tmp_path / "b"])


@pytest.mark.parametrize(
    ("one", "other"), [(["ab", "c"], ["a", "bc"]), (["a"], ["a", ""]), ([], [""]), (["a", "b"], ["b", "a"])]
)
def test_different_parts_have_different_keys(one: list[str], other: list[str]) -> None:
    assert compute_key(one) != compute_key(other)


def test_key_of_a_folder_depends_on_names_and_contents_of_its_files(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep/file").write_text("x")
    keys = [compute_key([tree])]
    (tree / "deep/file").write_text("y")
    keys.append(compute_key([tree]))
    (tree / "deep/file").rename(tree / "file")
    keys.append(compute_key([tree]))
    (tree / "more").touch()
    keys.append(compute_key([tree]))
    assert len(set(keys)) == 4
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__/x.pyc").touch()
    assert compute_key([tree]) == keys[-1], "__pycache__ changes the key"


def test_modification_time_does_not_change_the_key(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    before = compute_key([tmp_path / "a"])
    os.utime(tmp_path / "a", (0, 0))
    assert compute_key([tmp_path / "a"]) == before


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert home() == tmp_path / "x/offload-hil"
    assert home().is_dir()
    assert cache.get_or_build("thing", "key", lambda _: None).parent == home()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / ".cache/offload-hil"


def test_unused_build_is_removed_for_a_new_one_of_the_same_name(tmp_path: Path) -> None:
    old, used, new, other = "0" * 16, "a" * 16, "b" * 16, "c" * 16
    for name, key in (("thing", old), ("thing", used), ("thing-else", old)):
        folder = get_or_build(name, key, lambda _folder: None, under=tmp_path)
        os.utime(folder, (0, 0))
    get_or_build("thing", used, lambda _folder: None, under=tmp_path)
    get_or_build("thing", new, lambda _folder: None, under=tmp_path)
    assert list_names(tmp_path) == [f"thing-{used}", f"thing-{new}", f"thing-else-{old}"]
    get_or_build("thing-else", other, lambda _folder: None, under=tmp_path)
    assert list_names(tmp_path) == [f"thing-{used}", f"thing-{new}", f"thing-else-{other}"]


def test_new_build_with_an_old_timestamp_is_kept(tmp_path: Path) -> None:
    """Unpacking an archive may set the folder's modification time to one in the past."""
    folder = get_or_build("thing", "0" * 16, lambda folder: os.utime(folder, (0, 0)), under=tmp_path)
    assert folder.is_dir()
    assert get_or_build("thing", "1" * 16, lambda _folder: None, under=tmp_path).is_dir() and folder.is_dir()


# A host with several users


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_home_that_others_can_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    home().chmod(mode)
    with pytest.raises(LabError, match=rf"belongs to user \d+, mode {mode:04o}; expected it to be this user's"):
        home()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_home_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    os.chown(home(), 65534, 65534)
    with pytest.raises(LabError, match="belongs to user 65534, "):
        home()


@pytest.mark.parametrize("base", ["/dev/null", "/proc/none"])
def test_home_that_cannot_be_created_is_a_lab_error(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    with pytest.raises(LabError, match=rf"^the cache {base}/offload-hil cannot be used: .*\. Set XDG_CACHE_HOME$"):
        home()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in place of /tmp."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_scratch_folder_is_private_and_replaces_that_of_a_killed_run(temporary: Path) -> None:
    (temporary / "hil-a@1").mkdir()
    with scratch_folder("hil-a@") as folder:
        assert list(temporary.iterdir()) == [folder]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_link_in_place_of_a_scratch_folder_is_not_followed(temporary: Path) -> None:
    (temporary / "other").mkdir()
    (temporary / "other/file").touch()
    (temporary / "hil-a@1").symlink_to(temporary / "other")
    with scratch_folder("hil-a@") as folder:
        assert not folder.is_symlink()
    assert (temporary / "other/file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_scratch_folder_of_another_user_is_left_alone(temporary: Path) -> None:
    foreign = temporary / "hil-a@1"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    with scratch_folder("hil-a@") as folder:
        assert sorted(temporary.iterdir()) == sorted([foreign, folder])
