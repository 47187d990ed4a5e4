"""What the suite writes on a board is in a folder that no other user of the board can write to, or put a link into."""

import secrets
import stat
from pathlib import Path

import pytest
from debian_programs import find_program
from host_board import HostBoard
from local_shell import LocalShell

from fixtures.link import private_folder
from fixtures.link.private_folder import create_folder, remove_folder
from fixtures.outcome import ProductError

pytest_plugins = ["host_board"]


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
    for name in ("mkdir", "rm"):
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
