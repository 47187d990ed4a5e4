"""Is what the host lacks named with the command that gets it, and nothing else done by who may not?"""

import multiprocessing
import os
import shutil
from multiprocessing.connection import Connection

import pytest

from fixtures.outcome import LabError
from fixtures.virt import host

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can run a process as another user")
APT = pytest.mark.skipif(not shutil.which("apt-get"), reason="this host has no apt-get")


def complaint(monkeypatch: pytest.MonkeyPatch, needed: dict[str, str]) -> tuple[str, list[str]]:
    """What the error says when this is needed, and what was told on the way."""
    told: list[str] = []
    monkeypatch.setattr(host, "NEEDED", needed)
    with pytest.raises(LabError) as caught:
        host.prepare(told.append)
    return str(caught.value), told


def test_a_host_that_has_all_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(host, "NEEDED", {"sh": "dash", "/bin/sh": "dash"})
    host.prepare(told.append)
    assert told == []


def test_programs_beside_an_ordinary_users_path_are_found() -> None:
    assert host._is_there("sh")
    assert host._is_there("/dev/null")
    assert not host._is_there("no-such-program-here")
    assert not host._is_there("/no/such/file")


@APT
@AS_ROOT
def test_a_package_that_cannot_be_had_is_told_with_what_apt_said(monkeypatch: pytest.MonkeyPatch) -> None:
    text, told = complaint(monkeypatch, {"sh": "dash", "/no/such/file": "no-such-package-here"})
    command = "apt-get install --yes --no-install-recommends no-such-package-here"
    assert told == [command]
    assert text.startswith(f"exit status 100 from: {command}\n")
    assert text.endswith("Run `apt-get update` as root, then try again.")


@APT
@AS_ROOT
def test_who_may_not_install_is_given_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process of an ordinary user. Whether there is a sudo or not, it lets nobody in without a password."""
    monkeypatch.setattr(host, "NEEDED", {"/no/such/file": "one", "sh": "dash", "no-such-program-here": "two"})
    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_prepare_as_nobody, args=(there,))
    process.start()
    assert here.poll(30)
    text, told = here.recv()
    process.join(30)
    command = "sudo apt-get install --yes --no-install-recommends one two"
    assert text == f"the virtual board needs packages that this host lacks; run: {command}"
    assert told == []


def _prepare_as_nobody(mouth: Connection) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    told: list[str] = []
    try:
        host.prepare(told.append)
    except LabError as error:
        mouth.send((str(error), told))


def test_a_host_without_apt_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setattr(host, "SEARCH_PATH", os.fspath(tmp_path))
    text, told = complaint(monkeypatch, {"make": "make", "cpio": "cpio"})
    assert "no apt-get" in text
    assert text.endswith(" make cpio")
    assert told == []
