"""Is a valid lab file read, is every error reported with its line, and is no secret accepted or printed?"""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fixtures.lab.labfile import (
    Command,
    Console,
    Lab,
    Manual,
    Network,
    Pdudaemon,
    Qmp,
    Tftp,
    Unit,
    example_lab_file,
    load_lab,
    select_units,
)
from fixtures.lab.lease import acquire_any
from fixtures.outcome import UsageError

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFUA5aEKapuUBoDzhQPssf582jvNNFzFoIijDy1STSP5"

GOOD = f"""\
units:
  - name: bench-1
    board: ls1046a
    console: {{url: /dev/ttyUSB0}}
    power:
      kind: command
      on: outlet 1 on
      off: outlet 1 off
    network:
      address: board.lab.example
      port: 2222
      key_file: ~/.ssh/key
      host_key: {HOST_KEY} a comment
  - name: bench-2
    board: ls1046a
    console: {{url: 'rfc2217://console.lab.example:7001', baud: 9600}}
    power: {{kind: qmp, path: ~/qmp.sock}}
    network: {{address: 'fe80::1', key_file: ~/.ssh/key, host_key: "{HOST_KEY}"}}
    tftp: {{server: 10.0.2.2, folder: ~/tftp}}
  - name: bench-1
    board: imx8qxp-mek
    console: {{url: 'socket://127.0.0.1:5000'}}
    power: {{kind: qmp, path: /run/qmp}}
    network: {{address: 10.0.0.3, key_file: ~/.ssh/key, host_key: "{HOST_KEY}"}}
"""
COMMAND = """power:
      kind: command
      on: outlet 1 on
      off: outlet 1 off"""


def pdudaemon(url: str = "http://pdu:16421", hostname: str = "rack-1", port: str = "3") -> str:
    """Return the key `power` of a lab file for pdudaemon."""
    return f"power: {{kind: pdudaemon, url: '{url}', hostname: {hostname}, port: {port}}}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home folder and working directory with the files that the lab files of this test name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tftp").mkdir()
    (tmp_path / ".ssh").mkdir()
    for name in ("key", "id_ed25519"):
        (tmp_path / ".ssh" / name).touch(mode=0o600)
    return tmp_path


def errors_in(text: str) -> list[str]:
    """Return the lines of the error from a lab file with this text."""
    Path("lab.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_lab(Path("lab.yaml"))
    return str(caught.value).splitlines()


def good_lab() -> Lab:
    Path("lab.yaml").write_text(GOOD)
    return load_lab(Path("lab.yaml"))


def test_all_values_of_a_valid_file_are_read(home: Path) -> None:
    first, second, third = good_lab().units
    assert (first.id, second.id, third.id) == ("ls1046a/bench-1", "ls1046a/bench-2", "imx8qxp-mek/bench-1")
    assert first.console == Console(url="/dev/ttyUSB0", baud=115200)
    assert first.power == Command(on="outlet 1 on", off="outlet 1 off")
    assert first.network and second.console
    assert (first.network.address, first.network.port, first.network.user) == ("board.lab.example", 2222, "root")
    assert first.network.key_file == home / ".ssh/key"
    assert first.tftp is None
    assert second.power == Qmp(path=home / "qmp.sock")
    assert second.console.baud == 9600
    assert second.tftp == Tftp(server="10.0.2.2", folder=home / "tftp")


def test_unit_can_be_created_without_a_file(home: Path) -> None:
    unit = Unit(
        name="0",
        board="virt",
        console=Console(url="socket://127.0.0.1:1"),
        power=Qmp(path=home / "qmp"),
        network=Network(address="127.0.0.1", port=2222, key_file=home / ".ssh/key", host_key=HOST_KEY),
        tftp=Tftp(server="10.0.2.2", folder=home / "tftp"),
    )
    assert select_units(Lab(units=(unit,)), "virt") == (unit,)


# Text of the first unit of GOOD, its replacement, and the expected line, path and message.
INVALID_VALUES = [
    (
        "/dev/ttyUSB0",
        "ttyUSB0",
        '4: units[0].console.url: found "ttyUSB0"; expected a serial device as /dev/ttyUSB0, or',
    ),
    ("/dev/ttyUSB0", "'socket://host'", '4: units[0].console.url: found "socket://host"; expected a serial device'),
    ("/dev/ttyUSB0", "'socket://host:0'", '4: units[0].console.url: found "socket://host:0"; expected'),
    ("/dev/ttyUSB0", "'rfc2217://host:65536'", '4: units[0].console.url: found "rfc2217://host:65536"; expected'),
    ("/dev/ttyUSB0", "'rfc2217://[::1'", '4: units[0].console.url: found "rfc2217://[::1"; expected'),
    ("/dev/ttyUSB0", "'telnet://host:23'", '4: units[0].console.url: found "telnet://host:23"; expected'),
    ("/dev/ttyUSB0", "'socket://me:hunter2@h:1'", '4: units[0].console.url: found "socket://...@h:1"; expected'),
    (
        "/dev/ttyUSB0}",
        "/dev/ttyUSB0, baud: 0}",
        "4: units[0].console.baud: found the number 0; expected 50 to 12000000 bits",
    ),
    (
        "kind: command",
        "kind: magic",
        '6: units[0].power.kind: found "magic"; expected qmp, command, pdudaemon or manual',
    ),
    ("      kind: command\n", "", "5: units[0].power.kind: missing; expected qmp, command, pdudaemon or manual"),
    (
        "kind: command",
        "settle: 0\n      kind: command",
        "6: units[0].power.settle: found the number 0; expected 0.01 to 600 seconds",
    ),
    (
        COMMAND,
        pdudaemon(url="pdu:16421"),
        '5: units[0].power.url: found "pdu:16421"; expected the address of pdudaemon',
    ),
    (COMMAND, pdudaemon(url="ftp://pdu"), '5: units[0].power.url: found "ftp://pdu"; expected the address of'),
    (COMMAND, pdudaemon(url="http://pdu/power"), '5: units[0].power.url: found "http://pdu/power"; expected the'),
    (COMMAND, pdudaemon(url="http://me:hunter2@pdu"), '5: units[0].power.url: found "http://...@pdu"; expected the'),
    (COMMAND, pdudaemon(url="http://pdu:0"), '5: units[0].power.url: found "http://pdu:0"; expected the address'),
    (COMMAND, pdudaemon(port="-1"), "5: units[0].power.port: found the number -1; expected 0 to 65535"),
    (COMMAND, pdudaemon(port="three"), '5: units[0].power.port: found "three"; expected a whole number'),
    (COMMAND, pdudaemon(hostname="''"), '5: units[0].power.hostname: found ""; expected one word'),
    (COMMAND, "power: {kind: pdudaemon}", "5: units[0].power.url: missing; expected text"),
    (COMMAND, "power: {kind: manual, on: x}", "5: units[0].power.on: unknown key; known here: kind, settle"),
    ("kind: command", "kind: qmp", "5: units[0].power.path: missing; expected a path"),
    ("kind: command", "kind: qmp", "7: units[0].power.on: unknown key; known here: kind, path"),
    (
        "      on: outlet 1 on",
        "      command: 1",
        "7: units[0].power.command: unknown key; known here: kind, on, off, ",
    ),
    ("on: outlet 1 on", "on: ''", "7: units[0].power.on: found a command that is empty, has"),
    ("port: 2222", "port: 65536", "11: units[0].network.port: found the number 65536; expected a port from 1 to 65535"),
    ("port: 2222", "port: 0", "11: units[0].network.port: found the number 0; expected a port from 1 to 65535"),
    ("port: 2222", "port: '22'", '11: units[0].network.port: found "22"; expected a whole number'),
    (
        "board.lab.example",
        "ssh://x",
        '10: units[0].network.address: found "ssh://x"; expected a host name or an IP addr',
    ),
    ("board.lab.example", "192.168.1.256", "10: units[0].network.address: found"),
    (
        "~/.ssh/key\n",
        "~/.ssh/none\n",
        '12: units[0].network.key_file: found "~/.ssh/none"; expected a file with an SSH priv',
    ),
    (
        "~/.ssh/key\n",
        "~/.ssh\n",
        '12: units[0].network.key_file: found "~/.ssh"; expected a file with an SSH private key',
    ),
    (
        "~/.ssh/key\n",
        ".ssh/key\n",
        '12: units[0].network.key_file: found ".ssh/key"; expected a path of this host that',
    ),
    ("~/.ssh/key\n", "~nobody-at-all/key\n", "12: units[0].network.key_file: found"),
    (
        "~/.ssh/key\n",
        "5\n",
        "12: units[0].network.key_file: found the number 5; expected a path of this host that begins",
    ),
    (
        f"{HOST_KEY} a comment",
        "ssh-ed25519 AAAA",
        '13: units[0].network.host_key: found "ssh-ed25519 AAAA"; expected an',
    ),
    (f"{HOST_KEY} a comment", f"host {HOST_KEY}", "13: units[0].network.host_key: found"),
    (f"{HOST_KEY} a comment", HOST_KEY.replace("ed25519 ", "rsa "), "13: units[0].network.host_key: found"),
    (
        "name: bench-1\n    board: ls",
        "name: bench-2\n    board: ls",
        "14: units[1]: found the unit ls1046a/bench-2 again,",
    ),
    (
        "url: /dev/ttyUSB0",
        "url: 'socket://127.0.0.1:5000'",
        "20: units[2]: found the console socket://127.0.0.1:5000 again",
    ),
    ("    board: ls1046a\n    console: {url: /", "    console: {url: /", "2: units[0].board: missing; expected text"),
    ("folder: ~/tftp", "folder: ~/tftp, port: 69", "19: units[1].tftp: found folder and port; expected one of them"),
    ("server: 10.0.2.2", "server: tftp.lab", '19: units[1].tftp.server: found "tftp.lab"; expected an IP address'),
    ("folder: ~/tftp", "folder: ~/none", '19: units[1].tftp.folder: found "~/none"; expected a folder that exists'),
    ("units:", "unit:", "1: units: missing; expected a list"),
    (GOOD[GOOD.index("\n") :], " []", "1: units: found an empty list; expected at least one unit"),
]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("good", "bad", "message"), INVALID_VALUES)
def test_error_is_reported_with_its_line(good: str, bad: str, message: str) -> None:
    assert good in GOOD
    lines = errors_in(GOOD.replace(good, bad, 1))
    assert [line for line in lines if line.startswith(f"lab.yaml:{message}")], lines
    assert not [line for line in lines if "hunter2" in line]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("key", ["password", "passphrase", "ssh_password", "token", "private_key", "client_secret"])
def test_secret_is_refused_with_advice_and_not_printed(key: str) -> None:
    lines = errors_in(GOOD.replace("      port: 2222", f"      {key}: hunter2", 1))
    assert len(lines) == 1
    assert lines[0].startswith(
        f"lab.yaml:11: units[0].network.{key}: a secret does not belong in this file; keep it in a "
    )
    assert "hunter2" not in lines[0]


@pytest.mark.usefixtures("home")
def test_private_key_in_the_file_is_not_printed() -> None:
    pasted = "      host_key: |\n        -----BEGIN OPENSSH PRIVATE KEY-----\n        hunter2\n"
    lines = errors_in(GOOD.replace(f"      host_key: {HOST_KEY} a comment\n", pasted, 1))
    assert len(lines) == 1
    assert lines[0].startswith(
        "lab.yaml:13: units[0].network.host_key: found text of 3 lines; expected an OpenSSH public"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_key_file_accessible_to_others_is_refused(home: Path, mode: int) -> None:
    (home / ".ssh/key").chmod(mode)
    line = errors_in(GOOD)[0]
    assert line.startswith("lab.yaml:12: units[0].network.key_file: ")
    assert f"its mode is {mode:04o}; do: chmod 600 {home}/.ssh/key" in line


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["ed25519", "ecdsa", "rsa"],
)
def test_host_key_of_each_common_type_is_accepted(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    Path("lab.yaml").write_text(GOOD.replace(HOST_KEY, line))
    network = load_lab(Path("lab.yaml")).units[1].network
    assert network and network.host_key == line


@pytest.mark.parametrize(
    "url", ["/dev/serial/by-id/usb-x", "socket://[::1]:9", "rfc2217://h:1?ign_set_control", "loop://"]
)
def test_console_urls_of_pyserial_are_accepted(url: str) -> None:
    assert Console(url=url).url == url


CONNECTIONS = {
    "console": "    console: {url: /dev/ttyUSB9}\n",
    "power": "    power: {kind: qmp, path: /run/qmp}\n",
    "network": f"    network: {{address: 10.0.0.9, key_file: ~/.ssh/key, host_key: '{HOST_KEY}'}}\n",
}


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "connections", ["console power network", "console power", "console network", "console", "network"], ids=str.split
)
def test_unit_with_some_connections_is_accepted(connections: str) -> None:
    Path("lab.yaml").write_text(
        GOOD + "  - name: less\n    board: x\n" + "".join(CONNECTIONS[connection] for connection in connections.split())
    )
    unit = load_lab(Path("lab.yaml")).units[-1]
    assert [connection for connection in CONNECTIONS if getattr(unit, connection) is not None] == connections.split()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("connections", "message"),
    [
        ("", "found no console and no network; expected at least one of them, to run commands on the unit"),
        ("power", "found no console and no network; expected at least one of them, to run commands on the unit"),
        ("power network", "found power and no console; expected a console too, to watch the boot, or neither"),
    ],
)
def test_unit_without_a_usable_combination_of_connections_is_refused(connections: str, message: str) -> None:
    text = (
        GOOD + "  - name: less\n    board: x\n" + "".join(CONNECTIONS[connection] for connection in connections.split())
    )
    (line,) = errors_in(text)
    assert line.startswith(f"lab.yaml:25: units[3]: {message}"), line


@pytest.mark.usefixtures("home")
def test_select_returns_all_units_of_a_type_or_one_unit() -> None:
    lab = good_lab()
    assert [unit.id for unit in select_units(lab, "ls1046a")] == ["ls1046a/bench-1", "ls1046a/bench-2"]
    assert [unit.id for unit in select_units(lab, "ls1046a/bench-2")] == ["ls1046a/bench-2"]
    assert [unit.id for unit in select_units(lab, "imx8qxp-mek")] == ["imx8qxp-mek/bench-1"]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("ls1046", 'no unit of board "ls1046" in the lab file; there are: imx8qxp-mek, ls1046a; did you mean ls1046a?'),
        (
            "ls1046a/bench-3",
            'no unit "ls1046a/bench-3" in the lab file; '
            "there are: imx8qxp-mek/bench-1, ls1046a/bench-1, ls1046a/bench-2; did you mean ls1046a/bench-2?",
        ),
    ],
)
def test_select_of_an_unknown_unit_lists_the_known(selection: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_units(good_lab(), selection)
    assert str(caught.value) == message


@pytest.mark.usefixtures("home")
def test_missing_lab_file_shows_an_example_that_is_valid() -> None:
    with pytest.raises(UsageError) as caught:
        load_lab(Path("lab.yaml"), board="openwrt-ls1046a")
    advice, _, text = str(caught.value).partition("\n\n")
    assert advice.startswith("no lab file lab.yaml: it states where the units of openwrt-ls1046a are. Write it")
    assert text == example_lab_file("openwrt-ls1046a")
    Path("lab.yaml").write_text(text)
    unit = select_units(load_lab(Path("lab.yaml")), "openwrt-ls1046a")[0]
    assert unit.id == "openwrt-ls1046a/bench-1"
    assert unit.tftp is not None


@pytest.mark.usefixtures("home")
def test_example_is_checked_by_the_same_schema() -> None:
    assert errors_in(example_lab_file("x").replace("baud", "bauds"))[0].startswith(
        "lab.yaml:7: units[0].console.bauds: unknown key"
    )


@pytest.mark.usefixtures("home")
def test_other_power_kinds_of_the_example_are_valid() -> None:
    """Remove the lines of the first kind and the comment signs of another kind."""
    text = example_lab_file("x")
    kinds = {}
    for kind in ("pdudaemon", "manual"):
        lines = [line for line in text.splitlines() if not re.match(r"    power:|      (kind|on|off|settle):", line)]
        start = next(number for number, line in enumerate(lines) if f"kind: {kind}" in line)
        start -= kind == "pdudaemon"
        for number in range(start, len(lines)):
            if not lines[number].startswith("    # ") or (number > start and "# power" in lines[number]):
                break
            lines[number] = lines[number].replace("# ", "", 1)
        Path("lab.yaml").write_text("\n".join(lines))
        kinds[kind] = load_lab(Path("lab.yaml")).units[0].power
    assert kinds["pdudaemon"] == Pdudaemon(url="http://192.168.1.2:16421", hostname="rack-1", port=3)
    assert kinds["manual"] == Manual(settle=3.0)


@pytest.mark.usefixtures("home")
def test_first_free_unit_of_a_type_is_leased(tmp_path: Path) -> None:
    ids = [unit.id for unit in select_units(good_lab(), "ls1046a")]
    with acquire_any(ids, tmp_path / "leases") as first, acquire_any(ids, tmp_path / "leases") as second:
        assert [first.unit_id, second.unit_id] == ids
