"""How many times as fast is it? Two ways to do the same, measured in turn over one connection; the ratio counts."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import paramiko
import pytest

from fixtures.boot.bringup import Fact
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
COMMANDS = 100
COMMAND = "true"


@dataclass(frozen=True)
class Pair:
    """What is measured, and the seconds that each of the two ways took, time by time."""

    what: str
    ours: list[float]
    others: list[float]

    @property
    def ratio(self) -> float:
        """How many times as fast as the other way ours is, by the medians."""
        return statistics.median(self.others) / statistics.median(self.ours)


@pytest.fixture
def demand(capsys: pytest.CaptureFixture[str], fact: Fact) -> Callable[[Pair, float], None]:
    """Show a pair as a line of a table, put its ratio into the run record, and hold it to the least that is needed."""

    def hold(pair: Pair, least: float) -> None:
        needed = f"{least:.2f}" if least else "-"
        ours, others = (statistics.median(times) * 1e3 for times in (pair.ours, pair.others))
        fact(f"times as fast: {pair.what}", round(pair.ratio, 2))
        with capsys.disabled():  # a measurement that nobody sees is none
            sys.stdout.write(
                f"\n{'':54} {'ours, ms':>9} {'other, ms':>9} {'ratio':>7} {'needed':>7}"
                f"\n{pair.what:54} {ours:9.3f} {others:9.3f} {pair.ratio:7.2f} {needed:>7}\n"
            )
        assert pair.ratio >= least

    return hold


@pytest.mark.parametrize(("algorithm", "least"), [("AES", 100.0), ("AES-128-CBC", 0.0)])
def test_vectors_in_one_trip_against_one_openssl_a_vector(
    algorithm: str, least: float, probe: Probe, stack: Shell, board: Board, demand: Callable[[Pair, float], None]
) -> None:
    """All of AES is held to its bound. One mode that is offloaded alone is shown: how long the accelerator takes to
    set a key, which is most of it on the virtual board, is the product's and not the harness's.
    """
    groups = [group for group in aes().groups if group.algorithm.startswith(algorithm)]
    every = [(group, vector) for group in groups for vector in group.vectors]
    pair = Pair(f"{algorithm}: a vector of {len(every)} a trip; or one openssl enc", [], [])
    for group, vector in every[:: len(every) // ROUNDS][:ROUNDS]:
        pair.ours.append(_seconds(partial(_in_one_trip, probe, groups)) / len(every))
        pair.others.append(_seconds(partial(_enc, stack, board.openssl.engine, group, vector)))
    demand(pair, least)


def test_a_command_over_ssh_against_paramiko_on_the_same_connection(
    shell: Shell, demand: Callable[[Pair, float], None]
) -> None:
    assert isinstance(shell, SshShell)
    demand(_commands("a command; or bare paramiko, our connection", shell, shell.client), 1 / 1.2)


def test_a_command_over_ssh_against_paramiko_on_a_connection_of_its_own(
    shell: Shell, leased_unit: LeasedUnit, demand: Callable[[Pair, float], None]
) -> None:
    network = leased_unit.unit.network
    assert network
    with _client(network) as client:
        demand(_commands("a command; or bare paramiko, its own connection", shell, client), 1 / 1.2)


def _commands(what: str, shell: Shell, client: paramiko.SSHClient) -> Pair:
    pair = Pair(what, [], [])
    for _ in range(COMMANDS):
        pair.ours.append(_seconds(lambda: shell.run(COMMAND).check()))
        pair.others.append(_seconds(lambda: _bare(client)))
    return pair


def _bare(client: paramiko.SSHClient) -> None:
    _, stdout, _ = client.exec_command(COMMAND)
    assert stdout.read() == b""
    assert stdout.channel.recv_exit_status() == 0


def _client(network: Network) -> paramiko.SSHClient:
    """A connection as paramiko makes it, to a board whose host key was seen to be the pinned one."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_AnyHostKey())
    key = paramiko.PKey.from_path(network.key_file)
    client.connect(network.address, network.port, network.user, pkey=key, look_for_keys=False, allow_agent=False)
    return client


class _AnyHostKey(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """As paramiko asks."""


def _in_one_trip(probe: Probe, groups: list[VectorGroup]) -> None:
    for group, given in zip(groups, probe.run_groups("engine", groups), strict=True):
        assert find_mismatches(group, given) == []


def _enc(shell: Shell, engine: str, group: VectorGroup, vector: Vector) -> None:
    """One vector as an engineer would run it."""
    way = "-d" if group.operation == "decrypt" else "-e"
    iv = f"-iv {vector.iv.hex()}" if vector.iv else ""
    command = f"openssl enc -engine {engine} -{group.algorithm.lower()} {way} -K {vector.key.hex()} {iv} -nopad"
    said = shell.run(f"{command} 2>/dev/null", stdin=vector.input).check()
    if said.output != vector.output:
        raise ProductError(f"openssl enc answered {said.output.hex()}, expected {vector.output.hex()}")


def _seconds(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started
