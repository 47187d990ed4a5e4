"""What the suite writes on a board is in a folder that no other user of the board can write to, or put a link into."""

import os
import secrets
import shlex
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import paramiko
import pytest
from debian_programs import find_program
from host_board import HostBoard
from local_shell import LocalShell
from ssh_server import USER, ssh_server

from fixtures.link import private_folder
from fixtures.link.private_folder import NoWorkFolder, create_folder, find_folder, remove_folder
from fixtures.link.shell import DiskFull
from fixtures.link.ssh import connect
from fixtures.outcome import LabError, ProductError

pytest_plugins = ["host_board"]


class Candidates(NamedTuple):
    """Folders of this host that stand for those of a board."""

    tmp: Path
    run: Path
    home: Path


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that stands for the board's /tmp. Its name needs quoting."""
    folder = tmp_path / "a b"
    folder.mkdir()
    monkeypatch.setattr(private_folder, "PARENT", str(folder))
    return folder


@pytest.fixture(params=["sh", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> LocalShell:
    """Return a shell of this host, whose umask allows everything: with its own programs, and with busybox's alone."""
    if request.param == "sh":
        return LocalShell(shell=("sh", "-c", 'umask 0; eval "$2"', "sh"))
    busybox = find_program("busybox", "busybox")
    for name in ("mkdir", "rm", "ls", "chmod", "df"):
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {busybox} {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    return LocalShell(shell=(busybox, "sh", "-c", 'umask 0; eval "$2"', "sh"), environment={"PATH": str(tmp_path)})


def test_folder_is_private_and_new_each_time(shell: LocalShell, parent: Path) -> None:
    folders = [Path(create_folder(shell)) for _ in range(2)]
    assert folders[0] != folders[1]
    for folder in folders:
        assert folder.parent == parent and stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "probe").touch()
        remove_folder(shell, str(folder))
    assert list(parent.iterdir()) == []


@pytest.mark.parametrize("placed", ["folder", "link to a folder", "dangling link", "file"])
def test_name_that_exists_is_refused(
    shell: LocalShell, parent: Path, placed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another user of the board had guessed it."""
    monkeypatch.setattr(secrets, "token_hex", lambda _size: "guessed")
    (parent / "theirs").mkdir()
    guessed = parent / "hil-guessed"
    match placed:
        case "folder":
            guessed.mkdir()
        case "link to a folder":
            guessed.symlink_to(parent / "theirs")
        case "dangling link":
            guessed.symlink_to(parent / "nothing")
        case _:
            guessed.touch()
    with pytest.raises(ProductError, match="exit status 1 from: umask 077 && mkdir"):
        create_folder(shell)
    assert not (parent / "nothing").exists() and list((parent / "theirs").iterdir()) == []


@pytest.fixture
def candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Candidates]:
    """Return folders that stand for /tmp, /run and the home folder; the first two are file systems of their own."""
    found = Candidates(*(tmp_path / name for name in ("tmp", "run", "home")))
    for folder in found:
        folder.mkdir()
    monkeypatch.setattr(private_folder, "PARENT", str(found.tmp))
    monkeypatch.setattr(private_folder, "OTHER_PARENTS", (str(tmp_path / "missing"), str(found.run)))
    yield found
    for folder in found:
        subprocess.run(["umount", "-q", folder], check=False)


def mount(folder: Path, options: str) -> None:
    """Mount a file system in memory."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting needs root: {done.stderr.decode().strip()}")


def shell_of(candidates: Candidates, name: str = "sh") -> LocalShell:
    """Return a shell of this host whose home folder is one of the candidates."""
    words = (find_program("busybox", "busybox"), "sh") if name == "busybox" else (name,)
    return LocalShell(shell=words, environment={"HOME": str(candidates.home)})


SHELLS = ["sh", "bash", "busybox"]


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize(
    ("unusable", "reason"),
    [
        (lambda folder: mount(folder, "noexec,mode=1777"), "no program can be executed there (noexec)"),
        (lambda folder: mount(folder, "size=1m,mode=1777"), "1024 KiB are free, 2048 are needed"),
        (lambda folder: mount(folder, "ro"), "Read-only file system"),
        (lambda folder: folder.chmod(0o777), "other users can rename what is in it"),
        (lambda folder: folder.chmod(0o770), "other users can rename what is in it"),
        (lambda folder: os.chown(folder, 12345, 12345), "it belongs to another user"),
        (lambda folder: folder.rmdir(), "there is no such folder"),
    ],
    ids=["noexec", "small", "read-only", "writable by all", "writable by a group", "another user's", "missing"],
)
def test_folder_that_does_not_serve_is_passed_over(
    candidates: Candidates, tmp_path: Path, name: str, unusable: Callable[[Path], None], reason: str
) -> None:
    unusable(candidates.tmp)
    found = find_folder(shell_of(candidates, name))
    assert Path(found.path).parent == candidates.run and stat.S_IMODE(Path(found.path).stat().st_mode) == 0o700
    assert [each.partition(": ")[0] for each in found.refused] == [str(candidates.tmp), str(tmp_path / "missing")]
    assert found.refused[0].endswith(reason)
    assert list(Path(found.path).iterdir()) == []


def test_home_folder_is_the_last_that_is_tried(candidates: Candidates) -> None:
    mount(candidates.tmp, "noexec")
    mount(candidates.run, "noexec")
    found = find_folder(shell_of(candidates))
    assert found.parent == str(candidates.home) and len(found.refused) == 3


def test_named_folder_is_the_only_one_that_is_tried(candidates: Candidates) -> None:
    shell = shell_of(candidates)
    assert find_folder(shell, str(candidates.home)).parent == str(candidates.home)
    mount(candidates.run, "noexec")
    with pytest.raises(
        NoWorkFolder, match=rf"^no work folder on the board, .*: {candidates.run}: .*noexec.*`work_folder"
    ):
        find_folder(shell, str(candidates.run))


def test_no_folder_is_a_lab_error_with_every_reason_and_df(candidates: Candidates) -> None:
    mount(candidates.tmp, "noexec")
    mount(candidates.run, "size=64k")
    mount(candidates.home, "ro")
    with pytest.raises(LabError) as caught:
        find_folder(shell_of(candidates))
    for part in ("noexec", "there is no such folder", "64 KiB are free", "Read-only", "df -Pk: Filesystem", "tmpfs  "):
        assert part in str(caught.value)
    assert [list(folder.iterdir()) for folder in candidates] == [[], [], []]


@pytest.mark.parametrize("printed", ["", "folder /tmp/x", "folder /a\x1b[2J/NAME", "folder a/NAME", "no /tmp: x"])
def test_answer_that_names_no_folder_is_a_product_failure(printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _size: "0")
    answer = shlex.quote(printed.replace("NAME", "hil-0"))
    with pytest.raises(ProductError, match=r"^no work folder on the board: exit status 0, '") as caught:
        find_folder(LocalShell(shell=("sh", "-c", f"echo {answer}", "sh")))
    assert str(caught.value).isprintable()


def test_full_file_system_is_a_lab_error_with_df(tmp_path: Path) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    mount(folder, "size=64k")
    try:
        with ssh_server(tmp_path, paramiko.ECDSAKey.generate()) as server:
            arguments = ("127.0.0.1", server.port, USER, server.user_key_file, server.host_key_line)
            shell = connect(*arguments, timeout=5)
            with pytest.raises(DiskFull, match=rf"(?s)^disk full on the board: {folder}/x does not.*df -Pk .*tmpfs  "):
                shell.put(bytes(1 << 20), f"{folder}/x")
            shell.close()
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", folder], check=True)


def test_run_reports_another_folder_than_the_first(host: HostBoard) -> None:
    first, second = host.folder / "noexec", host.folder / "board"
    first.mkdir()
    second.mkdir()
    mount(first, "noexec")
    try:
        environment = {"OTHER_PARENT": str(first), "OTHER_PARENTS": str(second)}
        run = host.run_gate("-p", "other_parent", "tests/test_sha.py", "-k", "SHA1", environment=environment)
    finally:
        subprocess.run(["umount", first], check=True)
    assert run.is_healthy, run.text
    assert f"work folder in {second}, because of {first}: no program can be executed there (noexec)" in run.text
    (fact,) = [each for each in run.records_of("fact") if each["name"] == "work folder"]
    assert fact["value"].startswith(str(second))


def test_run_uses_a_private_folder_and_removes_it(host: HostBoard) -> None:
    parent = host.folder / "board"
    parent.mkdir()
    (parent / "hil-probe").symlink_to(host.folder / "elsewhere")
    run = host.run_gate(
        "-p", "other_parent", "tests/test_sha.py", "-k", "SHA1", environment={"OTHER_PARENT": str(parent)}
    )
    assert run.is_healthy, run.text
    assert [path.name for path in parent.iterdir()] == ["hil-probe"]
    assert not (host.folder / "elsewhere").exists()
