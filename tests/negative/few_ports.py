"""Runs a command where next to no port is free: `unshare --map-root-user --net python few_ports.py FREE COMMAND…`."""

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
    """Become the command, in a network that has FREE + 1 ports to give to who wants any, one of them taken."""
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{TAKEN} {TAKEN + free}")
    taken = socket.socket()
    # A network of one's own begins with its loopback interface down.
    fcntl.ioctl(taken, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    taken.bind(("127.0.0.1", TAKEN))
    taken.listen()
    taken.set_inheritable(True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
