"""Shell on this machine: replaces a board in self-tests that need real commands only."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fixtures.link.shell import CommandResult
from fixtures.outcome import CommandTimeout, ProductError


class LocalShell:
    """Shell that runs `sh -c` in a process group of its own, with both output streams in one pipe.

    :param replace: texts to replace in a command before it runs: "/proc/crypto" -> a file with the text of a board.
    :param environment: variables to add; for example PATH with a folder of replacement programs in front.
    :param shell: command line of the shell, without `-c`.
    """

    def __init__(
        self,
        *,
        replace: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        shell: Sequence[str] = ("sh",),
    ) -> None:
        """See the class."""
        self._replace = dict(replace or {})
        self._environment = {**os.environ, **(environment or {})}
        self._shell = tuple(shell)
        self.commands: list[str] = []
        """Commands that were run, in order. Over SSH or a console, each would take one round trip."""

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> CommandResult:
        """Run a command as `Shell.run` does. A command that times out is killed with its process group."""
        self.commands.append(command)
        for old, new in self._replace.items():
            command = command.replace(old, new)
        started = time.monotonic()
        with subprocess.Popen(
            [*self._shell, "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                raise CommandTimeout(
                    f"did not end within {timeout:g} s: {command}\n{output.decode(errors='replace')}"
                ) from None
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return CommandResult(command, output, status, time.monotonic() - started)

    def put(self, data: bytes, path: str, *, mode: int = 0o644) -> None:
        """Write a file as `Shell.put` does."""
        try:
            Path(path).write_bytes(data)
            Path(path).chmod(mode)
        except OSError as problem:
            raise ProductError(f"cannot write {path}: {problem}") from None

    def get(self, path: str) -> bytes:
        """Read a file as `Shell.get` does."""
        try:
            return Path(path).read_bytes()
        except OSError as problem:
            raise ProductError(f"cannot read {path}: {problem}") from None
