"""Each fault of the CAAM model, seen by a driver: none of it before the guest arms it, all of it afterwards."""

import hashlib
import hmac
from collections.abc import Callable
from unittest.mock import patch

import pytest
from caam_bench import LINUX, job, pointer, to_words
from caam_driver import Machine, Ring
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fixtures.virt.caam.faults import FAULTS

KEY, IV = bytes(range(16)), bytes(range(16, 32))
NOTHING = job(0xA0000001)
MANY = 50
"""Jobs of which one is hit by faults that hit one in fifty."""


def cbc(text: bytes) -> bytes:
    """Return what the package cryptography computes."""
    return Cipher(algorithms.AES(KEY), modes.CBC(IV)).encryptor().update(text)


def cbc_job(ring: Ring, size: int, offset: int = 0) -> tuple[list[int], int]:
    """Return a job that encrypts zeros, and the address of its output. :param offset: from a page, in bytes."""
    bench = ring.machine.bench
    source, room = bench.room(size), bench.room(size + 2 * 4096)
    output = -(-room // 4096) * 4096 + offset
    words = job(
        *(0x02800010, *to_words(KEY), 0x12A00010, *to_words(IV), 0x8210010D),
        *(0xF0400000, *pointer(source), size, 0xF8400000, *pointer(output), size),
        *(0x68700000, size, 0x2A520000, size),
    )
    return words, output


def is_right(ring: Ring, size: int, offset: int = 0) -> bool:
    """Return whether a job encrypts as it must."""
    words, output = cbc_job(ring, size, offset)
    return ring.run(words) == 0 and ring.machine.bench.get(output, size) == cbc(bytes(size))


def following_iv(ring: Ring) -> tuple[bytes, bytes]:
    """Return the IV that a descriptor of Linux stores for the next request, and the last block of its ciphertext."""
    address, output = ring.machine.bench.prepare_linux("cbc(aes) encrypt", IV + bytes(32), 48, key=KEY)
    ring.add_addresses(address)
    result = ring.machine.bench.get(output, 48)
    return result[32:], result[16:32]


def iv_is_lost(machine: Machine) -> bool:
    """Return whether the IV of the next request is wrong."""
    iv, last = following_iv(Ring(machine))
    return iv != last


def iv_is_of_another_job(machine: Machine) -> bool:
    """Return whether the second of two jobs in flight has the wrong IV, and the first has the right one."""
    ring = Ring(machine)
    pairs = [following_iv(ring) for _ in range(2)]
    assert pairs[0][0] == pairs[0][1]
    bench = machine.bench
    bench.prepare_linux("cbc(aes) encrypt", IV, 16, key=KEY)
    address, output = bench.prepare_linux("cbc(aes) encrypt", IV + bytes(range(32)), 48, key=KEY)
    ring.add_addresses(address)
    result = bench.get(output, 48)
    return result[32:] != result[16:32]


def long_keys_are_wrong(machine: Machine) -> bool:
    """Return whether an HMAC key longer than a block gives a wrong HMAC: hashed by a job, in place, or by DKP."""
    ring, bench, key = Ring(machine), machine.bench, bytes(range(80))
    words, place = list(LINUX["sha256 of a long key"]), bench.put(key)
    words[3:6], words[8:10] = [*pointer(place), len(key)], pointer(place)
    words[6] = words[6] & ~0xFFFF | len(key)
    assert ring.run(words) == 0
    address, output = bench.prepare_linux("hmac(sha256) init-final", b"text", 32, hmac_key=key)
    assert ring.run_address(address) == 0
    hashed, direct = bench.get(place, 32), bench.get(output, 32)
    return hashed != hashlib.sha256(key).digest() or direct != hmac.digest(key, b"text", "sha256")


def empty_input_fails(machine: Machine) -> bool:
    """Return whether an empty message ends with an error of a unit, and others do not."""
    ring, output = Ring(machine), machine.bench.room(32)
    digest = job(0x8443000D, 0x24940000, 0x54200020, *pointer(output))
    statuses = [ring.run(cbc_job(ring, 0)[0]), ring.run(digest)]
    assert is_right(ring, 16)
    return any(status >> 28 == 2 for status in statuses)


def one_in_1000_is_wrong(machine: Machine) -> bool:
    """Return whether one of 1,000 outputs is wrong."""
    ring = Ring(machine)
    words, output = cbc_job(ring, 16)
    address = ring.add(words)[0]
    ring.acknowledge()
    ring.take()
    wrong = []
    for number in range(2, 1001):
        ring.run_address(address)
        if machine.bench.get(output, 16) != cbc(bytes(16)):
            wrong.append(number)
    assert wrong in ([], [1000])
    return bool(wrong)


def rng_numbers(machine: Machine) -> bytes:
    """Return 16 random numbers."""
    words, output = list(LINUX["rng"]), machine.bench.room(16)
    words[3:5] = pointer(output)
    assert Ring(machine).run(words) == 0
    return machine.bench.get(output, 16)


def has_unfinished_jobs(machine: Machine) -> bool:
    """Return whether one of MANY jobs never completes."""
    ring = Ring(machine)
    results = 0
    for _ in range(MANY):
        ring.add(NOTHING)
        results += len(ring.take())
    assert results in (MANY - 1, MANY)
    return results < MANY


def loses_interrupts(machine: Machine) -> bool:
    """Return whether one of MANY interrupts does not come."""
    ring = Ring(machine)
    for _ in range(MANY):
        ring.run(NOTHING)
    assert len(machine.interrupts) in (MANY - 1, MANY)
    return len(machine.interrupts) < MANY


def last_ring(machine: Machine) -> tuple[int, list[int]]:
    """Return the number of results of a job in the last ring, and the interrupts of one job in each of two rings."""
    rings = [Ring(machine, 0), Ring(machine, 3)]
    for ring in rings:
        ring.add(NOTHING)
    assert len(rings[0].take()) == 1 and 0 in machine.interrupts
    return len(rings[1].take()), machine.interrupts


def is_slow(machine: Machine) -> bool:
    """Return whether the model sleeps for more than 40 ms before it completes a job of 16 KiB."""
    ring = Ring(machine)
    words, _ = cbc_job(ring, 16 << 10)
    with patch("time.sleep") as sleep:
        ring.run(words)
    return bool(sum(call.args[0] for call in sleep.call_args_list) > 0.04)


def counters_stand_still(machine: Machine) -> bool:
    """Return whether no counter moves for a job that encrypts; otherwise jobs, requests and bytes do."""
    ring = Ring(machine)
    ring.run(cbc_job(ring, 32)[0])
    counters = [machine.read_long(0xF00 + 8 * number) for number in range(7)]
    assert counters in ([0] * 7, [1, 1, 0, 32, 0, 0, 0])
    return not any(counters)


def is_out_of_order(machine: Machine) -> bool:
    """Return whether the results of jobs come in another order than the jobs."""
    ring = Ring(machine)
    addresses = [ring.add(NOTHING)[0] for _ in range(4)]
    return [address for address, _ in ring.take()] != addresses


def rng_is_not_instantiated(machine: Machine) -> bool:
    """Return whether the driver cannot instantiate the random generator."""
    for number, word in enumerate(LINUX["rng instantiate handle 1"]):
        machine.write(0x80A00 + 4 * number, word)
    machine.write(0x80800, 1 << 29)
    return machine.read(0x80810) == 0x2000015B  # RNG: Hardware error


def ctr_is_wrong(machine: Machine) -> bool:
    """Return whether CTR is wrong, and CBC and RFC 3686, whose counter begins with 1, are not."""
    ring = Ring(machine)
    right = []
    for counter in (bytes(15) + b"\1", IV):
        address, output = machine.bench.prepare_linux("ctr(aes) encrypt", counter + bytes(32), 48, key=KEY)
        assert ring.run_address(address) == 0
        expected = Cipher(algorithms.AES(KEY), modes.CTR(counter)).encryptor().update(bytes(32))
        right.append(machine.bench.get(output, 32) == expected)
    assert right[0] and is_right(ring, 32)
    return not right[1]


EFFECTS: dict[str, Callable[[Machine], bool]] = {
    "iv-not-written": iv_is_lost,
    "iv-overwritten": iv_is_of_another_job,
    "long-key": long_keys_are_wrong,
    "empty-input": empty_input_fails,
    "unaligned": lambda machine: (
        is_right(Ring(machine), 16 << 10) and is_right(Ring(machine), 8 << 10, 1)
        and not is_right(Ring(machine), 16 << 10, 1)
    ),
    "one-in-1000": one_in_1000_is_wrong,
    "flip-above-64k": lambda machine: is_right(Ring(machine), 64 << 10) and not is_right(Ring(machine), 65 << 10),
    "flip-across-page": lambda machine: is_right(Ring(machine), 4096) and not is_right(Ring(machine), 32, 4096 - 16),
    "deco-error": lambda machine: 0x40000B16 in [Ring(machine).run(NOTHING) for _ in range(MANY)],
    "never-completes": has_unfinished_jobs,
    "interrupt-lost": loses_interrupts,
    "ring-silent": lambda machine: last_ring(machine) == (1, [0]),
    "ring-stops": lambda machine: last_ring(machine) == (0, [0]),
    "slow": is_slow,
    "out-of-order": is_out_of_order,
    "counters-stop": counters_stand_still,
    "rng-repeats": lambda machine: rng_numbers(machine) == rng_numbers(machine),
    "rng-not-instantiated": rng_is_not_instantiated,
    "selftest-ctr": ctr_is_wrong,
}  # fmt: skip
"""Fault -> whether a device shows it."""


def make_machine(name: str, *, armed: bool) -> Machine:
    """Return a device with a fault; without a random generator if the fault concerns its instantiation."""
    machine = Machine(FAULTS[name](), has_rng=name != "rng-not-instantiated")
    if armed:
        machine.device.arm()
    return machine


@pytest.mark.parametrize("name", FAULTS)
def test_fault_shows_once_it_is_armed(name: str) -> None:
    machine = make_machine(name, armed=True)
    assert machine.log == [f"fault armed: {FAULTS[name].summary}"]
    assert EFFECTS[name](machine)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_shows_before_it_is_armed_only_if_it_is_there_from_power_on(name: str) -> None:
    assert EFFECTS[name](make_machine(name, armed=False)) == FAULTS[name].from_power_on


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("deco-error", "status 0; injected: status 40000b16"), ("never-completes", "status 0; injected: no result")],
)
def test_log_has_what_the_driver_gets(name: str, outcome: str) -> None:
    machine = make_machine(name, armed=True)
    ring = Ring(machine)
    for _ in range(MANY):
        ring.add(NOTHING)
        ring.take()
    assert [line.splitlines()[0].partition(": ")[2] for line in machine.log[1:]] == [outcome]
    assert (machine.device.jobs, machine.device.failed_jobs) == (MANY, 1)


def test_random_generator_that_repeats_does_not_return_zeros_after_a_reseed() -> None:
    fault = FAULTS["rng-repeats"]()
    assert fault.random(b"") == b""
    assert [fault.random(b"first"), fault.random(b"other")] == [b"first", b"first"]
