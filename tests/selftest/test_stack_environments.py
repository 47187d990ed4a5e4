"""Is an environment found in which applications get something else? With programs of this host in place of openssl."""

from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.lab.board import load_board
from fixtures.outcome import ProductError
from fixtures.stack.environments import ENVIRONMENTS, SERVICE_PATH, Offers, query_offers

BOARD = load_board("virt", Path(__file__).parents[2] / "boards")
OPENSSL = """#!/bin/sh
case $1 in
version) echo "OpenSSL 3.0.17 1 Jul 2025" ;;
engine) echo "(devcrypto) /dev/crypto engine"; [ "$OPENSSL_CONF" != "$WANTED" ] || echo " [AES-128-CBC, SHA1]" ;;
esac
"""
"""Offers algorithms if OPENSSL_CONF is the WANTED one."""


def offers_with(folder: Path, *, profile: str = "", wanted: str = "") -> Offers:
    """Return what applications get where a login reads this profile, and the engine needs OPENSSL_CONF=wanted."""
    program = folder / "openssl"
    program.write_text(OPENSSL.replace("$WANTED", wanted))
    program.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    (folder / ".profile").write_text(f"PATH={path}\n{profile}\n")
    shell = LocalShell(replace={SERVICE_PATH: path}, environment={"HOME": str(folder), "PATH": path})
    return query_offers(shell, BOARD)


def test_same_offer_everywhere_passes(tmp_path: Path) -> None:
    offers = offers_with(tmp_path, profile="export EDITOR=vi; echo Welcome")
    assert offers.application.algorithms == {"AES-128-CBC", "SHA1"}
    for environment in ENVIRONMENTS:
        offers.check(environment)


@pytest.mark.parametrize("wanted", ["/etc/engine.cnf", ""], ids=["login alone has the engine", "login alone lacks it"])
def test_variable_that_only_a_login_has_is_named(tmp_path: Path, wanted: str) -> None:
    offers = offers_with(tmp_path, profile="export OPENSSL_CONF=/etc/engine.cnf", wanted=wanted)
    with pytest.raises(ProductError, match=r"^a login, which sets OPENSSL_CONF=/etc/engine\.cnf, gets ") as caught:
        offers.check("login-shell")
    assert [(each.kind, each.subject) for each in caught.value.evidence] == [("environment differs", "login-shell")]
    offers.check("service")


def test_other_openssl_in_the_path_of_a_login_is_found(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "openssl").write_text(OPENSSL.replace("3.0.17", "3.5.0").replace("$WANTED", ""))
    (other / "openssl").chmod(0o755)
    offers = offers_with(tmp_path, profile=f"PATH={other}:$PATH")
    with pytest.raises(ProductError, match=r"gets OpenSSL 3\.5\.0 with .*get OpenSSL 3\.0\.17 with"):
        offers.check("login-shell")
