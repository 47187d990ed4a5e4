"""Register pages of the CAAM model, read and written as Linux drivers/crypto/caam/ctrl.c does."""

from collections.abc import Sequence

import pytest
from caam_bench import LINUX, job, pointer
from caam_driver import JOBS_ADDED, RING_PAGE, Machine, Ring

MCFGR, DECO_SOURCE, DECO_REQUEST, RNG_STATUS = 0x4, 0x94, 0x9C, 0x6C0
DECO, DECO_CONTROL, DECO_STATUS, DECO_BUFFER, DECO_DEBUG = 0x80000, 0x800, 0x810, 0xA00, 0xE04
REQUEST, GRANTED, RUN, FOUR, STATE_VALID, HOST_ERROR = 1, 1 << 16, 1 << 29, 1 << 28, 1 << 31, 0xD
"""DECORR_RQD0ENABLE, DECORR_DEN0, DECO_JQCR_WHL, DECO_JQCR_FOUR, DESC_DBG_DECO_STAT_VALID, DECO_STAT_HOST_ERR."""
HALT = 0x70000000
"""JRSTA_SSRC_JUMP_HALT_CC: how a descriptor of ctrl.c ends if all is well."""


def run_in_deco0(machine: Machine, words: Sequence[int]) -> int:
    """Return the status of a descriptor that runs in DECO 0 (ctrl.c, run_descriptor_deco0)."""
    machine.write(DECO_REQUEST, machine.read(DECO_REQUEST) | REQUEST)
    assert machine.read(DECO_REQUEST) & GRANTED
    for number, word in enumerate(words):
        machine.write(DECO + DECO_BUFFER + 4 * number, word)
    machine.write(DECO + DECO_CONTROL, RUN | (FOUR if len(words) >= 4 else 0))
    debug = machine.read(DECO + DECO_DEBUG)
    status = machine.read(DECO + DECO_STATUS)
    assert not debug & STATE_VALID
    assert (debug >> 20 & 0xF == HOST_ERROR) == (status >> 28 in (2, 4))
    machine.write(DECO_REQUEST, machine.read(DECO_REQUEST) & ~REQUEST)
    assert not machine.read(DECO_REQUEST) & GRANTED
    return status


VERSIONS = {
    "big-endian": (0xFD4, 10, 1, 1),
    "pointers of 64 bits": (0xFA8, 17, 1, 1),
    "pages of 64 KiB": (0xFA8, 4, 1, 1),
    "no DPAA2": (0xFA8, 13, 1, 0),
    "no queue interface": (0xFA8, 25, 1, 0),
    "blobs": (0xFAC, 1, 1, 1),
    "era 8": (0xFE4, 24, 0xFF, 8),
    "AES is the high performance unit, with XTS and GCM": (0xFEC, 0, 0xF, 4),
    "MDHA with SHA-512": (0xFEC, 12, 0xF, 2),
    "RNG4": (0xFEC, 16, 0xF, 4),
    "one AES unit": (0xFF4, 0, 0xF, 1),
    "one DES unit": (0xFF4, 4, 0xF, 1),
    "one MDHA": (0xFF4, 12, 0xF, 1),
    "one random generator": (0xFF4, 16, 0xF, 1),
    "one PKHA": (0xFF4, 28, 0xF, 1),
    "four job rings": (0xFF0, 28, 0xF, 4),
}
"""Offset, lowest bit, mask and value of what the driver reads at probe (regs.h, struct caam_perfmon)."""


@pytest.mark.parametrize("case", VERSIONS)
def test_version_registers(case: str) -> None:
    offset, low, mask, value = VERSIONS[case]
    machine = Machine()
    pages = [machine.read(page + offset) >> low & mask for page in (0, RING_PAGE, 4 * RING_PAGE)]
    assert pages == [value] * 3


def test_identity_is_that_of_an_ls1046a() -> None:
    assert Machine().read_long(0xFF8) == 0x0A11030100000000


def test_long_pointers_are_on_as_firmware_leaves_them() -> None:
    assert Machine().read(MCFGR) & 1 << 16


def test_control_registers_keep_what_is_written_until_a_reset() -> None:
    machine = Machine()
    machine.write(MCFGR, 0x12345678)
    assert machine.read(MCFGR) == 0x12345678 | 1 << 16  # pointers always have 64 bits
    machine.device.reset()
    assert machine.read(MCFGR) == 1 << 16


def test_deco_source_is_valid_at_once() -> None:
    machine = Machine()
    machine.write(DECO_SOURCE, 1)
    assert machine.read(DECO_SOURCE) == 1 << 31 | 1


COUNTERS = {
    0xF00: "rq_dequeued",
    0xF08: "ob_rq_encrypted",
    0xF10: "ib_rq_decrypted",
    0xF18: "ob_bytes_encrypted",
    0xF28: "ib_bytes_decrypted",
}
"""Counters by offset, as debugfs names them (debugfs.c)."""


def test_counters_are_registers_of_64_bits() -> None:
    machine = Machine()
    ring = Ring(machine)
    key = LINUX["cbc(aes) encrypt"][3:7]
    words = [0x02800010, *key, 0x22920020, *[0] * 8]
    before = {offset: machine.read_long(offset) for offset in COUNTERS}
    assert set(before.values()) == {0}
    assert ring.run(job(0x82100105, *words)) == 0
    assert ring.run(job(0x82100104, *words)) == 0
    assert [machine.read_long(offset) for offset in COUNTERS] == [2, 1, 1, 32, 32]
    machine.device.counters.dequeued_requests = 0x1_2345_6789
    assert machine.read_long(0xF00) == 0x1_2345_6789
    assert [machine.read(0xF00), machine.read(0xF04)] == [1, 0x23456789]


def test_job_that_fails_is_counted_and_logged_as_text() -> None:
    machine = Machine()
    ring = Ring(machine)
    (address,) = ring.add(job(0x30000000))
    assert machine.read_long(0xF00) == 1
    assert (machine.device.jobs, machine.device.failed_jobs) == (1, 1)
    assert machine.log == [
        f"job at {address:#x}: status 40000104, DECO COMMAND: unknown command 30000000\n"
        "  [ 0] b0800002 job header one=1 length=2\n"
        "  [ 1] 30000000 DECO COMMAND: unknown command 30000000"
    ]


@pytest.mark.parametrize("trace", [False, True])
def test_trace_has_jobs_without_an_error(trace: bool) -> None:
    machine = Machine(trace=trace)
    Ring(machine).run(job(0xA0000001))
    assert len(machine.log) == int(trace)


# -- random generator


def test_driver_instantiates_the_random_generator_through_deco_0() -> None:
    """The order of ctrl.c, instantiate_rng; the words are those that Linux 6.1 wrote."""
    machine = Machine(has_rng=False)
    assert machine.read(RNG_STATUS) == 0
    assert run_in_deco0(machine, LINUX["rng instantiate handle 0 and keys"]) == HALT | 6 << 8
    assert machine.read(RNG_STATUS) == 0xC0000011
    assert run_in_deco0(machine, LINUX["rng instantiate handle 1"]) & 0xF0000000 == HALT
    assert machine.read(RNG_STATUS) == 0xC0000033
    ring, output = Ring(machine), machine.bench.room(16)
    words = list(LINUX["rng"])
    words[3:5] = pointer(output)
    assert ring.run(words) == 0
    assert machine.bench.get(output, 16) != bytes(16)


@pytest.mark.parametrize(("handle", "left"), [(0, 0xC0000022), (1, 0xC0000011)])
def test_driver_removes_a_state_handle(handle: int, left: int) -> None:
    """The descriptor of ctrl.c, build_deinstantiation_desc."""
    machine = Machine()
    words = [0xB0800003, 0x8250000C | handle << 4, 0xA2800000]
    assert run_in_deco0(machine, words) & 0xF0000000 == HALT
    assert machine.read(RNG_STATUS) == left
    assert run_in_deco0(machine, words) == 0x20000154  # RNG: Not instantiated


def test_random_generator_of_firmware_is_not_instantiated_again() -> None:
    machine = Machine()
    assert machine.read(RNG_STATUS) == 0xC0000033
    assert run_in_deco0(machine, LINUX["rng instantiate handle 1"]) == 0x20000153  # RNG: Instantiate


@pytest.mark.parametrize("words", [[0] * 64, [0xFFFFFFFF] * 64, [0xB08000FF] * 64, [0xB0801003, 0, 0]])
def test_anything_in_deco_0_ends_with_a_status(words: list[int]) -> None:
    machine = Machine()
    assert run_in_deco0(machine, words) >> 28 == 4
    assert "descriptor in DECO 0: status 4" in machine.log[0]


# -- addresses


@pytest.mark.parametrize("offset", [0x50000, 0x70000, 0x90000, 0xFFFFC])
def test_page_without_registers_reads_as_zero(offset: int) -> None:
    machine = Machine()
    machine.write(offset, 0xFFFFFFFF)
    assert machine.read(offset) == 0


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 7, 8, 16])
def test_read_of_any_length_has_this_length(length: int) -> None:
    assert len(Machine().device.read(0xFE4, length)) == length


def test_part_of_a_register_is_not_written() -> None:
    machine = Machine()
    ring = Ring(machine)
    machine.device.write(RING_PAGE + JOBS_ADDED, b"\1\0")
    assert ring.take() == []


def test_reset_of_the_machine_stops_the_rings() -> None:
    machine = Machine()
    ring = Ring(machine)
    ring.add(job(0xA0000001))
    machine.device.reset()
    assert (ring.take(), ring.read(0x4C)) == ([], 0)
    assert machine.read(RNG_STATUS) == 0xC0000033
