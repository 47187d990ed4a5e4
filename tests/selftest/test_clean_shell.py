"""Has a command the environment of an application, whatever variables the login has, over SSH and over the console?"""

import re
from pathlib import Path

import paramiko
import pytest
from debian_programs import find_program
from local_shell import LocalShell
from simulated_board import SimulatedBoard
from ssh_server import ssh_server
from test_link_ssh import connect_to

from fixtures.boot import login
from fixtures.limits import MAX_DROPPED_VARIABLES, MAX_FACT_LENGTH
from fixtures.link.clean_shell import CleanShell, parse_exports
from fixtures.link.console import Console
from fixtures.link.serial_shell import SerialShell
from fixtures.outcome import ProductError

SHELLS = {"sh": "dash", "bash": "bash", "busybox": "busybox"}
"""Shell -> Debian package that contains it."""
LOGIN = {"OPENSSL_CONF": "/etc/ssl/it's own.cnf", "LD_LIBRARY_PATH": "/opt/lib", "OPENSSL_armcap": "0"}
SHOW = 'echo "$OPENSSL_CONF,$LD_LIBRARY_PATH,$OPENSSL_armcap,$OTHER"'


@pytest.mark.parametrize("program", SHELLS)
def test_variables_of_the_login_are_dropped_and_named(program: str) -> None:
    words = (find_program(program, package=SHELLS[program]), *(["sh"] if program == "busybox" else []))
    shell = CleanShell(LocalShell(shell=words, environment={**LOGIN, "OTHER": "kept"}), {})
    assert shell.run(SHOW).text == ",,,kept\n"
    assert shell.dropped == LOGIN


def test_variables_of_the_board_file_are_set() -> None:
    shell = CleanShell(LocalShell(environment=LOGIN), {"OPENSSL_CONF": "/etc/x; echo $HOME"})
    assert shell.run(SHOW).text == "/etc/x; echo $HOME,,,\n"
    assert shell.run("cat; exit 3", stdin=b"input").output == b"input"
    assert shell.run("exit 3").exit_status == 3


def test_shell_without_such_variables_runs_commands_as_they_are() -> None:
    local = LocalShell()
    shell = CleanShell(local, {})
    shell.run("true")
    assert (shell.dropped, local.commands[-1]) == ({}, "true")


def test_environment_is_the_same_over_ssh_and_over_the_console(tmp_path: Path) -> None:
    words = ["env", *(f"{name}={value}" for name, value in LOGIN.items()), "sh"]
    with ssh_server(tmp_path, paramiko.ECDSAKey.generate()) as server:
        server.interface.shell = words
        over_ssh = connect_to(server)
        try:
            seen = CleanShell(over_ssh, {}).run(SHOW).text
        finally:
            over_ssh.close()
    with SimulatedBoard(shell=(*words, "-i")) as board, Console(board.url, 115200, tmp_path / "log") as console:
        board.on(bootloader=False)
        login.log_in(console, "login: ", "root", "# ", 10)
        link = SerialShell(console)
        assert link.run(SHOW).text != seen, "the login of the console has the variables"
        clean = CleanShell(link, {})
        assert (clean.run(SHOW).text, clean.dropped) == (seen, LOGIN)
        link.close()


def test_hostile_environment_is_bounded_and_escaped() -> None:
    found = parse_exports(
        "export LD_A='\x1b[2J" + "x" * 10_000 + "'\nexport LD_B\nexport OPENSSL_x y='1'\nexport LD_;id='"
    )
    assert set(found) == {"LD_A", "LD_B", "OPENSSL_x"}
    assert all(value.isprintable() and len(value) <= MAX_FACT_LENGTH for value in found.values())
    many = "".join(f"export LD_{number}=1\n" for number in range(MAX_DROPPED_VARIABLES + 1))
    with pytest.raises(ProductError, match=re.escape("65 variables that begin with OPENSSL_, LD_, over the limit")):
        parse_exports(many)
