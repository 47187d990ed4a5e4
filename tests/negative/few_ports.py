"""Run a command in a network with almost no free port: `unshare --net python few_ports.py FREE COMMAND…`."""

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

TAKEN = 40000
SIOCSIFFLAGS = 0x8914  # linux/sockios.h
IFF_UP = 1  # linux/if.h


def main(free: int, command: list[str]) -> None:
    """Execute the command in a network with FREE + 1 ephemeral ports, one of them in use."""
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{TAKEN} {TAKEN + free}")
    taken = socket.socket()
    # The loopback interface of a new network namespace is down.
    fcntl.ioctl(taken, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    taken.bind(("127.0.0.1", TAKEN))
    taken.listen()
    taken.set_inheritable(True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
