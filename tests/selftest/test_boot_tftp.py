"""The built-in TFTP server serves complete files of its folder, and only within the block."""

import itertools
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from ports import find_free_udp_port
from tftpy import TftpClient, TftpException

from fixtures import limits
from fixtures.boot import tftp, tftp_server
from fixtures.lab.labfile import Console, Manual, Tftp, Unit
from fixtures.outcome import LabError


def make_unit(server: str, port: int) -> Unit:
    """Return a unit of this process, whose lab has no TFTP server: each run removes the leftovers of its unit."""
    console, at = Console(url="/dev/x"), Tftp(server=server, port=port)
    return Unit(name=str(os.getpid()), board="b", console=console, power=Manual(), tftp=at)


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait for the end of the server."""
    monkeypatch.setattr(tftp, "RESEND_TIMEOUT", 0.2)


@pytest.mark.parametrize("size", [0, 1, 512, 1024, 1468, 1 << 20])
def test_client_receives_the_whole_file(tmp_path: Path, size: int) -> None:
    unit = make_unit("127.0.0.1", find_free_udp_port())
    content = bytes(number % 251 for number in range(size))
    with tftp.provide_folder(unit) as at:
        assert at.tftp and at.tftp.folder and unit.tftp
        (at.tftp.folder / "hil-0").mkdir()
        (at.tftp.folder / "hil-0/kernel").write_bytes(content)
        client = TftpClient("127.0.0.1", unit.tftp.port, options={"blksize": 1468} if size > 1000 else {})
        client.download("hil-0/kernel", str(tmp_path / "got"), timeout=2)
    assert (tmp_path / "got").read_bytes() == content
    assert not at.tftp.folder.exists()


def test_uploads_and_files_outside_the_folder_are_refused(tmp_path: Path) -> None:
    unit = make_unit("127.0.0.1", find_free_udp_port())
    (tmp_path / "mine").write_text("mine")
    with tftp.provide_folder(unit) as at:
        assert at.tftp and at.tftp.folder and unit.tftp
        (at.tftp.folder.parent / "hil-secret").write_text("secret")
        client = TftpClient("127.0.0.1", unit.tftp.port)
        try:
            with pytest.raises(TftpException):
                client.upload("taken", str(tmp_path / "mine"), timeout=1)
            for name in ("../hil-secret", "absent"):
                with pytest.raises(TftpException):
                    client.download(name, str(tmp_path / "got"), timeout=1)
        finally:
            (at.tftp.folder.parent / "hil-secret").unlink()
        assert list(at.tftp.folder.iterdir()) == []


def test_port_is_freed_and_a_port_in_use_is_a_lab_error() -> None:
    unit = make_unit("127.0.0.1", find_free_udp_port())
    for _ in range(2):
        with tftp.provide_folder(unit):
            message = r"^TFTP: the server cannot listen at 127\.0\.0\.1 port \d+: .*Address already in use\. Check"
            with pytest.raises(LabError, match=message), tftp.provide_folder(unit):
                pass


def test_address_of_another_host_is_a_lab_error() -> None:
    with (
        pytest.raises(LabError, match=r"the server cannot listen at 192\.0\.2\.1 port .*annot assign"),
        tftp.provide_folder(make_unit("192.0.2.1", find_free_udp_port())),
    ):
        pass


def test_folder_of_the_lab_file_is_used(tmp_path: Path) -> None:
    entry = Tftp(server="127.0.0.1", folder=tmp_path)
    unit = make_unit("127.0.0.1", 69).model_copy(update={"tftp": entry})
    with tftp.provide_folder(unit) as at:
        assert at is unit


def encode_request(name: str, *options: str, mode: str = "octet") -> bytes:
    """Return a read request (RFC 1350, section 5) with options (RFC 2347)."""
    return b"\0\1" + b"".join(word.encode() + b"\0" for word in (name, mode, *options))


MALFORMED = {
    "block size that is negative": encode_request("hil-0/kernel", "blksize", "-8"),
    "block size of 5000 digits": encode_request("hil-0/kernel", "blksize", "1" * 5000),
    "transfer size that is no number": encode_request("hil-0/kernel", "tsize", "x"),
    "time-out that is huge": encode_request("hil-0/kernel", "timeout", "9" * 400),
    "option twice": encode_request("hil-0/kernel", "blksize", "8", "blksize", "1468"),
    "name with a zero in it": b"\0\1hil-0\0/kernel\0octet\0",
    "absolute name": encode_request("/etc/passwd"),
    "option acknowledgement": b"\0\6blksize\x008\0",
    "block size that is no number": encode_request("hil-0/kernel", "blksize", "x"),
    "block size beyond a datagram": encode_request("hil-0/kernel", "blksize", "65500"),
    "option that is not ASCII": b"\0\1hil-0/kernel\0octet\0blksize\0\xff\xfe\0",
    "option without a value": encode_request("hil-0/kernel", "blksize"),
    "option without an end": encode_request("hil-0/kernel") + b"blksize\0008",
    "name that is not ASCII": b"\0\1\xff\xfe\0octet\0",
    "name without an end": b"\0\1hil-0/kernel",
    "empty name": encode_request(""),
    "name that is far too long": encode_request("x" * 5000),
    "unknown mode": encode_request("hil-0/kernel", mode="mail"),
    "folder": encode_request("hil-0"),
    "folder above": encode_request("../"),
    "upload": b"\0\2taken\0octet\0",
    "acknowledgement without a transfer": b"\0\4\0\1",
    "acknowledgement cut short": b"\0\4\0",
    "data without a transfer": b"\0\3\0\1data",
    "error of an unknown number": b"\0\5\xff\xffwhat\0",
    "error without an end": b"\0\5\0\1",
    "unknown operation": b"\xff\xff",
    "one byte": b"\0",
    "nothing": b"",
    "noise": bytes(range(256)),
}


@pytest.fixture
def kernel() -> Iterator[tuple[int, bytes]]:
    """Run a server with a file `hil-0/kernel` of 20,000 bytes; yield its port and the content of the file."""
    unit, content = make_unit("127.0.0.1", find_free_udp_port()), bytes(number % 251 for number in range(20000))
    with tftp.provide_folder(unit) as at:
        assert at.tftp and at.tftp.folder and unit.tftp
        (at.tftp.folder / "hil-0").mkdir()
        (at.tftp.folder / "hil-0/kernel").write_bytes(content)
        yield unit.tftp.port, content


def download_kernel(port: int, into: Path, during: Callable[[], None] = lambda: None) -> bytes:
    """Fetch the file as a board does. :param during: called with each packet."""
    client = TftpClient("127.0.0.1", port)
    client.download("hil-0/kernel", str(into), packethook=lambda _packet: during(), timeout=2)
    return into.read_bytes()


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED)
def test_malformed_packet_is_dropped_and_the_server_continues(
    kernel: tuple[int, bytes], tmp_path: Path, packet: bytes
) -> None:
    port, content = kernel
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(packet, ("127.0.0.1", port))
        assert download_kernel(port, tmp_path / "got") == content


def test_server_continues_after_ten_thousand_mutated_packets(kernel: tuple[int, bytes], tmp_path: Path) -> None:
    port, content = kernel
    random = Random(4)
    seeds = [*MALFORMED.values(), encode_request("hil-0/kernel", "blksize", "1468", "tsize", "0")]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(10000):
            packet = bytearray(random.choice(seeds))
            for _ in range(random.randrange(4)):
                packet.insert(random.randrange(len(packet) + 1), random.randrange(256))
                packet[random.randrange(len(packet))] = random.randrange(256)
            sender.sendto(bytes(packet), ("127.0.0.1", port))
            if number % 1000 == 0:
                assert download_kernel(port, tmp_path / "got") == content
    assert download_kernel(port, tmp_path / "got") == content


@pytest.mark.parametrize("packet", [b"\xff\xff", b"\0\4\0", b"\0\6blksize\0x\0", b"\0\3\0\1data", b""])
def test_malformed_packet_within_a_transfer_does_not_end_it(
    kernel: tuple[int, bytes], tmp_path: Path, packet: bytes
) -> None:
    """The packet comes from the client itself, as after damage on the network."""
    port, content = kernel
    client = TftpClient("127.0.0.1", port)

    def disturb(_packet: object) -> None:
        context = client.context
        if context.tidport:
            context.sock.sendto(packet, ("127.0.0.1", context.tidport))

    client.download("hil-0/kernel", str(tmp_path / "got"), packethook=disturb, timeout=2)
    assert (tmp_path / "got").read_bytes() == content


def test_packet_from_another_sender_does_not_end_a_transfer(kernel: tuple[int, bytes], tmp_path: Path) -> None:
    port, content = kernel
    client = TftpClient("127.0.0.1", port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:

        def disturb(_packet: object) -> None:
            if client.context.tidport:
                for packet in (b"\0\5\0\0stop\0", b"\xff", b"\0\4\0\1"):
                    stranger.sendto(packet, ("127.0.0.1", client.context.tidport))

        client.download("hil-0/kernel", str(tmp_path / "got"), packethook=disturb, timeout=2)
    assert (tmp_path / "got").read_bytes() == content


def test_transfers_of_vanished_clients_are_freed(kernel: tuple[int, bytes], tmp_path: Path) -> None:
    port, content = kernel
    for _ in range(3 * limits.MAX_TRANSFERS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.sendto(encode_request("hil-0/kernel"), ("127.0.0.1", port))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            assert download_kernel(port, tmp_path / "got") == content
        except TftpException:
            continue
        return
    pytest.fail("the server serves no client any more: transfers of vanished clients are not freed")


@contextmanager
def raw_client(port: int) -> Iterator[socket.socket]:
    """Open a client that has requested the file, for a test that sends each further packet itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(encode_request("hil-0/kernel"), ("127.0.0.1", port))
        yield client


def receive(client: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """Return operation and block number of the next packet, and the address of its sender."""
    packet, sender = client.recvfrom(65536)
    return packet[:4], sender


def test_lost_block_is_sent_again(kernel: tuple[int, bytes]) -> None:
    with raw_client(kernel[0]) as client:
        first, server = receive(client)
        assert first == b"\0\3\0\1"
        assert receive(client) == (first, server)
        client.sendto(b"\0\4\0\1", server)
        assert receive(client) == (b"\0\3\0\2", server)


def test_repeated_acknowledgement_and_strangers_do_not_end_a_transfer(kernel: tuple[int, bytes]) -> None:
    """tftpy counts a late duplicate acknowledgement as one time-out: it uses up one attempt, not all."""
    with raw_client(kernel[0]) as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        _, server = receive(client)
        client.sendto(b"\0\4\0\1", server)
        assert receive(client)[0] == receive(client)[0] == b"\0\3\0\2"  # the second after a time-out
        client.sendto(b"\0\4\0\1", server)
        for _ in range(3 * tftp_server.MAX_RETRIES):
            stranger.sendto(b"\xff\xff", ("127.0.0.1", kernel[0]))
            time.sleep(0.01)
        client.sendto(b"\0\4\0\2", server)
        while (head := receive(client)[0]) == b"\0\3\0\2":
            continue
        assert head == b"\0\3\0\3"


def test_client_can_restart_its_transfer_from_the_same_port(kernel: tuple[int, bytes]) -> None:
    with raw_client(kernel[0]) as client:
        _, server = receive(client)
        client.sendto(b"\0\4\0\1", server)
        assert receive(client)[0] == b"\0\3\0\2"
        client.sendto(encode_request("hil-0/kernel"), ("127.0.0.1", kernel[0]))
        head, another = receive(client)
        assert head == b"\0\3\0\1" and another != server


def test_repeated_request_starts_one_transfer(kernel: tuple[int, bytes]) -> None:
    with raw_client(kernel[0]) as client:
        client.sendto(encode_request("hil-0/kernel"), ("127.0.0.1", kernel[0]))
        _, server = receive(client)
        assert receive(client) == (b"\0\3\0\1", server)  # sent again, as nothing was acknowledged


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (encode_request("hil-0"), 1),
        (encode_request("hil-0/none"), 1),
        (encode_request("hil-0/kernel", "blksize", "x"), 4),
    ],
    ids=["folder", "no such file", "block size that is no number"],
)
def test_refused_request_gets_an_error_packet(kernel: tuple[int, bytes], packet: bytes, code: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(packet, ("127.0.0.1", kernel[0]))
        assert receive(client)[0] == b"\0\5\0" + bytes([code])


def test_storm_of_acknowledgements_does_not_end_a_transfer(kernel: tuple[int, bytes], tmp_path: Path) -> None:
    port, content = kernel
    with raw_client(port) as client:
        first, server = receive(client)
        for number in range(3000):
            client.sendto(b"\0\4" + (number % 65536).to_bytes(2, "big"), server)
        assert first == b"\0\3\0\1"
        assert download_kernel(port, tmp_path / "got") == content


def test_flood_of_packets_does_not_fill_the_log(
    kernel: tuple[int, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pytest keeps the log of each test in memory."""
    monkeypatch.setattr(tftp_server, "_numbers", itertools.count())
    port, content = kernel
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(300):
            sender.sendto(b"\0\5\0\1" + b"x" * 60000 + b"\0", ("127.0.0.1", port))
            sender.sendto(b"\xff\xff", ("127.0.0.1", port))
        assert download_kernel(port, tmp_path / "got") == content
    assert 0 < len(caplog.records) <= limits.MAX_LOGGED_PACKETS
    assert len(caplog.text) < 1_000_000


def test_log_ends_at_its_limit_with_a_remark(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tftp_server, "_numbers", itertools.count())
    for _ in range(2 * limits.MAX_LOGGED_PACKETS):
        tftp_server.log.warning("a packet from %s", "the board")
    assert len(caplog.records) == limits.MAX_LOGGED_PACKETS
    remark = f"later packets are not logged (limit: {limits.MAX_LOGGED_PACKETS}, MAX_LOGGED_PACKETS)"
    assert caplog.messages[-2:] == ["a packet from the board", remark]


def test_transfers_of_one_address_are_limited(kernel: tuple[int, bytes], tmp_path: Path) -> None:
    """Another host at the network takes as many transfers as it gets; the board still gets one."""
    port, content = kernel
    others = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2 * limits.MAX_TRANSFERS)]
    try:
        for other in others:
            other.bind(("127.0.0.2", 0))
            other.sendto(encode_request("hil-0/kernel"), ("127.0.0.1", port))
        assert download_kernel(port, tmp_path / "got") == content
    finally:
        for other in others:
            other.close()


@pytest.mark.parametrize(
    ("addresses", "accepted"), [(1, limits.MAX_CLIENT_TRANSFERS), (20, limits.MAX_TRANSFERS)], ids=["one", "all"]
)
def test_requests_above_the_number_of_transfers_are_dropped(
    kernel: tuple[int, bytes], addresses: int, accepted: int
) -> None:
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2 * accepted)]
    try:
        for number, client in enumerate(clients):
            client.bind((f"127.0.0.{2 + number % addresses}", 0))
            client.sendto(encode_request("hil-0/kernel"), ("127.0.0.1", kernel[0]))
        time.sleep(0.5)  # in which an accepted request is answered, and the answer repeated
        answered, _, _ = select.select(clients, [], [], 0)
        assert len(answered) == accepted
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("times", [1, 100])
def test_failure_of_the_thread_is_a_lab_error_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int
) -> None:
    """The server serves again after a failure, and stays down after many. No exception leaves the thread."""
    left = [times]
    resend = tftp_server.TftpServer._resend

    def fail(server: tftp_server.TftpServer) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise MemoryError("no room")
        resend(server)

    monkeypatch.setattr(tftp_server.TftpServer, "_resend", fail)
    unit = make_unit("127.0.0.1", find_free_udp_port())
    failures = min(times, tftp_server.MAX_RESTARTS + 1)
    message = rf"^TFTP: the server failed {failures} times, the first time with: MemoryError\('no room'\)"
    with pytest.raises(LabError, match=message) as caught, tftp.provide_folder(unit) as at:
        assert at.tftp and at.tftp.folder and unit.tftp
        (at.tftp.folder / "hil-0").mkdir()
        (at.tftp.folder / "hil-0/kernel").write_bytes(b"k" * 5000)
        if times == 1:
            time.sleep(1)
            assert download_kernel(unit.tftp.port, tmp_path / "got") == b"k" * 5000
        else:
            deadline = time.monotonic() + 20
            while any(thread.name == "TFTP server" for thread in threading.enumerate()):
                assert time.monotonic() < deadline
                time.sleep(0.1)
    assert isinstance(caught.value.__cause__, MemoryError)


def test_error_of_the_block_is_not_hidden_by_that_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tftp_server.TftpServer, "_resend", lambda _server: 1 / 0)
    unit = make_unit("127.0.0.1", find_free_udp_port())
    with pytest.raises(LabError, match=r"^the board is lost$"), tftp.provide_folder(unit):
        time.sleep(0.5)
        raise LabError("the board is lost")
