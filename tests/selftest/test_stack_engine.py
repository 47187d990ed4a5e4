"""What OpenSSL says of an engine.

The texts were printed by OpenSSL 3.0.22's own engines/e_devcrypto.c and apps/engine.c, over a stand-in for /dev/crypto
that answers its session calls.
"""

import dataclasses
import os
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.lab.board import Board, OpenSSL, load_board
from fixtures.outcome import ProductError
from fixtures.stack.engine import (
    algorithm_name,
    configuration,
    describe,
    engine_path,
    engines_folder,
    parse_capabilities,
    parse_engines_folder,
    parse_offers,
    read_report,
)

DATA = Path(__file__).parent / "data" / "stack"
AES = {f"AES-{size}-{mode}" for size in (128, 192, 256) for mode in ("CBC", "CTR", "ECB")}
SHA = {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"}


def text(name: str) -> str:
    return (DATA / name).read_text()


@pytest.fixture
def board() -> Board:
    return load_board("virt", Path(__file__).parents[2] / "boards")


def with_engine(board: Board, engine: str, **settings: str) -> Board:
    return board.model_copy(update={"openssl": OpenSSL(engine=engine, settings=settings)})


def test_an_engine_with_soft_drivers_allowed(board: Board) -> None:
    report = read_report(text("engine-softdrivers.txt"), text("engine-nothing.txt"), board)
    assert report.listed
    assert report.available
    assert report.algorithms >= AES | SHA
    assert not report.configured
    assert report.refused == ()
    cbc = report.offers["AES-128-CBC"]
    assert (cbc.driver, cbc.acceleration, cbc.enabled) == ("virtio_crypto_aes_cbc", "software", True)
    digest = report.offers["SHA256"]
    assert (digest.driver, digest.acceleration, digest.enabled) == ("sha256-caam", "software", True)


def test_an_engine_by_default_offers_no_soft_driver(board: Board) -> None:
    report = read_report(text("engine-default.txt"), "", board)
    assert report.algorithms == {"DES-CBC", "DES-EDE3-CBC"}
    assert [report.offers[name].acceleration for name in ("DES-CBC", "DES-EDE3-CBC", "AES-128-CBC")] == [
        "unknown",
        "hardware",
        "software",
    ]
    assert report.offers["DES-CBC"].driver is None
    assert not report.offers["AES-128-CBC"].enabled


def test_what_the_kernel_does_not_give_is_not_available(board: Board) -> None:
    offers = read_report(text("engine-settings-refused.txt"), "", board).offers
    assert (offers["RC4"].acceleration, offers["RC4"].driver) == ("not available", None)
    assert offers["RC4"].why == "CIOCGSESSION (session open call) failed"
    assert (offers["RIPEMD160"].acceleration, offers["RIPEMD160"].driver) == ("not available", None)
    assert offers["RIPEMD160"].why == "CIOCGSESSION (session open) failed"
    assert (offers["SHA1"].acceleration, offers["SHA1"].driver) == ("not available", "sha1-generic")
    assert offers["SHA1"].why == "CIOCCPHASH failed"


def test_settings_that_the_engine_does_not_take_are_named(board: Board) -> None:
    assert read_report(text("engine-settings-refused.txt"), "", board).refused == ("USE_SOFTDRIVERS:7", "BOGUS:1")


def test_an_engine_that_offers_nothing_is_still_listed_and_available(board: Board) -> None:
    report = read_report(text("engine-nothing.txt"), "", board)
    assert (report.listed, report.available, report.algorithms) == (True, True, frozenset())
    assert not any(offer.enabled for offer in report.offers.values())
    assert len(report.offers) == 24


def test_an_engine_that_is_not_there(board: Board) -> None:
    report = read_report(text("engine-absent.txt"), "", board)
    assert (report.listed, report.available, report.algorithms, report.offers) == (False, False, frozenset(), {})
    assert "no such engine" in report.text


def test_another_engine_listed_is_not_this_one(board: Board) -> None:
    assert not read_report("(dynamic) Dynamic engine loading support\n     [ available ]\n", "", board).listed


def test_a_setup_that_failed_and_a_digest_blamed_for_a_cipher() -> None:
    line = "Cipher AES-128-CBC, NID=419, /dev/crypto info: id=11, driver=x (software). Cipher setup failed\n"
    assert parse_offers(line, frozenset())["AES-128-CBC"].acceleration == "not available"
    line = "Digest SHA1, NID=64, /dev/crypto info: id=14, driver=x (software). Cipher setup failed\n"
    assert parse_offers(line, frozenset({"SHA1"}))["SHA1"].acceleration == "software"


def test_capabilities_of_other_kinds_are_no_algorithms() -> None:
    assert parse_capabilities("(x) y\n [RSA, AES-128-CBC, STORE(file)]\n     [ available ]\n") == {"RSA", "AES-128-CBC"}
    assert parse_capabilities("(x) y\n     [ available ]\n") == frozenset()


@pytest.mark.parametrize("name", ["sha256", "SHA-256", "SHA2-256", "SHA256"])
def test_one_spelling(name: str) -> None:
    assert algorithm_name(name) == "SHA256"


def test_other_names_keep_theirs() -> None:
    assert [algorithm_name(name) for name in ("SHA-1", "aes-128-cbc", "SHA3-256")] == [
        "SHA1",
        "AES-128-CBC",
        "SHA3-256",
    ]


def test_names_come_in_the_board_files_spelling(board: Board) -> None:
    other = board.model_copy(update={"algorithms": {"SHA-256": board.algorithms["SHA256"]}})
    report = read_report(text("engine-softdrivers.txt"), text("engine-softdrivers.txt"), other)
    assert "SHA-256" in report.algorithms & report.configured
    assert report.offers["SHA-256"].algorithm == "SHA-256"


def test_the_engines_folder_of_this_machine() -> None:
    assert Path(engines_folder(LocalShell())).is_absolute()
    with pytest.raises(ProductError, match=r"printed no ENGINESDIR line but: version: Option unknown"):
        parse_engines_folder("version: Option unknown -e\n")


def test_the_engines_file(tmp_path: Path) -> None:
    (tmp_path / "devcrypto.so").touch()
    (tmp_path / "openssl").write_text(f"#!/bin/sh\necho 'ENGINESDIR: \"{tmp_path}\"'\n")
    (tmp_path / "openssl").chmod(0o755)
    shell = LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert engine_path(shell, "devcrypto") == f"{tmp_path}/devcrypto.so"
    with pytest.raises(ProductError, match=r"afalg\.so is missing; the engines folder holds: devcrypto\.so openssl"):
        engine_path(shell, "afalg")


def test_a_real_engine_of_this_machine(board: Board) -> None:
    """OpenSSL's "dynamic" is built in: listed, never available, without algorithms; and takes SO_PATH, not BOGUS."""
    shell = LocalShell()
    report = describe(shell, with_engine(board, "dynamic", SO_PATH="/no/such.so", BOGUS="1"))
    assert (report.listed, report.available, report.algorithms) == (True, False, frozenset())
    assert report.refused == ("BOGUS:1",)
    assert len(shell.commands) == 1
    assert not describe(shell, with_engine(board, "no-such-engine")).listed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("kill -SEGV $$", "ended with signal 11"),
        ("echo sh: openssl: not found; exit 127", "ended with exit status 127"),
    ],
)
def test_an_openssl_that_dies_is_the_products_fault(board: Board, tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "openssl").write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / "openssl").chmod(0o755)
    with pytest.raises(ProductError, match=message):
        describe(LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"}), board)


def test_a_configuration_file_loads_an_engine(tmp_path: Path) -> None:
    """OpenSSL itself reads it; loader_attic is an engine that comes with every OpenSSL 3."""
    (tmp_path / "cnf").write_text(configuration("loader_attic", {}))
    for config, loaded in ((str(tmp_path / "cnf"), True), ("/dev/null", False)):
        listing = LocalShell(environment={"OPENSSL_CONF": config}).run("openssl engine").check().text
        assert ("(loader_attic)" in listing) is loaded, listing
    assert configuration("x", {"B": "1", "A": "2"}).endswith("[hil_engine]\nengine_id = x\nB = 1\nA = 2\ninit = 1\n")


def test_an_offer_is_a_value() -> None:
    offer = parse_offers(text("engine-default.txt"), frozenset())["AES-128-CBC"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        offer.driver = "other"  # type: ignore[misc]
