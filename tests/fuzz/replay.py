"""A shell whose answers are an input of the fuzzers."""

import re

from fixtures.link.shell import CommandResult

SEPARATOR = b"\n%%\n"
"""Stands between the outputs of several commands in one input."""
_BATCH_COMMAND = re.compile(r"; hil (\S+) \$\?")


class ReplayShell:
    """A shell that returns the parts of an input, one for each command. The commands of a batch have one each."""

    def __init__(self, data: bytes, exit_status: int = 0) -> None:
        """:param data: outputs with SEPARATOR between them; the last one is returned again and again."""
        self._parts = data.split(SEPARATOR)
        self._exit_status = exit_status

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> CommandResult:
        """Return the next part or, for a batch, the next parts with an end mark after each."""
        del stdin, timeout
        names = _BATCH_COMMAND.findall(command)
        output = b"".join(self._next() + f"\n#hil {name} 0\n".encode() for name in names) if names else self._next()
        return CommandResult(command, output, self._exit_status, 0.1)

    def put(self, data: bytes, path: str, *, mode: int = 0o644) -> None:
        """Store nothing."""

    def get(self, path: str) -> bytes:
        """Return the next part."""
        del path
        return self._next()

    def _next(self) -> bytes:
        return self._parts.pop(0) if len(self._parts) > 1 else self._parts[0]
