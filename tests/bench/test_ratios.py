"""Speed of the suite as ratios: two methods for the same work, measured alternately over one connection."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import paramiko
import pytest

from fixtures.boot.bringup import RecordFact
from fixtures.gate.leased_unit import LeasedUnit
from fixtures.lab.board import Board
from fixtures.lab.labfile import Network
from fixtures.link.shell import Shell
from fixtures.link.ssh import SshShell
from fixtures.outcome import ProductError
from fixtures.probe.known_answers import find_mismatches
from fixtures.probe.protocol import Probe
from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.sources import aes

pytestmark = pytest.mark.board

ROUNDS = 12
"""Number of measurements of vectors with each method."""
COMMANDS = 100
"""Number of measurements of a command with each method."""
COMMAND = "true"
MIN_SSH_RATIO = 1 / 1.2
"""Minimum ratio for a command over SSH: the suite may take 1.2 times as long as paramiko alone."""


@dataclass(frozen=True)
class Comparison:
    """Times of this suite and of another method for the same work, in seconds, one per measurement."""

    title: str
    ours: list[float]
    others: list[float]

    @property
    def ratio(self) -> float:
        """Median of the others divided by the median of ours: above 1, ours is faster."""
        return statistics.median(self.others) / statistics.median(self.ours)


@pytest.fixture
def require_ratio(capsys: pytest.CaptureFixture[str], fact: RecordFact) -> Callable[[Comparison, float], None]:
    """Return a function that prints a comparison, records its ratio and asserts a minimum ratio (0: none)."""

    def require(comparison: Comparison, min_ratio: float) -> None:
        needed = f"{min_ratio:.2f}" if min_ratio else "-"
        ours, others = (statistics.median(times) * 1e3 for times in (comparison.ours, comparison.others))
        fact(f"times as fast: {comparison.title}", round(comparison.ratio, 2))
        with capsys.disabled():  # the table is the purpose of this test: pytest must not capture it
            sys.stdout.write(
                f"\n{'':54} {'ours, ms':>9} {'other, ms':>9} {'ratio':>7} {'needed':>7}"
                f"\n{comparison.title:54} {ours:9.3f} {others:9.3f} {comparison.ratio:7.2f} {needed:>7}\n"
            )
        assert comparison.ratio >= min_ratio

    return require


@pytest.mark.parametrize(("algorithm", "min_ratio"), [("AES", 100.0), ("AES-128-CBC", 0.0)])
def test_vectors_in_one_batch_are_faster_than_openssl_enc(
    algorithm: str,
    min_ratio: float,
    probe: Probe,
    stack: Shell,
    board: Board,
    require_ratio: Callable[[Comparison, float], None],
) -> None:
    """All of AES must reach its ratio. That of one offloaded mode is only printed: on the virtual board, most of its
    time goes into setting keys in the accelerator, a property of the product and not of this suite.
    """
    groups = [group for group in aes().groups if group.algorithm.startswith(algorithm)]
    vectors = [(group, vector) for group in groups for vector in group.vectors]
    comparison = Comparison(f"{algorithm}: a vector in a batch of {len(vectors)}; or one openssl enc", [], [])
    for group, vector in vectors[:: len(vectors) // ROUNDS][:ROUNDS]:
        comparison.ours.append(_measure(partial(_run_in_one_batch, probe, groups)) / len(vectors))
        comparison.others.append(_measure(partial(_run_openssl_enc, stack, board.openssl.engine, group, vector)))
    require_ratio(comparison, min_ratio)


def test_command_over_ssh_keeps_up_with_paramiko_on_the_same_connection(
    shell: Shell, require_ratio: Callable[[Comparison, float], None]
) -> None:
    assert isinstance(shell, SshShell)
    require_ratio(_compare_commands("a command; or bare paramiko, our connection", shell, shell.client), MIN_SSH_RATIO)


def test_command_over_ssh_keeps_up_with_paramiko_on_its_own_connection(
    shell: Shell, leased_unit: LeasedUnit, require_ratio: Callable[[Comparison, float], None]
) -> None:
    network = leased_unit.unit.network
    assert network
    with _connect_with_paramiko(network) as client:
        require_ratio(
            _compare_commands("a command; or bare paramiko, its own connection", shell, client), MIN_SSH_RATIO
        )


def _compare_commands(title: str, shell: Shell, client: paramiko.SSHClient) -> Comparison:
    comparison = Comparison(title, [], [])
    for _ in range(COMMANDS):
        comparison.ours.append(_measure(lambda: shell.run(COMMAND).check()))
        comparison.others.append(_measure(lambda: _run_with_paramiko(client)))
    return comparison


def _run_with_paramiko(client: paramiko.SSHClient) -> None:
    _, stdout, _ = client.exec_command(COMMAND)
    assert stdout.read() == b""
    assert stdout.channel.recv_exit_status() == 0


def _connect_with_paramiko(network: Network) -> paramiko.SSHClient:
    """Return a plain paramiko connection. The host key is not checked: the suite's own connection has done so."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_AnyHostKey())
    key = paramiko.PKey.from_path(network.key_file)
    client.connect(network.address, network.port, network.user, pkey=key, look_for_keys=False, allow_agent=False)
    return client


class _AnyHostKey(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Accept any host key."""


def _run_in_one_batch(probe: Probe, groups: list[VectorGroup]) -> None:
    for group, answers in zip(groups, probe.run_groups("engine", groups), strict=True):
        assert find_mismatches(group, answers) == []


def _run_openssl_enc(shell: Shell, engine: str, group: VectorGroup, vector: Vector) -> None:
    """Run one vector with `openssl enc`."""
    direction = "-d" if group.operation == "decrypt" else "-e"
    iv = f"-iv {vector.iv.hex()}" if vector.iv else ""
    command = f"openssl enc -engine {engine} -{group.algorithm.lower()} {direction} -K {vector.key.hex()} {iv} -nopad"
    result = shell.run(f"{command} 2>/dev/null", stdin=vector.input).check()
    if result.output != vector.output:
        raise ProductError(f"openssl enc answered {result.output.hex()}, expected {vector.output.hex()}")


def _measure(function: Callable[[], object]) -> float:
    """Call a function and return how long it took, in seconds."""
    started = time.monotonic()
    function()
    return time.monotonic() - started
