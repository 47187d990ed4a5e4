"""A layer whose operations do not end costs a run a few time limits, not one for each test."""

from collections import Counter
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.link.shell import CommandResult
from fixtures.outcome import CommandTimeout, ProductError
from fixtures.probe.protocol import HANG_TIMEOUT, MAX_HANGS, Probe


class LimitedShell(LocalShell):
    """Records the time limit of each command, and waits 0.2 s at most."""

    limits: list[float]

    def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0) -> CommandResult:
        """Run a command as `Shell.run` does."""
        self.limits = [*getattr(self, "limits", []), timeout]
        return super().run(command, stdin=stdin, timeout=0.2)


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A probe that does not end."""
    path = tmp_path / "probe"
    path.write_text("#!/bin/sh\nsleep 100\n")
    path.chmod(0o755)
    return str(path)


def test_nothing_is_run_at_a_layer_after_two_hangs(program: str) -> None:
    shell = LimitedShell()
    probe = Probe(shell, program)
    for _ in range(MAX_HANGS):
        with pytest.raises(CommandTimeout):
            probe.run_groups("cryptodev", [])
    with pytest.raises(ProductError, match=f"not run: {MAX_HANGS} operations at layer cryptodev did not end"):
        probe.run_groups("cryptodev", [])
    assert len(shell.commands) == MAX_HANGS
    with pytest.raises(CommandTimeout):
        probe.run_groups("afalg", [])


def test_hangs_count_for_a_probe_on_the_recovered_board(program: str) -> None:
    hangs = Counter(cryptodev=MAX_HANGS)
    with pytest.raises(ProductError, match="not run"):
        Probe(LimitedShell(), program, hangs=hangs).run_groups("cryptodev", [])


def test_time_limit_is_shorter_after_a_hang_at_any_layer(program: str) -> None:
    shell = LimitedShell()
    probe = Probe(shell, program)
    probe.note_hang("cryptodev")
    for timeout in (300.0, 1.0):
        with pytest.raises(CommandTimeout):
            probe.run_groups("engine", [], timeout)
    assert shell.limits == [HANG_TIMEOUT, 1.0]
