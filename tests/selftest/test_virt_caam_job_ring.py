"""Job rings of the CAAM model, used as Linux drivers/crypto/caam/jr.c uses them."""

import pytest
from caam_bench import job
from caam_driver import (
    COMMAND,
    CONFIGURATION,
    ENTRIES,
    INPUT_AVAILABLE,
    INPUT_SIZE,
    INTERRUPT_STATUS,
    JOBS_REMOVED,
    MASKED,
    OUTPUT_SIZE,
    OUTPUT_USED,
    RESET,
    RING_PAGE,
    RING_START,
    Machine,
    Ring,
)

from fixtures.virt.caam.faults import FAULTS

NOTHING = job(0xA0000001)
"""A job that does nothing: JUMP to the next command."""
WRONG = job(0x30000000)
DONE, ERROR, HALT_MASK, HALTED = 0x1, 0x2, 0xC, 0x8
BAD_INPUT, BAD_OUTPUT, TOO_MANY_REMOVED, TOO_MANY_ADDED = 0x300, 0x400, 0x800, 0x900
"""JRINT_ERR_TYPE_* in the interrupt status (regs.h)."""


@pytest.fixture
def ring() -> Ring:
    """The first job ring of a device."""
    return Ring(Machine())


def test_jobs_have_their_results_in_order(ring: Ring) -> None:
    addresses = ring.add(NOTHING, WRONG, NOTHING)
    assert ring.take() == list(zip(addresses, (0, 0x40000104, 0), strict=True))
    assert ring.read(OUTPUT_USED) == 0


def test_ring_goes_round(ring: Ring) -> None:
    for _ in range(3 * ENTRIES):
        (address,) = ring.add(NOTHING)
        assert ring.take() == [(address, 0)]


@pytest.mark.parametrize("number", range(4))
def test_each_ring_has_its_page_and_its_interrupt(number: int) -> None:
    machine = Machine()
    rings = [Ring(machine, each) for each in range(4)]
    rings[number].add(NOTHING)
    assert machine.interrupts == [number]
    assert [ring.read(OUTPUT_USED) for ring in rings] == [int(each == number) for each in range(4)]


def test_jobs_wait_for_room_in_the_output_ring(ring: Ring) -> None:
    ring.write(OUTPUT_SIZE, 2)
    ring.add(*[NOTHING] * 5)
    assert (ring.read(OUTPUT_USED), ring.read(INPUT_AVAILABLE)) == (2, ENTRIES - 3)
    ring.write(JOBS_REMOVED, 1)
    assert (ring.read(OUTPUT_USED), ring.read(INPUT_AVAILABLE)) == (2, ENTRIES - 2)
    ring.write(JOBS_REMOVED, 2)
    assert (ring.read(OUTPUT_USED), ring.read(INPUT_AVAILABLE)) == (2, ENTRIES)


def test_interrupt_comes_once_until_it_is_acknowledged(ring: Ring) -> None:
    ring.add(NOTHING)
    ring.add(NOTHING)
    assert ring.machine.interrupts == [0]
    assert ring.acknowledge() == DONE
    assert ring.read(INTERRUPT_STATUS) == 0
    ring.add(NOTHING)
    assert ring.machine.interrupts == [0, 0]


def test_masked_interrupt_comes_when_it_is_unmasked(ring: Ring) -> None:
    ring.write(CONFIGURATION, MASKED)
    ring.add(NOTHING)
    assert ring.machine.interrupts == []
    assert ring.read(INTERRUPT_STATUS) == DONE
    ring.write(CONFIGURATION, 0)
    assert ring.machine.interrupts == [0]


def test_interrupt_acknowledged_while_masked_does_not_come(ring: Ring) -> None:
    ring.write(CONFIGURATION, MASKED)
    ring.add(NOTHING)
    ring.acknowledge()
    ring.write(CONFIGURATION, 0)
    assert ring.machine.interrupts == []


def test_reset_flushes_and_then_clears(ring: Ring) -> None:
    ring.add(NOTHING)
    ring.write(COMMAND, RESET)
    assert ring.read(INTERRUPT_STATUS) & HALT_MASK == HALTED
    assert ring.read(OUTPUT_USED) == 1
    ring.write(COMMAND, RESET)
    assert (ring.read(COMMAND), ring.read(INTERRUPT_STATUS), ring.read(OUTPUT_USED)) == (0, 0, 0)
    assert ring.read(INPUT_SIZE) == 0


def test_flush_drops_jobs_that_wait(ring: Ring) -> None:
    ring.write(OUTPUT_SIZE, 1)
    ring.add(NOTHING, NOTHING)
    ring.write(COMMAND, RESET)
    ring.write(JOBS_REMOVED, 1)
    assert ring.read(OUTPUT_USED) == 0


def test_ring_works_after_a_reset(ring: Ring) -> None:
    ring.add(NOTHING, WRONG)
    ring.set_up()
    assert ring.run(NOTHING) == 0


def test_ring_without_memory_reports_an_error_of_the_ring(ring: Ring) -> None:
    ring.machine.write_long(RING_PAGE, 0x10)
    ring.write(0x1C, 1)
    assert ring.read(INTERRUPT_STATUS) == ERROR | BAD_INPUT
    assert ring.machine.interrupts == [0]
    assert ring.read(OUTPUT_USED) == 0


def test_result_without_memory_reports_an_error_of_the_ring(ring: Ring) -> None:
    ring.machine.write_long(RING_PAGE + 0x20, 0x10)
    ring.add(NOTHING)
    assert ring.read(INTERRUPT_STATUS) == ERROR | BAD_OUTPUT


def test_ring_without_size_runs_nothing(ring: Ring) -> None:
    ring.write(INPUT_SIZE, 0)
    ring.write(0x1C, 1)
    assert (ring.read(OUTPUT_USED), ring.read(INTERRUPT_STATUS)) == (0, ERROR | TOO_MANY_ADDED)


def test_more_results_removed_than_there_are_is_an_error_of_the_ring(ring: Ring) -> None:
    ring.add(NOTHING)
    ring.acknowledge()
    ring.write(JOBS_REMOVED, 2)
    assert ring.read(OUTPUT_USED) == 1
    assert ring.read(INTERRUPT_STATUS) == ERROR | TOO_MANY_REMOVED


@pytest.mark.parametrize("number", [ENTRIES + 1, 0xFFFFFFFF])
def test_more_jobs_added_than_the_ring_has_entries_is_an_error_of_the_ring(ring: Ring, number: int) -> None:
    ring.write(0x1C, number)
    assert (ring.read(OUTPUT_USED), ring.read(INPUT_AVAILABLE)) == (0, ENTRIES)
    assert ring.read(INTERRUPT_STATUS) == ERROR | TOO_MANY_ADDED


def test_result_held_back_for_a_ring_that_is_taken_away_is_an_error_of_the_ring() -> None:
    ring = Ring(Machine(FAULTS["out-of-order"]()))
    ring.add(NOTHING)
    ring.take()
    ring.acknowledge()
    ring.add(NOTHING)
    ring.write(OUTPUT_SIZE, 0)
    ring.machine.device.release()
    assert ring.read(INTERRUPT_STATUS) == ERROR | BAD_OUTPUT


def test_ring_runs_once_the_driver_starts_it(ring: Ring) -> None:
    ring.machine.write(RING_START, 0b1110)
    ring.add(NOTHING)
    assert ring.read(OUTPUT_USED) == 0
    ring.machine.write(RING_START, 0b1111)
    assert ring.read(OUTPUT_USED) == 1
