"""The CAAM model as a process: messages of vfio-user, memory, interrupts, and messages that are malformed."""

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from caam_bench import job, to_bytes
from vfio_client import (
    CONFIGURATION,
    DMA_MAP,
    DMA_UNMAP,
    GET_INFO,
    GET_IRQ_INFO,
    GET_REGION_INFO,
    HEADER,
    NO_REPLY,
    REGION_READ,
    REGION_WRITE,
    REGISTERS,
    RESET,
    ROOT,
    SET_IRQS,
    VERSION,
    WRITE_MULTI,
    Client,
    Model,
    ReplyError,
    start_model,
)

RAM, RAM_SIZE = 0x40000000, 1 << 20
DOORBELL, SPI = 0x08020040, 32
"""GICv2m's doorbell of QEMU's machine "virt"; the INTID of the first shared peripheral interrupt."""
LS1046A_RINGS = (71, 72, 73, 74)
"""SPI numbers of the job rings (fsl-ls1046a.dtsi)."""
EINVAL = 22


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for sockets, with a short path."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def model(folder: Path) -> Iterator[Model]:
    """A running model with a client."""
    with start_model(folder) as running:
        yield running


@pytest.fixture
def client(model: Model) -> Iterator[Client]:
    """A client of a running model, which must end well."""
    yield model.client
    assert "Traceback" not in model.end()


def set_up_ring(client: Client, ring: int) -> None:
    """Give a job ring its memory: 8 entries at the start of RAM."""
    page = 0x10000 * (ring + 1)
    client.write(0x5C, (0xF).to_bytes(4, "big"))  # JRSTART
    client.write(page, (RAM).to_bytes(8, "big"))
    client.write(page + 0x20, (RAM + 0x100).to_bytes(8, "big"))
    client.write(page + 0x0C, (8).to_bytes(4, "big"))
    client.write(page + 0x2C, (8).to_bytes(4, "big"))


def test_qemu_finds_a_pci_device_with_registers_and_no_interrupts_of_its_own(client: Client) -> None:
    reply = client.call(VERSION, struct.pack("<HH", 0, 1) + b'{"capabilities":{}}\0')
    assert struct.unpack_from("<HH", reply) == (0, 0)
    assert json.loads(reply[4:-1])["capabilities"]["write_multiple"] is True
    assert struct.unpack("<IIII", client.call(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))) == (16, 3, 9, 5)
    sizes = []
    for region in range(9):
        body = struct.pack("<IIIIQQ", 32, 0, region, 0, 0, 0)
        sizes.append(struct.unpack("<IIIIQQ", client.call(GET_REGION_INFO, body))[4])
    assert sizes == [1 << 20, 0, 0, 0, 0, 0, 0, 256, 0]
    for kind in range(5):
        body = struct.pack("<IIII", 16, 0, kind, 0)
        assert struct.unpack("<IIII", client.call(GET_IRQ_INFO, body)) == (16, 0, kind, 0)
    assert client.call(SET_IRQS, bytes(20)) == b""


def test_configuration_space_has_the_identity_and_keeps_what_is_written(client: Client) -> None:
    assert client.read(0, 4, CONFIGURATION) == bytes.fromhex("5719a0ca")
    assert client.read(8, 4, CONFIGURATION) == bytes.fromhex("01008010")
    client.write(4, b"\6\0", CONFIGURATION)
    assert client.read(4, 2, CONFIGURATION) == b"\6\0"


def test_registers_are_big_endian(client: Client) -> None:
    assert client.read(0xFE4) == b"\x08\0\0\0"
    assert client.read(0xFF8, 8) == bytes.fromhex("0a11030100000000")


def test_job_in_shared_memory_raises_the_interrupt_of_its_ring(client: Client) -> None:
    memory = client.map_memory(RAM, RAM_SIZE)
    memory[0x1000:0x1008] = to_bytes(job(0xA0000001))
    memory[0:8] = (RAM + 0x1000).to_bytes(8, "big")
    for ring in range(4):
        set_up_ring(client, ring)
        memory[0x100:0x10C] = b"\xff" * 12
        client.write(0x10000 * (ring + 1) + 0x1C, (1).to_bytes(4, "big"))
        assert memory[0x100:0x10C] == (RAM + 0x1000).to_bytes(8, "big") + bytes(4)
    assert client.interrupts == [struct.pack("<QQI", DOORBELL, 4, SPI + number) for number in LS1046A_RINGS]


def test_posted_writes_have_no_reply(client: Client) -> None:
    client.map_memory(RAM, RAM_SIZE)
    client.send(REGION_WRITE, struct.pack("<QII", 0xC, REGISTERS, 4) + b"\1\2\3\4", flags=NO_REPLY)
    assert client.read(0xC) == b"\1\2\3\4"


def test_several_writes_in_one_message(client: Client) -> None:
    entries = [(0xC, b"\1\2\3\4"), (0x10000, (RAM).to_bytes(8, "big"))]
    body = struct.pack("<Q", len(entries))
    for offset, data in entries:
        body += struct.pack("<QII", offset, REGISTERS, len(data)) + data.ljust(8, b"\0")
    assert client.call(WRITE_MULTI, body) == body[:8]
    assert (client.read(0xC), client.read(0x10000, 8)) == (b"\1\2\3\4", (RAM).to_bytes(8, "big"))


def test_memory_that_was_unmapped_is_not_there(client: Client) -> None:
    client.map_memory(RAM, RAM_SIZE)
    body = struct.pack("<IIQQ", 24, 0, RAM, RAM_SIZE)
    assert client.call(DMA_UNMAP, body) == body
    set_up_ring(client, 0)
    client.write(0x1001C, (1).to_bytes(4, "big"))
    assert client.read(0x1004C) == bytes.fromhex("00000302")  # JRINT_ERR_TYPE_BAD_INPADDR, JRINT_JR_ERROR


def test_read_only_memory_is_not_written(client: Client) -> None:
    descriptor = os.memfd_create("memory")
    os.ftruncate(descriptor, RAM_SIZE)
    client.call(DMA_MAP, struct.pack("<IIQQQ", 32, 1, 0, RAM, RAM_SIZE), descriptors=(descriptor,))
    set_up_ring(client, 0)
    client.write(0x1001C, (1).to_bytes(4, "big"))
    assert client.read(0x1004C) == bytes.fromhex("00000402")
    assert os.pread(descriptor, 0x200, 0) == bytes(0x200)


def test_memory_without_a_file_descriptor_is_not_reached(client: Client) -> None:
    assert client.call(DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, RAM, RAM_SIZE)) == b""
    set_up_ring(client, 0)
    client.write(0x1001C, (1).to_bytes(4, "big"))
    assert client.read(0x1004C)[3] == 2


def test_reset_of_the_machine(client: Client) -> None:
    set_up_ring(client, 2)
    client.call(RESET)
    assert client.read(0x3000C) == bytes(4)


MALFORMED = {
    "unknown command": (99, b""),
    "read without a body": (REGION_READ, b""),
    "read with half a body": (REGION_READ, bytes(9)),
    "read behind the registers": (REGION_READ, struct.pack("<QII", (1 << 20) - 3, REGISTERS, 4)),
    "read at the end of all addresses": (REGION_READ, struct.pack("<QII", (1 << 64) - 1, REGISTERS, 4)),
    "read of 4 GiB": (REGION_READ, struct.pack("<QII", 0, REGISTERS, (1 << 32) - 1)),
    "read of 257 bytes": (REGION_READ, struct.pack("<QII", 0, REGISTERS, 257)),
    "read of a region without registers": (REGION_READ, struct.pack("<QII", 0, 3, 4)),
    "read of no region": (REGION_READ, struct.pack("<QII", 0, 99, 4)),
    "read behind the configuration space": (REGION_READ, struct.pack("<QII", 255, CONFIGURATION, 2)),
    "write behind the registers": (REGION_WRITE, struct.pack("<QII", 1 << 20, REGISTERS, 4) + bytes(4)),
    "write with fewer bytes than it says": (REGION_WRITE, struct.pack("<QII", 0, REGISTERS, 8) + bytes(4)),
    "write with more bytes than it says": (REGION_WRITE, struct.pack("<QII", 0, REGISTERS, 4) + bytes(8)),
    "writes without a body": (WRITE_MULTI, b""),
    "writes that are not there": (WRITE_MULTI, struct.pack("<Q", 1 << 63)),
    "region info without a body": (GET_REGION_INFO, b""),
    "interrupt info without a body": (GET_IRQ_INFO, bytes(8)),
    "map without a body": (DMA_MAP, b""),
    "unmap without a body": (DMA_UNMAP, bytes(23)),
}


def test_malformed_message_has_an_error_reply_and_the_model_goes_on(client: Client) -> None:
    errors = dict.fromkeys(MALFORMED, 0)
    for case, message in MALFORMED.items():
        try:
            client.call(*message)
        except ReplyError as error:
            (errors[case],) = error.args
    assert errors == dict.fromkeys(MALFORMED, EINVAL)
    assert client.read(0xFE4) == b"\x08\0\0\0"


UNMAPPABLE = [(1, RAM_SIZE), (0, RAM_SIZE + 4096), (0, (1 << 64) - 1), ((1 << 64) - 4096, 4096), (1 << 62, 1 << 62)]
"""Offset in the file and length, in bytes. The file has RAM_SIZE."""


def test_memory_that_cannot_be_mapped_has_an_error_reply(client: Client) -> None:
    descriptor = os.memfd_create("memory")
    os.ftruncate(descriptor, RAM_SIZE)
    for offset, length in UNMAPPABLE:
        with pytest.raises(ReplyError):
            client.call(DMA_MAP, struct.pack("<IIQQQ", 32, 3, offset, RAM, length), descriptors=(descriptor,))
    os.close(descriptor)
    assert client.read(0xFE4) == b"\x08\0\0\0"


def open_files(model: Model) -> int:
    """Return the number of file descriptors that the model has open."""
    return len(list(Path(f"/proc/{model.process.pid}/fd").iterdir()))


def test_file_descriptors_that_no_message_uses_do_not_pile_up(model: Model) -> None:
    before = open_files(model)
    for _ in range(100):
        model.client.send(GET_INFO, bytes(16), descriptors=(0, 0, 0))
        model.client.receive()
    assert open_files(model) <= before + 8
    model.end()


def test_unmapped_memory_is_given_back(model: Model) -> None:
    for _ in range(50):
        model.client.map_memory(RAM, RAM_SIZE).close()
        model.client.call(DMA_UNMAP, struct.pack("<IIQQ", 24, 0, RAM, RAM_SIZE))
    assert "memfd:memory" not in Path(f"/proc/{model.process.pid}/maps").read_text()
    model.end()


@pytest.mark.parametrize("size", [0, 15, (1 << 20) + 1, (1 << 32) - 1])
def test_message_of_an_impossible_size_ends_the_connection(model: Model, size: int) -> None:
    model.client.socket.sendall(HEADER.pack(1, GET_INFO, size, 0, 0))
    with pytest.raises(EOFError):
        model.client.receive()
    assert f"message of {size} bytes" in model.end()


def test_connection_that_ends_within_a_message_is_no_error(model: Model) -> None:
    model.client.socket.sendall(HEADER.pack(1, REGION_WRITE, 1000, 0, 0) + bytes(100))
    assert "Traceback" not in model.end()


def test_client_that_does_not_wait_for_replies_is_no_error(model: Model) -> None:
    for _ in range(40):
        model.client.send(REGION_READ, struct.pack("<QII", 0, REGISTERS, 256))
    log = model.end()
    assert "Traceback" not in log and "connection closed" in log


def test_messages_may_come_in_pieces(client: Client) -> None:
    message = HEADER.pack(5, REGION_READ, 32, 0, 0) + struct.pack("<QII", 0xFE4, REGISTERS, 4)
    for at in range(len(message)):
        client.socket.sendall(message[at : at + 1])
    assert client.receive()[4][16:] == b"\x08\0\0\0"
    client.socket.sendall(message * 3)
    assert [client.receive()[0] for _ in range(3)] == [5, 5, 5]


def test_replies_of_the_client_are_ignored(client: Client) -> None:
    client.socket.sendall(HEADER.pack(0x8001, 12, 16, 1, 0))
    assert client.read(0xFE4) == b"\x08\0\0\0"


def test_guest_arms_the_fault_by_a_byte_of_the_configuration_space(folder: Path) -> None:
    with start_model(folder, "--fault", "counters-stop") as model:
        model.client.write(0x40, b"\0", CONFIGURATION)
        assert "armed" not in model.log_file.read_text()
        model.client.write(0x40, b"\1", CONFIGURATION)
        model.client.read(0xFE4)
        assert "fault armed: the performance counters do not move" in model.log_file.read_text()
        model.end()


def test_log_ends_with_the_number_of_jobs(model: Model) -> None:
    client = model.client
    memory = client.map_memory(RAM, RAM_SIZE)
    set_up_ring(client, 0)
    memory[0x1000:0x1008] = to_bytes(job(0x30000000))
    memory[0:8] = (RAM + 0x1000).to_bytes(8, "big")
    client.write(0x1001C, (1).to_bytes(4, "big"))
    log = model.end()
    assert "job at 0x40001000: status 40000104, DECO COMMAND: unknown command 30000000\n" in log
    assert log.endswith("connection closed: 1 jobs, 1 of them with an error\n")


def test_random_generator_is_left_to_the_driver_by_an_option(folder: Path) -> None:
    with start_model(folder, "--no-rng") as model:
        assert model.client.read(0x6C0) == bytes(4)
        model.end()


def run_program(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the model's program to its end."""
    command = [sys.executable, "-m", "fixtures.virt.caam", *arguments]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_help_fits_80_columns_and_names_every_fault() -> None:
    text = run_program("--help").stdout
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for name in ("iv-not-written", "selftest-ctr", "SOCKET", "--trace"):
        assert name in text


def test_socket_that_cannot_be_made_is_one_sentence() -> None:
    path = "/tmp/" + "x" * 200
    done = run_program(path)
    assert done.returncode == 2
    assert done.stderr == (
        f"cannot listen at {path}: AF_UNIX path too long. Expected: a path of at most 107 bytes where no other"
        " file is.\n"
    )


def test_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("my notes")
    done = run_program(str(notes))
    assert done.returncode == 2 and "Address already in use" in done.stderr
    assert notes.read_text() == "my notes"
