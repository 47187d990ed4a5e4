"""The process of an accelerator's model: it starts before QEMU, its log is shown, and it never outlives its user."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.outcome import LabError
from fixtures.virt import model_process
from fixtures.virt.model_process import run_model

LISTENING = """
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
{before_listening}
server.listen(1)
print("arguments", sys.argv[2:], "folder", os.getcwd(), flush=True)
connection, _ = server.accept()
while connection.recv(1):
    pass
{at_end}
"""
"""A model that serves one connection, without the device."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for sockets, with a short path. Modules of `tmp_path` can be run with `-m`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(model_process, "MODULE", "standin_model")
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def write_model(tmp_path: Path, before_listening: str = "", at_end: str = "") -> None:
    """Write the program that stands in for the model."""
    (tmp_path / "standin_model.py").write_text(LISTENING.format(before_listening=before_listening, at_end=at_end))


def connect(folder: Path) -> socket.socket:
    """Connect to the model, as QEMU does."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / "caam"))
    return connection


def test_model_listens_once_the_context_is_entered(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path, before_listening="import time; time.sleep(0.3)")
    with run_model(folder / "caam") as model:
        connect(folder).close()
    assert model.process.returncode == 0
    assert model.log_file.read_text().startswith("arguments [] ")


def test_model_gets_the_name_of_its_fault(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path)
    with run_model(folder / "caam", "iv-not-written") as model:
        connect(folder).close()
    assert model.log_file.read_text().startswith("arguments ['--fault', 'iv-not-written'] ")


def test_model_of_this_project_is_found_from_every_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder `fixtures` in the working directory does not hide that of the project."""
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures/__init__.py").write_text("raise SystemExit('the wrong package')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_process, "MODULE", "fixtures.outcome")
    with pytest.raises(LabError, match=r"ended with exit status 0") as caught, run_model(folder / "caam"):
        pass
    assert "wrong package" not in str(caught.value)


def test_model_that_does_not_start_is_reported_with_the_end_of_its_log(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path, before_listening="sys.exit('\\n'.join(f'line {number}' for number in range(100)))")
    message = r"(?s)ended with exit status 1 .*; the end of its log:\nline 80\n.*\nline 99$"
    with pytest.raises(LabError, match=message), run_model(folder / "caam"):
        pass


def test_model_that_does_not_listen_in_time_is_ended(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_process, "START_TIMEOUT", 0.3)
    monkeypatch.setattr(model_process, "END_TIMEOUT", 0.1)
    write_model(tmp_path, before_listening="print('thinking', flush=True); import time; time.sleep(100)")
    with (
        pytest.raises(LabError, match=r"does not listen on \S+/caam after 0\.3 s; the end of its log:\n"),
        run_model(folder / "caam"),
    ):
        pass
    assert find_models(folder) == []


def test_model_that_ends_before_qemu_is_reported(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path)
    with run_model(folder / "caam") as model:
        model.check()
        os.kill(model.process.pid, signal.SIGSEGV)
        model.process.wait()
        with pytest.raises(LabError, match=r"(?s)ended with signal 11 while the machine needed it.*arguments \[\]"):
            model.check()


def test_model_that_does_not_end_after_qemu_is_killed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_process, "END_TIMEOUT", 0.2)
    write_model(tmp_path, at_end="import time; time.sleep(100)")
    with run_model(folder / "caam") as model:
        connect(folder).close()
    assert model.process.returncode == -signal.SIGKILL


def test_model_ends_with_the_process_that_started_it(folder: Path, tmp_path: Path) -> None:
    write_model(tmp_path)
    script = (
        "import sys, pathlib, time; from fixtures.virt import model_process\n"
        "model_process.MODULE = 'standin_model'\n"
        "with model_process.run_model(pathlib.Path(sys.argv[1])): print('runs', flush=True); time.sleep(100)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{model_process.ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-c", script, str(folder / "caam")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as user:
        assert user.stdout
        assert user.stdout.readline() == b"runs\n"
        assert len(find_models(folder)) == 1
        user.kill()
    deadline = time.monotonic() + 10
    while find_models(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert find_models(folder) == []


def find_models(folder: Path) -> list[str]:
    """Return the command lines of the models that listen in a folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # the process has just ended
            continue
        if f"-m standin_model {folder}" in line and "setpriv" not in line:
            lines.append(line)
    return lines
