"""U-Boot fetches an image from the TFTP server that the suite runs; and from one that ends in the middle of a file.

The virtual machine is a unit of a lab here, with a lab file, as a real board is. Its own network takes what goes to
port 69 of 10.0.2.2 for itself, so the server is at another address of this host.
"""

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gaterun import ROOT, Gate, Run
from tftpy import TftpServer

from fixtures.virt.build import Built, build
from fixtures.virt.qemu import machine

ASK = "tests/test_boot.py"


def address() -> str:
    """An address of this host, not of its loopback; the test is skipped where there is none, or no right to port 69."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.connect(("192.0.2.77", 9))  # sends nothing
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                server.bind((found.getsockname()[0], 69))
        except OSError as error:
            pytest.skip(f"no TFTP server can listen at an address of this host: {error}")
        return str(found.getsockname()[0])


@contextmanager
def a_lab(tftp: str) -> Iterator[tuple[Path, ...]]:
    """A lab with one unit; gives its folder, board file, lab file and image.

    :param tftp: what the lab file says of the TFTP server.
    """
    built: Built = build(None, None, print)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "image").mkdir()
        (folder / "tftp").mkdir()
        (folder / "image/kernel").symlink_to(built.kernel)
        (folder / "image/initrd").symlink_to(built.initrd)
        text = (ROOT / "boards/virt.yaml").read_text()
        (folder / "labbed.yaml").write_text(text.replace("made_by:", "# made_by:"))
        with machine(folder, folder / "tftp") as made:
            (folder / "lab.yaml").write_text(
                "units:\n"
                "  - name: bench-1\n"
                "    board: labbed\n"
                f"    console: {{url: 'socket://127.0.0.1:{made.console_port}'}}\n"
                f"    power: {{kind: qmp, path: {made.qmp}}}\n"
                f"    network: {{address: 127.0.0.1, port: {made.ssh_port}, key_file: {built.folder}/user_key,"
                f" host_key: {(built.folder / 'host_key.pub').read_text().strip()}}}\n"
                f"    tftp: {{{tftp.format(folder=folder / 'served')}}}\n"
            )
            (folder / "served").mkdir()
            yield folder, folder / "labbed.yaml", folder / "lab.yaml", folder / "image"


def booted(folder: Path, board: Path, lab: Path, image: Path) -> Run:
    """Ask a little of the unit."""
    with Gate(folder, "--board", board, f"--lab={lab}", f"--image={image}", ASK) as gate:
        return gate.end()


def test_u_boot_fetches_from_the_server_that_the_suite_runs() -> None:
    with a_lab(f"server: {address()}") as lab:
        run = booted(*lab)
        assert run.status == 0, run.text
        assert not [path for path in lab[0].iterdir() if path.name.startswith("hil-tftp-")]


def test_a_server_that_ends_in_the_middle_of_a_file_is_the_lab() -> None:
    at = address()
    with a_lab(f"server: {at}, folder: {{folder}}") as lab:
        server = TftpServer(str(lab[0] / "served"))
        thread = threading.Thread(target=server.listen, args=(at, 69, 1), daemon=True)
        thread.start()
        assert server.is_running.wait(10)
        with Gate(lab[0], "--board", lab[1], f"--lab={lab[2]}", f"--image={lab[3]}", ASK) as gate:
            gate.await_text("switching on labbed/bench-1")
            gate.await_console("Loading: ")
            server.stop(now=True)
            run = gate.end()
        thread.join(10)
    assert run.status == 9, run.text
    assert "U-Boot says status 1 to 'tftpboot " in run.text and "Retry count exceeded" in run.text, run.text
