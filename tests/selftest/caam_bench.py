"""A DECO of the CAAM model with memory of its own, and the job descriptors of Linux 6.1 to be executed there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.virt.caam.commands import (
    Command,
    FifoLoad,
    Key,
    Operation,
    SequencePointer,
    SharedHeader,
    words_of,
)
from fixtures.virt.caam.counters import Counters
from fixtures.virt.caam.deco import run_job
from fixtures.virt.caam.descriptor import decode
from fixtures.virt.caam.faults import Healthy
from fixtures.virt.caam.job import Parts
from fixtures.virt.caam.memory import GuestMemory
from fixtures.virt.caam.silicon import Silicon
from fixtures.virt.caam.values import OperationType

BASE = 0x40000000
"""Address of the memory, as on QEMU's machine "virt"."""
FINAL = 1 << 30
"""SEC4_SG_LEN_FIN of a scatter-gather entry (desc.h)."""
DKP_BY_POINTER = 2 << 14
"""OP_PCL_DKP_SRC_PTR (desc.h)."""
LOAD_NONCE, LOAD_IV = 0x10FE0004, (0x12A00008, 0x12A00010)
ASSOCIATED_LENGTH, STORE_BLACK_KEY = (0xA80C4304, 0xA80C4704), 0x62240010
"""Commands that load a nonce, an IV, the length of associated data (to MATH3 or DPOVRD), and store K1 of XCBC."""
PIECES = 3
"""Segments of a scatter-gather table that a bench makes."""


def load_linux() -> dict[str, tuple[int, ...]]:
    """Return the words of the descriptors of Linux, by name."""
    text = (Path(__file__).parent / "data/caam/linux-6.1.txt").read_text()
    sections = [section.partition("]\n") for section in text.split("\n[")[1:]]
    return {name: tuple(int(word, 16) for word in words.split()) for name, _, words in sections}


LINUX = load_linux()


def to_words(data: bytes) -> list[int]:
    """Return big-endian words, the last one padded with zeros."""
    return [int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "big") for at in range(0, len(data), 4)]


def to_bytes(words: Sequence[int]) -> bytes:
    """Return big-endian words as bytes."""
    return b"".join(word.to_bytes(4, "big") for word in words)


def pointer(address: int) -> list[int]:
    """Return the two words of a pointer."""
    return [address >> 32, address & 0xFFFFFFFF]


def commands(words: Sequence[int]) -> list[tuple[int, Command]]:
    """Return the commands of a descriptor with their indices."""
    found, index = [], 0
    while index < len(words):
        found.append((index, decode(words[index])))
        index += 1 + found[-1][1].operand_words
    return found


@dataclass
class Bench:
    """Memory, silicon and a DECO."""

    size: int = 1 << 20
    fault: Healthy = field(default_factory=Healthy)
    silicon: Silicon = field(default_factory=Silicon)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        """Create the memory."""
        self.content = bytearray(self.size)
        self.memory = GuestMemory()
        self.memory.add(BASE, memoryview(self.content))
        self._used = 0

    @property
    def image(self) -> bytes:
        """Memory as far as it was used."""
        return bytes(self.content[: self._used])

    @property
    def parts(self) -> Parts:
        """What the model's jobs share."""
        return Parts(self.memory, self.silicon, self.counters, self.fault)

    def room(self, size: int) -> int:
        """Return the address of memory that nothing else uses, aligned to 16 bytes."""
        address = BASE + self._used
        self._used += -(-size // 16) * 16 + 16
        assert self._used <= self.size
        return address

    def put(self, data: bytes) -> int:
        """Store data and return its address."""
        address = self.room(len(data))
        self.content[address - BASE : address - BASE + len(data)] = data
        return address

    def get(self, address: int, size: int) -> bytes:
        """Return what memory has."""
        return bytes(self.content[address - BASE : address - BASE + size])

    def table(self, segments: Sequence[tuple[int, int]]) -> int:
        """Store a scatter-gather table of addresses and lengths and return its address."""
        sizes = [size | FINAL * (number == len(segments)) for number, (_, size) in enumerate(segments, 1)]
        entries = zip((address for address, _ in segments), sizes, strict=True)
        return self.put(b"".join(to_bytes([*pointer(address), size, 0]) for address, size in entries))

    def run(self, words: Sequence[int]) -> int:
        """Execute a job descriptor and return its status word."""
        return run_job(self.parts, self.put(to_bytes(words))).status

    def run_linux(self, name: str, data: bytes, size: int, **places: "bytes | int") -> "Outcome":
        """Execute a descriptor of Linux on other data. Where it has tables, input and output have several segments.

        :param data: the input sequence.
        :param size: size of the output sequence, in bytes.
        :param places: what replaces the operands of the descriptor: see `_replace`.
        """
        address, output = self.prepare_linux(name, data, size, **places)
        result = run_job(self.parts, address)
        return Outcome(result.status, self.get(output, size))

    def prepare_linux(self, name: str, data: bytes, size: int, **places: "bytes | int") -> tuple[int, int]:
        """Store what `run_linux` executes. Return the addresses of the job descriptor and of its output."""
        output = self.room(size)
        words = list(LINUX[name])
        pieces = {False: (self.put(data), len(data)), True: (output, size)}
        if isinstance(key := places.get("hmac_key"), bytes):
            places["hmac_key_address"] = self.put(key)
        for index, command in commands(words):
            _replace(words, index, command, places)
            if isinstance(command, SequencePointer):
                address, length = pieces[bool(command.is_output)]
                start = self._split(address, length) if command.table else address
                words[index + 1 : index + 4] = [*pointer(start), length]
        return self._store(words), output

    def _split(self, address: int, length: int) -> int:
        """Return the address of a table of PIECES segments; the first ones have a size that no block divides."""
        step = length // PIECES | 1
        starts = list(range(0, length, step)) or [0]
        return self.table([(address + start, min(step, length - start)) for start in starts])

    def _store(self, words: Sequence[int]) -> int:
        """Store a job descriptor with its shared descriptor, which comes first, and return the job's address."""
        header = decode(words[0])
        if not isinstance(header, SharedHeader):
            return self.put(to_bytes(words))
        shared, job = words[: header.length], list(words[header.length :])
        job[1:3] = pointer(self.put(to_bytes(shared)))
        return self.put(to_bytes(job))


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and its output sequence."""

    status: int
    output: bytes


def _replace(words: list[int], index: int, command: Command, places: Mapping[str, "bytes | int"]) -> None:
    """Replace the operands of a command, if a place is given for it.

    - `key`: the immediate key of KEY; `hmac_key`: that of DKP, by pointer if there is no room for it;
    - `black_key`: the address of an encrypted key;
    - `iv`: the 12 bytes of FIFO LOAD, or the IV of LOAD to the context;
    - `nonce`: the 4 bytes of LOAD to the output FIFO (rfc3686);
    - `associated`: the length of associated data, which MATH brings into a register.
    """
    key, hmac_key, iv, nonce = (places.get(name) for name in ("key", "hmac_key", "iv", "nonce"))
    operand = slice(index + 1, index + 1 + command.operand_words)
    if isinstance(command, Key) and command.immediate and isinstance(key, bytes):
        assert command.length == len(key)
        words[operand] = to_words(key)
    elif (isinstance(command, Key) and command.encrypted) or command.word == STORE_BLACK_KEY:
        address = places["black_key"]
        assert isinstance(address, int)
        words[operand] = pointer(address)
    elif isinstance(command, Operation) and command.operand_words and isinstance(hmac_key, bytes):
        assert command.operation_type == OperationType.UNIDIRECTIONAL_PROTOCOL
        has_room = words_of(len(hmac_key)) <= command.operand_words
        words[index] = words[index] & ~0xFFF | len(hmac_key) | (0 if has_room else DKP_BY_POINTER)
        content = to_words(hmac_key) if has_room else pointer(int(places["hmac_key_address"]))
        words[operand] = (content + [0] * command.operand_words)[: command.operand_words]
    elif isinstance(command, FifoLoad) and command.immediate and isinstance(iv, bytes):
        words[operand] = to_words(iv)
    elif command.word == LOAD_NONCE and isinstance(nonce, bytes):
        words[operand] = to_words(nonce)
    elif command.word in ASSOCIATED_LENGTH:
        words[operand] = [int(places["associated"])]
    elif command.word in LOAD_IV and isinstance(iv, bytes):
        words[operand] = to_words(iv)


def job(*body: int, flags: int = 0) -> list[int]:
    """Return a job descriptor. :param flags: further bits of its header."""
    return [0xB0800000 | flags | len(body) + 1, *body]
