"""Does the TFTP server that the suite runs hand out its folder, whole, and only for as long as it is asked to?"""

import socket
from pathlib import Path

import pytest
from tftpy import TftpClient, TftpException

from fixtures.boot import tftp
from fixtures.lab.labfile import Console, Manual, Tftp, Unit
from fixtures.outcome import LabError


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def unit_at(server: str, port: int) -> Unit:
    """A unit whose lab has no TFTP server."""
    return Unit(name="0", board="b", console=Console(url="/dev/x"), power=Manual(), tftp=Tftp(server=server, port=port))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for the end of the server."""
    monkeypatch.setattr(tftp, "LOOK_SECONDS", 0.2)


@pytest.mark.parametrize("size", [0, 1, 512, 1024, 1468, 1 << 20])
def test_a_client_gets_a_file_whole(tmp_path: Path, size: int) -> None:
    unit = unit_at("127.0.0.1", free_port())
    content = bytes(number % 251 for number in range(size))
    with tftp.served(unit) as at:
        assert at.tftp and at.tftp.folder and unit.tftp
        (at.tftp.folder / "hil-0").mkdir()
        (at.tftp.folder / "hil-0/kernel").write_bytes(content)
        client = TftpClient("127.0.0.1", unit.tftp.port, options={"blksize": 1468} if size > 1000 else {})
        client.download("hil-0/kernel", str(tmp_path / "got"), timeout=2)
    assert (tmp_path / "got").read_bytes() == content
    assert not at.tftp.folder.exists()


def test_it_takes_nothing_and_hands_out_nothing_from_elsewhere(tmp_path: Path) -> None:
    unit = unit_at("127.0.0.1", free_port())
    (tmp_path / "mine").write_text("mine")
    with tftp.served(unit) as at:
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


def test_the_port_is_free_again_afterwards_and_a_taken_one_is_told() -> None:
    unit = unit_at("127.0.0.1", free_port())
    for _ in range(2):
        with tftp.served(unit):
            told = r"^TFTP: no server can listen at 127\.0\.0\.1 port \d+: .*Address already in use; is this"
            with pytest.raises(LabError, match=told), tftp.served(unit):
                pass


def test_an_address_of_another_host_is_told() -> None:
    with (
        pytest.raises(LabError, match=r"no server can listen at 192\.0\.2\.1 port .*annot assign"),
        tftp.served(unit_at("192.0.2.1", free_port())),
    ):
        pass


def test_a_lab_with_a_server_keeps_it(tmp_path: Path) -> None:
    place = Tftp(server="127.0.0.1", folder=tmp_path)
    unit = unit_at("127.0.0.1", 69).model_copy(update={"tftp": place})
    with tftp.served(unit) as at:
        assert at is unit
