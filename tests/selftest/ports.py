"""Free ports of this host."""

import socket
from contextlib import suppress

_reserved: list[socket.socket] = []
"""A Unix socket for each port of this process. The kernel frees their names with the process."""


def find_free_udp_port() -> int:
    """Return a free UDP port of the loopback interface that no other call returns, in any process of this host.

    It is below the ports that the kernel gives to sockets without one (net.ipv4.ip_local_port_range).
    """
    for port in range(20000, 30000):
        reservation = socket.socket(socket.AF_UNIX)
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            reservation.bind(f"\0hil-udp-port-{port}")
            found.bind(("127.0.0.1", port))
            _reserved.append(reservation)
            return port
        reservation.close()
    raise AssertionError("no UDP port is free")
