"""Is the culprit of a simulated fault right or unknown, and never another layer?

A simulated fault is in one layer, and concerns requests with one property: an algorithm, a vector group, in place or
not, a kind of driver. It makes all of their answers wrong, or few. The record has what a gate would see of it.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fixtures.diagnosis import diagnose
from fixtures.layers import LAYERS
from fixtures.record.record import Record

SIMULATIONS = 300
"""Number of faults of each layer."""
MAX_WRONG_BY_CHANCE = 0.01
"""Greatest part of the faults with few wrong answers, or with some not asked, that may have another culprit."""

ALGORITHMS = ("AES-128-CBC", "AES-128-CTR", "SHA256")
GROUPS = ("MMT", "in-place", "not-in-place", "fragments", "window", "large", "in-flight", "idle")
PATHS = {
    "openssl": ("openssl",),
    "engine": ("engine", "cryptodev", "driver"),
    "engine-explicit": ("engine", "cryptodev", "driver"),
    "cryptodev": ("cryptodev", "driver"),
    "afalg": ("kernel", "driver"),
}
"""Entry -> the layers that its requests pass through."""


@dataclass(frozen=True)
class Board:
    """What differs between boards: the algorithms of the accelerator, the entries and groups that were tested."""

    accelerated: tuple[str, ...]
    entries: tuple[str, ...]
    untested: frozenset[tuple[str, str]]
    """Entries with groups that were not run there."""


@dataclass(frozen=True)
class SimulatedFault:
    """A fault of one layer."""

    layer: str
    algorithms: tuple[str, ...]
    property: str
    """A group, "in place", "not in place", or "any"."""
    accelerator_only: bool
    """Whether only requests that an accelerator serves are wrong."""
    rate: float
    """Part of the answers that are wrong."""
    rows: bool
    """Whether rows of interfaces are wrong, too."""

    def hits(self, board: Board, entry: str, algorithm: str, group: str) -> bool:
        """Return whether answers to a group are wrong at an entry."""
        is_accelerated = algorithm in board.accelerated
        return (
            self.layer in PATHS[entry]
            and algorithm in self.algorithms
            and (is_accelerated or not (self.accelerator_only or self.layer == "driver"))
            and self.property in ("any", group, _place(entry, group))
        )


def _place(entry: str, group: str) -> str:
    """Return whether requests are in place. Those through AF_ALG never are."""
    return "in place" if group == "in-place" and entry != "afalg" else "not in place"


def simulate(layer: str, chance: random.Random, *, rare: bool) -> list[Record]:
    """Return the record of a run with a random fault of a layer on a random board; empty if it was not noticed.

    :param rare: some answers alone are wrong, and some groups are not asked at all.
    """
    accelerated = chance.choice((ALGORITHMS, ALGORITHMS[:1], ALGORITHMS[:2]))
    entries = chance.choice((LAYERS, LAYERS, LAYERS[:4]))
    pairs = [(entry, group) for entry in entries for group in GROUPS]
    untested = frozenset(chance.sample(pairs, len(pairs) // 4)) if rare else frozenset[tuple[str, str]]()
    board = Board(accelerated, entries, untested)
    fault = SimulatedFault(
        layer,
        chance.choice((ALGORITHMS, *((name,) for name in (accelerated if layer == "driver" else ALGORITHMS)))),
        chance.choice(("any", "in place", "not in place", *GROUPS)),
        accelerator_only=chance.random() < 0.3,
        rate=chance.choice((1.0, 0.3, 0.05, 0.01)) if rare else 1.0,
        rows=chance.random() < 0.3,
    )
    records = [*_algorithms(board), *_vectors(board, fault, chance), *_rows(board, fault)]
    if not any(record.get("failed") or record.get("passed") is False for record in records):
        return []
    return [*records, {"kind": "test", "nodeid": "t", "outcome": "failed", "seconds": 0.1, "reason": "wrong"}]


def _driver(board: Board, algorithm: str) -> str:
    return f"{algorithm}-caam" if algorithm in board.accelerated else f"{algorithm}-generic"


def _algorithms(board: Board) -> Iterator[Record]:
    for name in ALGORITHMS:
        promise = _driver(board, name) if name in board.accelerated else None
        yield {
            "kind": "algorithm",
            "algorithm": name,
            "kernel": name,
            "driver": _driver(board, name),
            "promise": promise,
        }


def _vectors(board: Board, fault: SimulatedFault, chance: random.Random) -> Iterator[Record]:
    for entry in board.entries:
        for name in ALGORITHMS:
            for group in GROUPS:
                if (entry, group) in board.untested:
                    continue
                total = 1 if group in ("large", "idle") else 20
                hit = fault.hits(board, entry, name, group)
                failed = sum(hit and chance.random() < fault.rate for _ in range(total))
                driver = _driver(board, name) if entry in ("cryptodev", "afalg") else "engine"
                yield {
                    "kind": "vectors", "layer": entry, "algorithm": name, "group": f"{name}-{group}", "total": total,
                    "failed": failed, "seconds": 0.1, "driver": driver,
                }  # fmt: skip


def _rows(board: Board, fault: SimulatedFault) -> Iterator[Record]:
    """Yield rows of cryptodev's interface. Those that a driver may affect are wrong with cryptodev, or the driver."""
    if not fault.rows or fault.layer not in ("cryptodev", "driver"):
        return
    is_software = "AES-128-CBC" not in board.accelerated
    hit = fault.hits(board, "cryptodev", "AES-128-CBC", "in-flight")
    yield {
        "kind": "interface", "layer": "cryptodev", "row": "sixteen-at-once", "caller": "native", "seen": "",
        "expected": {}, "lacks": "", "driver": hit, "passed": not hit, "software": is_software,
    }  # fmt: skip
    if fault.layer == "cryptodev":
        yield {
            "kind": "interface", "layer": "cryptodev", "row": "two-descriptors", "caller": "native", "seen": "",
            "expected": {}, "lacks": "", "driver": False, "passed": False, "software": False,
        }  # fmt: skip


@pytest.mark.parametrize("layer", ["openssl", "engine", "cryptodev", "kernel", "driver"])
def test_culprit_of_a_fault_that_always_shows_is_right_or_unknown(layer: str) -> None:
    chance = random.Random(layer)
    named = 0
    for number in range(SIMULATIONS):
        if not (records := simulate(layer, chance, rare=False)):
            continue
        found = diagnose(records)
        assert found.layer in (layer, None), f"simulation {number}: {found}"
        assert found.layer or layer in (found.candidates or (layer,)), f"simulation {number}: {found}"
        named += found.layer == layer
    assert named > SIMULATIONS / 20, "the culprit is hardly ever named"


@pytest.mark.parametrize("layer", ["openssl", "engine", "cryptodev", "kernel", "driver"])
def test_culprit_of_a_fault_that_shows_sometimes_is_seldom_another_layer(layer: str) -> None:
    chance = random.Random(f"{layer}, rare")
    diagnoses = [diagnose(records) for _ in range(SIMULATIONS) if (records := simulate(layer, chance, rare=True))]
    other = [found for found in diagnoses if found.layer not in (layer, None)]
    assert len(other) <= MAX_WRONG_BY_CHANCE * len(diagnoses), other[0]
    assert not [found for found in other if found.confidence == "certain"]
