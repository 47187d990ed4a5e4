"""A client of the CAAM model's vfio-user server: what QEMU does, without a machine."""

import array
import mmap
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER = struct.Struct("<HHIII")
VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_IRQ_INFO, SET_IRQS = 1, 2, 3, 4, 5, 7, 8
REGION_READ, REGION_WRITE, DMA_WRITE, RESET, WRITE_MULTI = 9, 10, 12, 13, 15
REPLY, NO_REPLY, ERROR = 0x1, 0x10, 0x20
REGISTERS, CONFIGURATION = 0, 7
"""Regions: BAR 0 and PCI configuration space."""
TIMEOUT = 20.0
"""Maximum time until the model listens, answers or ends, in seconds."""


class ReplyError(Exception):
    """The reply has an error number."""


@dataclass
class Client:
    """A connection to the model."""

    socket: socket.socket
    interrupts: list[bytes] = field(default_factory=list)
    """Bodies of the DMA_WRITE messages of the model that came while a reply was awaited."""
    number: int = 0

    def send(self, command: int, body: bytes = b"", *, flags: int = 0, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message."""
        self.number = (self.number + 1) & 0x7FFF
        message = HEADER.pack(self.number, command, HEADER.size + len(body), flags, 0) + body
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([message], rights)

    def receive(self) -> tuple[int, int, int, int, bytes]:
        """Return number, command, flags, error number and body of the next message. :raises EOFError: none comes."""
        number, command, size, flags, error = HEADER.unpack(self._receive(HEADER.size))
        return number, command, flags, error, self._receive(size - HEADER.size)

    def call(self, command: int, body: bytes = b"", *, descriptors: tuple[int, ...] = ()) -> bytes:
        """Send a message and return the body of its reply. :raises ReplyError: the reply has an error number."""
        self.send(command, body, descriptors=descriptors)
        while True:
            number, replied, flags, error, content = self.receive()
            if flags & 0xF == REPLY:
                assert (number, replied) == (self.number, command)
                if flags & ERROR:
                    raise ReplyError(error)
                return content
            assert (replied, flags) == (DMA_WRITE, NO_REPLY)
            self.interrupts.append(content)

    def read(self, offset: int, length: int = 4, region: int = REGISTERS) -> bytes:
        """Read registers."""
        body = struct.pack("<QII", offset, region, length)
        reply = self.call(REGION_READ, body)
        assert reply[:16] == body
        return reply[16:]

    def write(self, offset: int, data: bytes, region: int = REGISTERS) -> None:
        """Write registers."""
        self.call(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data)

    def map_memory(self, address: int, size: int) -> mmap.mmap:
        """Share memory with the model and return it."""
        descriptor = os.memfd_create("memory")
        try:
            os.ftruncate(descriptor, size)
            self.call(DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, address, size), descriptors=(descriptor,))
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


@dataclass
class Model:
    """A running model."""

    process: "subprocess.Popen[bytes]"
    client: Client
    log_file: Path

    def end(self) -> str:
        """Close the connection and return the log. The model ends with exit status 0."""
        self.client.socket.close()
        assert self.process.wait(TIMEOUT) == 0
        return self.log_file.read_text()


@contextmanager
def start_model(folder: Path, *options: str) -> Iterator[Model]:
    """Run the model as a process and connect to it. :param folder: with a short path."""
    log_file, path = folder / "log", folder / "socket"
    with log_file.open("wb") as log:
        command = [sys.executable, "-m", "fixtures.virt.caam", str(path), *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            deadline = time.monotonic() + TIMEOUT
            while connection.connect_ex(str(path)):
                assert process.poll() is None, log_file.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)  # no event announces that a socket is listening
            yield Model(process, Client(connection), log_file)
    finally:
        process.kill()
        process.wait()
