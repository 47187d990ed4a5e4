"""Part of a driver for the CAAM model: registers as Linux drivers/crypto/caam/jr.c and ctrl.c use them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from caam_bench import Bench, to_bytes

from fixtures.virt.caam.device import Device
from fixtures.virt.caam.faults import Healthy
from fixtures.virt.caam.silicon import Silicon

RING_START = 0x5C
"""Offset of JRSTART in the control page (regs.h, struct caam_ctrl)."""
RING_PAGE = 0x10000
ENTRIES = 8
INPUT_BASE, INPUT_SIZE, INPUT_AVAILABLE, JOBS_ADDED = 0x00, 0x0C, 0x14, 0x1C
OUTPUT_BASE, OUTPUT_SIZE, JOBS_REMOVED, OUTPUT_USED = 0x20, 0x2C, 0x34, 0x3C
INTERRUPT_STATUS, CONFIGURATION, COMMAND = 0x4C, 0x54, 0x6C
"""Offsets of the registers of a job ring (regs.h, struct caam_job_ring)."""
MASKED, RESET = 1, 1

Result = tuple[int, int]
"""Address of a job descriptor, and its status word."""


class Machine:
    """A device with memory, and what it signalled."""

    def __init__(self, fault: Healthy | None = None, *, has_rng: bool = True, trace: bool = False) -> None:
        """Create a device as firmware leaves it."""
        self.bench = Bench()
        self.interrupts: list[int] = []
        self.log: list[str] = []
        self.device = Device(
            self.bench.memory, Silicon(has_rng=has_rng), fault or Healthy(), self.interrupts.append, self.log.append,
            trace=trace,
        )  # fmt: skip

    def read(self, offset: int) -> int:
        """Read a register of 32 bits."""
        return int.from_bytes(self.device.read(offset, 4), "big")

    def read_long(self, offset: int) -> int:
        """Read a register of 64 bits."""
        return int.from_bytes(self.device.read(offset, 8), "big")

    def write(self, offset: int, value: int) -> None:
        """Write a register of 32 bits."""
        self.device.write(offset, value.to_bytes(4, "big"))

    def write_long(self, offset: int, value: int) -> None:
        """Write a register of 64 bits."""
        self.device.write(offset, value.to_bytes(8, "big"))


@dataclass
class Ring:
    """A job ring as a driver has it."""

    machine: Machine
    number: int = 0
    entries: int = ENTRIES
    head: int = field(default=0, init=False)
    tail: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Reset and set up the ring."""
        self.inputs = self.machine.bench.room(8 * self.entries)
        self.outputs = self.machine.bench.room(12 * self.entries)
        self.set_up()

    def read(self, offset: int) -> int:
        """Read a register of the ring."""
        return self.machine.read(RING_PAGE * (self.number + 1) + offset)

    def write(self, offset: int, value: int) -> None:
        """Write a register of the ring."""
        self.machine.write(RING_PAGE * (self.number + 1) + offset, value)

    def set_up(self) -> None:
        """Start all rings (ctrl.c, caam_probe), reset this one and give it its memory (jr.c, caam_jr_init)."""
        self.machine.write(RING_START, 0xF)
        page = RING_PAGE * (self.number + 1)
        self.head = self.tail = 0
        self.write(CONFIGURATION, self.read(CONFIGURATION) | MASKED)
        self.write(COMMAND, RESET)
        self.write(COMMAND, RESET)
        self.machine.write_long(page + INPUT_BASE, self.inputs)
        self.machine.write_long(page + OUTPUT_BASE, self.outputs)
        self.write(INPUT_SIZE, self.entries)
        self.write(OUTPUT_SIZE, self.entries)
        self.write(CONFIGURATION, self.read(CONFIGURATION) & ~MASKED)

    def add(self, *jobs: Sequence[int]) -> list[int]:
        """Add jobs by one write of the doorbell, and return their addresses."""
        addresses = [self.machine.bench.put(to_bytes(words)) for words in jobs]
        self.add_addresses(*addresses)
        return addresses

    def add_addresses(self, *addresses: int) -> None:
        """Add jobs that are in memory."""
        for address in addresses:
            self.machine.bench.memory.write(self.inputs + 8 * self.head, address.to_bytes(8, "big"))
            self.head = (self.head + 1) % self.entries
        self.write(JOBS_ADDED, len(addresses))

    def take(self) -> list[Result]:
        """Take the results that are there (jr.c, caam_jr_dequeue)."""
        results = []
        for _ in range(self.read(OUTPUT_USED)):
            entry = self.machine.bench.get(self.outputs + 12 * self.tail, 12)
            self.tail = (self.tail + 1) % self.entries
            results.append((int.from_bytes(entry[:8], "big"), int.from_bytes(entry[8:], "big")))
            self.write(JOBS_REMOVED, 1)
        return results

    def acknowledge(self) -> int:
        """Acknowledge the interrupt and return its status (jr.c, caam_jr_interrupt)."""
        status = self.read(INTERRUPT_STATUS)
        self.write(INTERRUPT_STATUS, status)
        return status

    def run(self, words: Sequence[int]) -> int:
        """Run a job, acknowledge its interrupt, and return its status word."""
        return self.run_address(self.machine.bench.put(to_bytes(words)))

    def run_address(self, address: int) -> int:
        """Run a job that is in memory."""
        self.add_addresses(address)
        self.acknowledge()
        ((done, status),) = self.take()
        assert done == address
        return status
