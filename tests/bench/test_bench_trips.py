"""How many times as fast is it, side by side on the same board? Run as `pytest --board virt -s tests/bench`."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paramiko
import pytest

from fixtures.boot.bringup import Fact
from fixtures.boot.image import Image
from fixtures.lab.board import Board
from fixtures.lab.labfile import Network, Unit
from fixtures.link.shell import Shell
from fixtures.probe.known_answers import wrong
from fixtures.probe.protocol import Probe
from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.sources import aes

ALGORITHM = "AES-128-CBC"
ROUNDS = 15
COMMANDS = 200
COMMAND = "true"


@dataclass(frozen=True)
class Row:
    """Two ways to do the same, in seconds a time, medians."""

    what: str
    ours: float
    theirs: float
    needed: str

    def __str__(self) -> str:
        """A line of the table."""
        return f"{self.what:62} {self.ours * 1e3:9.3f} {self.theirs * 1e3:9.3f} {self.theirs / self.ours:9.2f}  {self.needed}"


HEAD = f"\n{'':62} {'ours ms':>9} {'other ms':>9} {'other/ours':>10} needed"


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], fact: Fact) -> Callable[[Sequence[Row]], None]:
    """Print rows as a table, whatever pytest captures, and put the ratios into the run record."""

    def table(rows: Sequence[Row]) -> None:
        for row in rows:
            fact(f"times as fast: {row.what}", round(row.theirs / row.ours, 2))
        with capsys.disabled():
            sys.stdout.write("\n".join([HEAD, *map(str, rows), ""]))

    return table


def seconds(act: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def test_vectors_in_one_trip_against_one_openssl_a_vector(
    stack: Shell, probe: Probe, board: Board, tell: Callable[[Sequence[Row]], None]
) -> None:
    groups = [group for group in aes().groups if group.algorithm == ALGORITHM]
    sample = [(group, group.vectors[len(group.vectors) // 2]) for group in groups]
    total = sum(len(group.vectors) for group in groups)
    one_trip, one_each = [], []
    for number in range(ROUNDS):
        one_trip.append(seconds(lambda: answer(probe, groups)) / total)
        group, vector = sample[number % len(sample)]
        one_each.append(seconds(lambda: enc(stack, board.openssl.engine, group, vector)))
    row = Row(
        f"a vector of {ALGORITHM}: {total} in a trip, or one `openssl enc` each",
        statistics.median(one_trip),
        statistics.median(one_each),
        ">= 100",
    )
    tell([row])
    assert row.theirs / row.ours >= 100


def answer(probe: Probe, groups: list[VectorGroup]) -> None:
    """Run the groups in one trip, and see that the answers are right."""
    for group, given in zip(groups, probe.answers("engine", groups), strict=True):
        assert wrong(group, given) == []


def enc(shell: Shell, engine: str, group: VectorGroup, vector: Vector) -> None:
    """Run one vector as an engineer would, and see that the answer is right."""
    way = "-d" if group.operation == "decrypt" else "-e"
    command = (
        f"openssl enc -engine {engine} -{ALGORITHM.lower()} {way} -K {vector.key.hex()} -iv {vector.iv.hex()} -nopad"
    )
    assert shell.run(f"{command} 2>/dev/null", stdin=vector.input).check().output == vector.output


def test_a_command_over_ssh_against_bare_paramiko(
    shell: Shell, leased: tuple[Unit, Image], tell: Callable[[Sequence[Row]], None]
) -> None:
    with bare_client(leased[0].network) as client:
        ours, theirs = [], []
        for _ in range(COMMANDS):
            ours.append(seconds(lambda: shell.run(COMMAND).check()))
            theirs.append(seconds(lambda: bare(client)))
    row = Row(
        f"a command (`{COMMAND}`) over SSH, or bare paramiko's exec_command",
        statistics.median(ours),
        statistics.median(theirs),
        ">= 1 / 1.2",
    )
    tell([row])
    assert row.ours / row.theirs <= 1.2


class AnyHostKey(paramiko.MissingHostKeyPolicy):
    """Lets any host key pass: our own connection to this board has pinned it."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """As paramiko asks."""


def bare_client(network: Network) -> paramiko.SSHClient:
    """A connection as paramiko makes it."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(AnyHostKey())
    client.connect(
        network.address,
        network.port,
        network.user,
        pkey=paramiko.PKey.from_path(network.key_file),
        look_for_keys=False,
        allow_agent=False,
    )
    return client


def bare(client: paramiko.SSHClient) -> None:
    """Run a command, read what it printed, and its status."""
    _, output, _ = client.exec_command(COMMAND)
    assert output.read() == b""
    assert output.channel.recv_exit_status() == 0
