"""Does each fault of the CAAM's model act where it says, and only there?"""

import os

import pytest

from fixtures.virt.caam.errors import DecoFailure, Unit, UnitFailure
from fixtures.virt.caam.faults import FAULTS, Healthy
from fixtures.virt.caam.job_ring import (
    INPUT_BASE,
    INPUT_SIZE,
    JOBS_ADDED,
    JOBS_REMOVED,
    OUTPUT_BASE,
    OUTPUT_SIZE,
    OUTPUT_USED,
    RESULT_SIZE,
    JobRing,
)
from fixtures.virt.caam.memory import GuestMemory

JOBS, RESULTS = 0x1000, 0x2000
"""Addresses of the input and the output ring, of 8 entries each."""
DATA = bytes(range(256)) * 2048


class Ring:
    """A job ring with a fault. Job n is at the address n."""

    def __init__(self, fault: Healthy) -> None:
        """Create the ring."""
        self._memory = GuestMemory()
        self._memory.add(0, memoryview(bytearray(1 << 16)))
        self._jobs = 0
        self.interrupts = 0
        self.ring = JobRing(0, self._memory, lambda _: 0, self._interrupt, fault.ring_runs, fault.overtaken)
        for register, value in (
            (INPUT_BASE + 4, JOBS), (OUTPUT_BASE + 4, RESULTS), (INPUT_SIZE, 8), (OUTPUT_SIZE, 8),
        ):  # fmt: skip
            self.ring.write(register, value)

    def _interrupt(self, _ring: int) -> None:
        self.interrupts += 1

    def add_job(self) -> None:
        """Add the next job."""
        self._memory.write(JOBS + 8 * (self._jobs % 8), (self._jobs + 1).to_bytes(8, "big"))
        self._jobs += 1
        self.ring.write(JOBS_ADDED, 1)

    @property
    def results(self) -> list[int]:
        """The jobs whose results are in the output ring, in its order."""
        count = self.ring.read(OUTPUT_USED)
        places = (bytes(self._memory.read(RESULTS + RESULT_SIZE * at, 8)) for at in range(count))
        return [int.from_bytes(place, "big") for place in places]


def test_healthy_ring_completes_jobs_in_order() -> None:
    ring = Ring(Healthy())
    for _ in range(4):
        ring.add_job()
    assert ring.results == [1, 2, 3, 4]


def test_jobs_are_overtaken_by_the_next() -> None:
    ring = Ring(FAULTS["out-of-order"]())
    for _ in range(5):
        ring.add_job()
    assert ring.results == [1, 3, 2, 4]
    ring.ring.release()
    assert ring.results == [1, 3, 2, 4, 5]


def test_result_that_is_held_back_raises_its_interrupt_when_it_is_written() -> None:
    ring = Ring(FAULTS["out-of-order"]())
    ring.add_job()
    ring.ring.write(JOBS_REMOVED, 1)
    ring.add_job()
    assert (ring.results, ring.ring.held is not None) == ([], True)
    ring.ring.release()
    assert ring.ring.held is None and ring.ring.read(OUTPUT_USED) == 1


@pytest.mark.parametrize("name", FAULTS)
def test_fault_leaves_short_aligned_data_and_other_rings_alone(name: str) -> None:
    """What every vector needs in the first 50 jobs: otherwise the driver's self-tests would find the fault."""
    fault = FAULTS[name]()
    assert bytes(fault.output(DATA[:64], 0x1000)) == DATA[:64]
    assert fault.digest(DATA[:20]) == DATA[:20]
    assert fault.stored_digest(DATA[:20], False) == DATA[:20]
    fault.check_input(Unit.AES, 16)
    fault.before_job(0)
    assert fault.completes() and fault.status(0) == 0
    assert fault.ring_runs(0) and fault.passes_interrupt(0)


OUTPUTS = {
    "flip-above-64k": [(DATA[: 65 << 10], 0, 64 << 10), (DATA[: 64 << 10], 0, None)],
    "flip-across-page": [
        (DATA[:64], 4096 - 16, 16),
        (DATA[:5000], 4096, 4096),
        (DATA[:64], 4096, None),
        (DATA[:64], 4096 - 64, None),
    ],
}
"""Fault -> output, its address, and the byte that is wrong."""


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_is_wrong_at_one_byte(name: str) -> None:
    for data, address, wrong in OUTPUTS[name]:
        output = bytes(FAULTS[name]().output(data, address))
        differing = [at for at, (one, other) in enumerate(zip(output, data, strict=True)) if one != other]
        assert differing == ([] if wrong is None else [wrong])


def test_long_output_to_an_unaligned_address_ends_with_an_error() -> None:
    fault = FAULTS["unaligned"]()
    assert fault.output(DATA[: 16 << 10], 16) == DATA[: 16 << 10]
    assert fault.output(DATA[: (16 << 10) - 1], 1) == DATA[: (16 << 10) - 1]
    with pytest.raises(DecoFailure):
        fault.output(DATA[: 16 << 10], 1)


@pytest.mark.parametrize("unit", [Unit.AES, Unit.MDHA])
def test_empty_message_ends_with_an_error_of_its_unit(unit: Unit) -> None:
    with pytest.raises(UnitFailure):
        FAULTS["empty-input"]().check_input(unit, 0)


def test_digest_in_place_of_its_input_is_wrong() -> None:
    assert FAULTS["long-key"]().stored_digest(DATA[:32], True) == b"\x01" + DATA[1:32]


@pytest.mark.parametrize("name", ["never-completes", "deco-error", "interrupt-lost"])
def test_one_job_in_fifty_is_hit(name: str) -> None:
    fault = FAULTS[name]()
    hit = [n for n in range(1, 101) if not (fault.completes() and fault.status(0) == 0 and fault.passes_interrupt(0))]
    assert hit == [50, 100]


def test_last_ring_is_hit() -> None:
    assert not FAULTS["ring-stops"]().ring_runs(3)
    assert not FAULTS["ring-silent"]().passes_interrupt(3)


def test_iv_is_that_of_the_job_before_only_with_several_in_flight() -> None:
    fault = FAULTS["iv-overwritten"]()
    fault.before_job(0)
    assert fault.next_iv(b"a" * 16, b"b" * 16) == b"b" * 16
    fault.before_job(1)
    assert fault.next_iv(b"c" * 16, b"d" * 16) == b"b" * 16


def test_random_numbers_repeat() -> None:
    fault = FAULTS["rng-repeats"]()
    assert fault.random(os.urandom(16)) == fault.random(os.urandom(16))


def test_unusual_healthy_hardware_is_no_fault() -> None:
    assert [name for name, fault in FAULTS.items() if fault.healthy] == ["out-of-order"]
