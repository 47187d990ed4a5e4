"""Missing programs are installed, or reported with the command that installs them if this user may not."""

import multiprocessing
import os
import shutil
from multiprocessing.connection import Connection

import pytest

from fixtures.outcome import LabError
from fixtures.virt import host

NOBODY = 65534
NEEDS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a process as another user")
NEEDS_APT = pytest.mark.skipif(not shutil.which("apt-get"), reason="this host has no apt-get")


def preparation_error(monkeypatch: pytest.MonkeyPatch, needed: dict[str, str]) -> tuple[str, list[str]]:
    """Return the error and the progress messages of `host.prepare` for these needs."""
    messages: list[str] = []
    monkeypatch.setattr(host, "NEEDED", needed)
    with pytest.raises(LabError) as caught:
        host.prepare(messages.append)
    return str(caught.value), messages


def test_nothing_is_installed_if_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    monkeypatch.setattr(host, "NEEDED", {"sh": "dash", "/bin/sh": "dash"})
    host.prepare(messages.append)
    assert messages == []


def test_files_and_programs_of_the_search_path_are_found() -> None:
    assert host._is_installed("sh")
    assert host._is_installed("/dev/null")
    assert not host._is_installed("no-such-program-here")
    assert not host._is_installed("/no/such/file")


@NEEDS_APT
@NEEDS_ROOT
def test_failed_installation_reports_the_output_of_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    text, messages = preparation_error(monkeypatch, {"sh": "dash", "/no/such/file": "no-such-package-here"})
    command = "apt-get install --yes --no-install-recommends no-such-package-here"
    assert messages == [command]
    assert text.startswith(f"exit status 100 from: {command}\n")
    assert text.endswith("Run `apt-get update` as root, then try again.")


@NEEDS_APT
@NEEDS_ROOT
def test_user_without_root_is_given_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process of an unprivileged user, for whom sudo, if installed, requires a password."""
    monkeypatch.setattr(host, "NEEDED", {"/no/such/file": "one", "sh": "dash", "no-such-program-here": "two"})
    pipe, child_pipe = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_prepare_as_nobody, args=(child_pipe,))
    process.start()
    assert pipe.poll(30)
    text, messages = pipe.recv()
    process.join(30)
    command = "sudo apt-get install --yes --no-install-recommends one two"
    assert text == f"the virtual board needs packages that this host lacks; run: {command}"
    assert messages == []


def _prepare_as_nobody(pipe: Connection) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    messages: list[str] = []
    try:
        host.prepare(messages.append)
    except LabError as error:
        pipe.send((str(error), messages))


def test_host_without_apt_is_reported_with_the_missing_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setattr(host, "SEARCH_PATH", os.fspath(tmp_path))
    text, messages = preparation_error(monkeypatch, {"make": "make", "cpio": "cpio"})
    assert "no apt-get" in text
    assert text.endswith(" make cpio")
    assert messages == []
