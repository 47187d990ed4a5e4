"""The CAAM model: descriptors, registers and messages of vfio-user. What a guest does must never end the model."""

import array
import os
import socket
import struct
from functools import cache
from random import Random
from typing import Any

from caam_bench import BASE, LINUX, Bench, commands, to_bytes
from caam_driver import Machine, Ring
from campaign import Target
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from mutation import mutated_binary
from vfio_client import (
    CONFIGURATION,
    DMA_MAP,
    DMA_UNMAP,
    GET_INFO,
    GET_IRQ_INFO,
    GET_REGION_INFO,
    HEADER,
    REGION_READ,
    REGION_WRITE,
    REGISTERS,
    RESET,
    SET_IRQS,
    VERSION,
    WRITE_MULTI,
)

from fixtures.virt.caam.commands import Key
from fixtures.virt.caam.deco import run_job
from fixtures.virt.caam.descriptor import MAX_WORDS, disassemble
from fixtures.virt.caam.device import Device
from fixtures.virt.caam.faults import Healthy
from fixtures.virt.caam.memory import GuestMemory
from fixtures.virt.caam.silicon import Silicon
from fixtures.virt.caam.vfio_user import Server

WINDOW = 1 << 16
"""Bytes of memory of the guest."""
STATUS_SOURCES = (2, 3, 4, 7)
"""Highest four bits of a status word: CCB, JUMP HALT (user), DECO, JUMP HALT (condition); error.c, status_src."""
MAX_OPERATIONS = 400
"""Accesses of registers, or messages, of one input."""
NOTHING = (0xB0800002, 0xA0000001)
"""A job of one JUMP to its own end."""
OPCODES = (0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 18, 20, 21, 22, 23, 30, 31)

SILICON = Silicon()


@cache
def images() -> tuple[bytes, ...]:
    """Return inputs of run_descriptor: for each descriptor of Linux, its offset in memory and the memory."""
    images = []
    for name in LINUX:
        bench = Bench(size=WINDOW)
        sizes = [command.length for _, command in commands(LINUX[name]) if isinstance(command, Key)]
        job, _ = bench.prepare_linux(
            name, bytes(range(160)), 160, key=bytes(range(100, 100 + sum(sizes[:1]))) or b"", hmac_key=b"key",
            black_key=BASE, iv=bytes(12), nonce=b"nonc", associated=16,
        )  # fmt: skip
        images.append((job - BASE).to_bytes(4, "big") + bench.image)
    return tuple(images)


def random_descriptor(random: Random) -> bytes:
    """Return a job descriptor of random commands: words at random, or known commands with random fields."""
    count = random.choice((random.randint(1, 16), random.randint(1, 62)))
    words = [0xB0800000 | count + 1]
    for _ in range(count):
        match random.randrange(4):
            case 0:
                words.append(random.getrandbits(32))
            case 1:
                words.append(random.choice((0, BASE, BASE + random.randrange(WINDOW), random.randrange(256))))
            case _:
                words.append(random.choice(OPCODES) << 27 | random.getrandbits(27) & random.getrandbits(27))
    return bytes(4) + to_bytes(words) + random.randbytes(64)


def descriptors() -> SearchStrategy[bytes]:
    """Return mutated descriptors of Linux with their memory, and random descriptors."""
    return st.one_of(mutated_binary(images()), st.randoms(use_true_random=True).map(random_descriptor))


def run_descriptor(data: bytes) -> str:
    """Execute the descriptor at an offset of a memory."""
    bench = Bench(size=WINDOW, silicon=SILICON)
    content = data[4 : 4 + WINDOW]
    bench.content[: len(content)] = content
    result = run_job(bench.parts, BASE + int.from_bytes(data[:4], "big") % WINDOW)
    lines = list(disassemble(result.words))
    if len(result.words) > MAX_WORDS or len(lines) > MAX_WORDS:
        return "more words than the descriptor buffer has"
    if result.status and (result.status >> 28 not in STATUS_SOURCES or result.status >> 32):
        return "a status word from nowhere"
    if bool(result.status) != bool(result.error):
        return "an error without a status word"
    return ""


ACCESS = struct.Struct(">BIQ")
"""Kind and length of an access, offset, value."""


@cache
def recorded_accesses() -> tuple[bytes, ...]:
    """Return inputs of run_registers: the set-up of a ring and a job, and a descriptor in DECO 0."""
    recorded: list[bytes] = []

    class Recorder(Machine):
        def read(self, offset: int) -> int:
            recorded.append(ACCESS.pack(4, offset, 0))
            return super().read(offset)

        def write(self, offset: int, value: int) -> None:
            recorded.append(ACCESS.pack(0x84, offset, value))
            super().write(offset, value)

        def write_long(self, offset: int, value: int) -> None:
            recorded.append(ACCESS.pack(0x88, offset, value))
            super().write_long(offset, value)

    Ring(Recorder(), number=2).run(NOTHING)
    ring = b"".join(recorded)
    recorded.clear()
    machine = Recorder(has_rng=False)
    for number, word in enumerate(LINUX["rng instantiate handle 0 and keys"]):
        machine.write(0x80A00 + 4 * number, word)
    machine.write(0x80800, 3 << 28)
    return ring, b"".join(recorded)


def random_accesses(random: Random) -> bytes:
    """Return random reads and writes, most of them of the ring pages and of the DECO page."""
    parts = []
    for _ in range(random.randint(1, 60)):
        page, low = (
            random.choice((0, 1, 1, 2, 8, 15)),
            random.choice((random.randrange(0x80), random.randrange(0x1000))),
        )
        value = random.choice((0, 1, 2, 8, BASE, BASE + 0x100, 0xFFFFFFFF, random.getrandbits(32)))
        kind = random.choice((0x84, 0x84, 0x88, 4, 8, random.getrandbits(8)))
        parts.append(ACCESS.pack(kind, page << 16 | low & ~3, value))
    return b"".join(parts)


def accesses() -> SearchStrategy[bytes]:
    """Return mutated set-ups of rings, and random accesses."""
    return st.one_of(mutated_binary(recorded_accesses()), st.randoms(use_true_random=True).map(random_accesses))


def run_registers(data: bytes) -> str:
    """Read and write registers, and then use a ring as a driver does."""
    machine = Machine()
    for at in range(0, min(len(data), MAX_OPERATIONS * ACCESS.size) - ACCESS.size + 1, ACCESS.size):
        kind, offset, value = ACCESS.unpack_from(data, at)
        offset, length = offset % (1 << 20), kind & 0x7F
        if kind & 0x80:
            machine.device.write(offset, value.to_bytes(8, "big")[-length:] if length else b"")
        elif len(machine.device.read(offset, length)) != length:
            return "a read of another length"
    if Ring(machine, number=1).run(NOTHING):
        return "a ring that does not work after its reset"
    return ""


class _Stream:
    """A connection whose other end sent an input, with file descriptors, and reads nothing."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._memory = os.memfd_create("memory")
        os.ftruncate(self._memory, WINDOW)
        self.replies = 0

    def recvmsg(self, size: int, _: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        """Return the next piece of the input and a file descriptor."""
        piece, self._data = self._data[: min(size, 200)], self._data[min(size, 200) :]
        rights = array.array("i", [os.dup(self._memory)]).tobytes()
        return piece, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, None

    def sendall(self, data: bytes) -> None:
        """Count a message."""
        self.replies += bool(data)

    def close(self) -> None:
        """Close the memory."""
        os.close(self._memory)


def _message(command: int, body: bytes = b"", flags: int = 0) -> bytes:
    return HEADER.pack(1, command, HEADER.size + len(body), flags, 0) + body


def _write(offset: int, data: bytes, region: int = REGISTERS) -> bytes:
    return _message(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data)


@cache
def conversations() -> tuple[bytes, ...]:
    """Return inputs of run_messages: what QEMU sends at its start, and a job."""
    start = _message(VERSION, struct.pack("<HH", 0, 1) + b"{}\0") + _message(GET_INFO, bytes(16))
    start += b"".join(_message(GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, kind, 0, 0, 0)) for kind in range(9))
    start += _message(GET_IRQ_INFO, bytes(16)) + _message(SET_IRQS, bytes(20))
    memory = _message(DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, BASE, WINDOW))
    ring = b"".join(
        _write(0x10000 + offset, value.to_bytes(size, "big"))
        for offset, value, size in ((0, BASE, 8), (0x20, BASE + 256, 8), (12, 4, 4), (44, 4, 4), (28, 1, 4), (52, 1, 4))
    )
    multiple = struct.pack("<QQIIQ", 1, 0x1001C, REGISTERS, 4, 1)
    more = _message(REGION_READ, struct.pack("<QII", 0xF00, REGISTERS, 8)) + _message(WRITE_MULTI, multiple)
    end = (
        _write(0x40, b"\1", CONFIGURATION) + _message(RESET) + _message(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, BASE, 0))
    )
    return start, memory + ring, memory + ring + more + end


def random_message(random: Random) -> bytes:
    """Return some messages with random bodies."""
    commands_known = (*range(1, 16), random.getrandbits(16))
    sizes = (0, 8, 16, 20, 24, 32, 40, random.randrange(200))
    return b"".join(
        _message(random.choice(commands_known), random.randbytes(random.choice(sizes)), random.choice((0, 0, 16, 1)))
        for _ in range(random.randint(1, 10))
    )


def messages() -> SearchStrategy[bytes]:
    """Return mutated conversations, and random messages."""
    return st.one_of(mutated_binary(conversations()), st.randoms(use_true_random=True).map(random_message))


def run_messages(data: bytes) -> str:
    """Serve a connection on which the input comes, until its end."""
    stream: Any = _Stream(data[: 40 * MAX_OPERATIONS])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 a campaign calls this some thousand times

    def make_device(memory: GuestMemory, raise_interrupt: Any) -> Device:
        return Device(memory, SILICON, Healthy(), raise_interrupt, lambda _: None)

    server = Server(make_device, lambda _: None)
    server.on_arm = server.device.arm
    server.serve(stream)
    after = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    stream.close()
    return "file descriptors that stay open" if after > before + MAX_OPERATIONS else ""


TARGETS = (
    Target("caam-descriptor", descriptors, run_descriptor, ()),
    Target("caam-registers", accesses, run_registers, ()),
    Target("caam-messages", messages, run_messages, ()),
)
