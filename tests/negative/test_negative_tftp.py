"""U-Boot fetches an image from the TFTP server of the suite, and from a server that stalls in the middle of a file.

QEMU's user network answers port 69 of 10.0.2.2 itself, so the server listens at another address of this host.
"""

import json
import socket
import threading
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path

import pytest
from gate_run import GATE_TIMEOUT, ROOT
from own_lab import own_lab
from tftpy import TftpServer

from fixtures.lab.board import load_board
from fixtures.lab.lease import acquire_any
from fixtures.virt.build import build

BOOT = "tests/test_boot.py"


@pytest.fixture
def tftp_address() -> Iterator[str]:
    """Return a non-loopback address of this host, and hold a lease of its port 69 against other workers.

    Skip the test without such an address, or without the right to bind port 69.
    """
    with acquire_any(["host/port-69"], wait=GATE_TIMEOUT), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.connect(("192.0.2.77", 9))  # a UDP connect sends nothing
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                server.bind((found.getsockname()[0], 69))
        except OSError as error:
            pytest.skip(f"no TFTP server can listen at an address of this host: {error}")
        yield str(found.getsockname()[0])


def test_u_boot_fetches_from_the_built_in_tftp_server(tftp_address: str) -> None:
    with own_lab(build(None, None, print)) as lab:
        lab.unit["tftp"] = {"server": tftp_address}
        run = lab.run_gate(BOOT)
        assert run.is_healthy, run.text
        assert not list((lab.folder / "tmp").glob("hil-tftp-*"))


class StalledFile(BufferedReader):
    """A file whose second half is not available until `rest` is set."""

    def __init__(self, path: Path) -> None:
        """Open the file."""
        super().__init__(FileIO(path))
        self.middle, self.rest = path.stat().st_size // 2, threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes; wait in the second half, at most 120 s."""
        if self.tell() > self.middle:
            self.rest.wait(120)
        return super().read(size)


def test_tftp_server_that_stalls_in_a_file_is_a_lab_error(tftp_address: str) -> None:
    with own_lab(build(None, None, print)) as lab:
        lab.unit["tftp"]["server"] = tftp_address
        lines = load_board("virt", ROOT / "boards").boot["tftp"]
        short_timeouts = ["setenv tftptimeout 1000; setenv tftptimeoutcountmax 1", *lines]
        board = {"extends": "virt", "made_by": None, "boot": {"tftp": short_timeouts}}
        (lab.folder / "bench.yaml").write_text(json.dumps(board))
        half = StalledFile(lab.built.kernel)
        server = TftpServer(str(lab.image), lambda _name, **_who: half)  # serves the stalled file under any name
        thread = threading.Thread(target=server.listen, args=(tftp_address, 69, 1), daemon=True)
        thread.start()
        assert server.is_running.wait(10)
        run = lab.run_gate(BOOT)
        assert half.tell() > half.middle
        server.stop(now=True)
        half.rest.set()
        thread.join(10)
    assert run.exit_status == 9, run.text
    assert "U-Boot: exit status 1 from 'tftpboot " in run.text and "Retry count exceeded" in run.text, run.text
