"""Two ways to do the same, measured in turn over one connection to one board; the ratio is what counts."""

import statistics
import time
from collections.abc import Callable
from functools import partial

from fixtures.link.shell import Shell
from fixtures.link.ssh import SshShell
from fixtures.outcome import ProductError
from fixtures.probe.protocol import Probe
from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.sources import aes

ROUNDS = 5
COMMANDS = 40


def test_vectors_through_the_probe_against_one_openssl_a_vector(probe: Probe, stack: Shell) -> None:
    """The seconds that a vector takes: all of AES in one trip, against `openssl enc -engine devcrypto` for each."""
    groups = aes().groups
    every = [(group, vector) for group in groups for vector in group.vectors]
    together, alone = [], []
    for group, vector in every[:: len(every) // ROUNDS]:
        together.append(_seconds(lambda: probe.answers("engine", groups)) / len(every))
        alone.append(_seconds(partial(_enc, stack, group, vector)))
    _demand("one openssl enc a vector / the probe, a vector", alone, together, least=100)


def test_a_command_through_the_shell_against_bare_paramiko(shell: Shell) -> None:
    assert isinstance(shell, SshShell)
    client = shell.client

    def bare() -> None:
        _, stdout, _ = client.exec_command("true")
        stdout.read()
        stdout.channel.recv_exit_status()

    ours, theirs = [], []
    for _ in range(COMMANDS):
        ours.append(_seconds(lambda: shell.run("true")))
        theirs.append(_seconds(bare))
    _demand("a command through the shell / bare paramiko", ours, theirs, most=1.2)


def _enc(stack: Shell, group: VectorGroup, vector: Vector) -> None:
    words = f"-{group.algorithm.lower()} {'-d' if group.operation == 'decrypt' else '-e'} -K {vector.key.hex()}"
    iv = f"-iv {vector.iv.hex()}" if vector.iv else ""
    said = stack.run(
        f"openssl enc -engine devcrypto -nopad {words} {iv} 2>/dev/null | hexdump -v -e '/1 \"%02x\"'",
        stdin=vector.input,
    ).check()
    if said.text != vector.output.hex():
        raise ProductError(f"openssl enc answered {said.text}, expected {vector.output.hex()}")


def _seconds(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


def _demand(
    what: str, first: list[float], second: list[float], *, least: float = 0, most: float = float("inf")
) -> None:
    """Print the medians and their ratio, and hold it to its bounds."""
    one, other = statistics.median(first), statistics.median(second)
    needed = f"at least {least:g}" if least else f"at most {most:g}"
    print(f"\n{what}: {one * 1e3:.3f} ms / {other * 1e3:.3f} ms = {one / other:.2f} ({needed})")  # noqa: T201
    assert least <= one / other <= most
