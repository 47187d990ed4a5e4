"""Does the emulated serial line between QEMU's console and the host keep its baud rate, and lose nothing?"""

import random
import socket
import time

from fixtures.virt.serial_line import emulate_serial_line

BAUD = 40000
DATA = random.Random(3).randbytes(2000)


def receive(connection: socket.socket, count: int) -> bytes:
    """Return `count` bytes. :raises TimeoutError: none arrived for 5 s."""
    connection.settimeout(5)
    data = b""
    while len(data) < count:
        data += connection.recv(4096)
    return data


def test_data_takes_the_time_of_the_baud_rate_in_each_direction() -> None:
    with socket.create_server(("127.0.0.1", 0)) as qemu, emulate_serial_line(qemu.getsockname()[1], BAUD) as port:
        board, _ = qemu.accept()
        with board, socket.create_connection(("127.0.0.1", port)) as host:
            for source, target in ((host, board), (board, host)):
                started = time.monotonic()
                source.sendall(DATA)
                assert receive(target, len(DATA)) == DATA
                assert 0.9 < (time.monotonic() - started) / (10 * len(DATA) / BAUD) < 1.5


def test_second_user_can_connect_after_the_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as qemu, emulate_serial_line(qemu.getsockname()[1], BAUD) as port:
        board, _ = qemu.accept()
        with board:
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", port)) as host:
                    host.sendall(b"here")
                    assert receive(board, 4) == b"here"
                    board.sendall(b"there")
                    assert receive(host, 5) == b"there"
