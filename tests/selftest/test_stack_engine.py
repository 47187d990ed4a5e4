"""The output of `openssl engine`, parsed.

The texts in data/stack were printed by OpenSSL 3.0.22's own engines/e_devcrypto.c and apps/engine.c, over a stand-in
for /dev/crypto that handles its session calls.
"""

import dataclasses
import os
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.lab.board import Board, OpenSSL, load_board
from fixtures.limits import MAX_PATH
from fixtures.outcome import ProductError
from fixtures.stack.engine import (
    algorithm_name,
    engine_path,
    engines_folder,
    parse_capabilities,
    parse_driver_info,
    parse_engines_folder,
    parse_report,
    query_engine,
)

DATA = Path(__file__).parent / "data" / "stack"
AES = {f"AES-{size}-{mode}" for size in (128, 192, 256) for mode in ("CBC", "CTR", "ECB")}
SHA = {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"}


def text(name: str) -> str:
    return (DATA / name).read_text()


@pytest.fixture
def board() -> Board:
    return load_board("virt", Path(__file__).parents[2] / "boards")


def board_with_engine(board: Board, engine: str, **settings: str) -> Board:
    return board.model_copy(update={"openssl": OpenSSL(engine=engine, settings=settings)})


def test_engine_offers_software_drivers_if_they_are_allowed(board: Board) -> None:
    report = parse_report(text("engine-softdrivers.txt"), text("engine-nothing.txt"), board)
    assert report.listed
    assert report.available
    assert report.algorithms >= AES | SHA
    assert not report.configured
    assert report.refused == ()
    cbc = report.driver_info["AES-128-CBC"]
    assert (cbc.driver, cbc.acceleration, cbc.enabled) == ("virtio_crypto_aes_cbc", "software", True)
    digest = report.driver_info["SHA256"]
    assert (digest.driver, digest.acceleration, digest.enabled) == ("sha256-caam", "software", True)


def test_engine_offers_no_software_driver_by_default(board: Board) -> None:
    report = parse_report(text("engine-default.txt"), "", board)
    assert report.algorithms == {"DES-CBC", "DES-EDE3-CBC"}
    assert [report.driver_info[name].acceleration for name in ("DES-CBC", "DES-EDE3-CBC", "AES-128-CBC")] == [
        "unknown",
        "hardware",
        "software",
    ]
    assert report.driver_info["DES-CBC"].driver is None
    assert not report.driver_info["AES-128-CBC"].enabled


def test_algorithm_without_a_kernel_session_is_not_available(board: Board) -> None:
    driver_info = parse_report(text("engine-settings-refused.txt"), "", board).driver_info
    assert (driver_info["RC4"].acceleration, driver_info["RC4"].driver) == ("not available", None)
    assert driver_info["RC4"].why == "CIOCGSESSION (session open call) failed"
    assert (driver_info["RIPEMD160"].acceleration, driver_info["RIPEMD160"].driver) == ("not available", None)
    assert driver_info["RIPEMD160"].why == "CIOCGSESSION (session open) failed"
    assert (driver_info["SHA1"].acceleration, driver_info["SHA1"].driver) == ("not available", "sha1-generic")
    assert driver_info["SHA1"].why == "CIOCCPHASH failed"


def test_refused_settings_are_listed(board: Board) -> None:
    assert parse_report(text("engine-settings-refused.txt"), "", board).refused == ("USE_SOFTDRIVERS:7", "BOGUS:1")


def test_engine_without_algorithms_is_still_listed_and_available(board: Board) -> None:
    report = parse_report(text("engine-nothing.txt"), "", board)
    assert (report.listed, report.available, report.algorithms) == (True, True, frozenset())
    assert not any(info.enabled for info in report.driver_info.values())
    assert len(report.driver_info) == 24


def test_absent_engine_is_not_listed(board: Board) -> None:
    report = parse_report(text("engine-absent.txt"), "", board)
    assert (report.listed, report.available, report.algorithms, report.driver_info) == (False, False, frozenset(), {})
    assert "no such engine" in report.text


def test_listing_of_another_engine_does_not_count(board: Board) -> None:
    assert not parse_report("(dynamic) Dynamic engine loading support\n     [ available ]\n", "", board).listed


def test_setup_failure_counts_only_without_the_capability() -> None:
    line = "Cipher AES-128-CBC, NID=419, /dev/crypto info: id=11, driver=x (software). Cipher setup failed\n"
    assert parse_driver_info(line, frozenset())["AES-128-CBC"].acceleration == "not available"
    line = "Digest SHA1, NID=64, /dev/crypto info: id=14, driver=x (software). Cipher setup failed\n"
    assert parse_driver_info(line, frozenset({"SHA1"}))["SHA1"].acceleration == "software"


def test_capabilities_leave_out_store_loaders() -> None:
    assert parse_capabilities("(x) y\n [RSA, AES-128-CBC, STORE(file)]\n     [ available ]\n") == {"RSA", "AES-128-CBC"}
    assert parse_capabilities("(x) y\n     [ available ]\n") == frozenset()


@pytest.mark.parametrize("name", ["sha256", "SHA-256", "SHA2-256", "SHA256"])
def test_spellings_of_sha256_become_one(name: str) -> None:
    assert algorithm_name(name) == "SHA256"


def test_other_algorithm_names_are_only_capitalised() -> None:
    assert [algorithm_name(name) for name in ("SHA-1", "aes-128-cbc", "SHA3-256")] == [
        "SHA1",
        "AES-128-CBC",
        "SHA3-256",
    ]


def test_report_uses_the_board_files_spelling(board: Board) -> None:
    other = board.model_copy(update={"algorithms": {"SHA-256": board.algorithms["SHA256"]}})
    report = parse_report(text("engine-softdrivers.txt"), text("engine-softdrivers.txt"), other)
    assert "SHA-256" in report.algorithms & report.configured
    assert report.driver_info["SHA-256"].algorithm == "SHA-256"


def test_engines_folder_is_read_from_openssl_version() -> None:
    assert Path(engines_folder(LocalShell())).is_absolute()
    with pytest.raises(ProductError, match=r"printed no ENGINESDIR line but: 'version: Option unknown"):
        parse_engines_folder("version: Option unknown -e\n")


@pytest.mark.parametrize("folder", ["engines", "", "/" + "x" * (MAX_PATH + 1)])
def test_engines_folder_that_is_no_path_is_a_product_failure(folder: str) -> None:
    with pytest.raises(ProductError, match="no engines folder") as caught:
        parse_engines_folder(f'ENGINESDIR: "{folder}"\n')
    assert len(str(caught.value)) < 500


def test_longest_engines_folder_is_accepted() -> None:
    folder = "/" + "x" * (MAX_PATH - 1)
    assert parse_engines_folder(f'ENGINESDIR: "{folder}"\n') == folder


def test_missing_engine_file_lists_the_engines_folder(tmp_path: Path) -> None:
    (tmp_path / "devcrypto.so").touch()
    (tmp_path / "openssl").write_text(f"#!/bin/sh\necho 'ENGINESDIR: \"{tmp_path}\"'\n")
    (tmp_path / "openssl").chmod(0o755)
    shell = LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert engine_path(shell, "devcrypto") == f"{tmp_path}/devcrypto.so"
    with pytest.raises(ProductError, match=r"afalg\.so is missing; the engines folder holds: 'devcrypto\.so openssl"):
        engine_path(shell, "afalg")


def test_built_in_engine_of_this_host_is_listed(board: Board) -> None:
    """OpenSSL's "dynamic" is built in: listed, never available, without algorithms; it takes SO_PATH but not BOGUS."""
    shell = LocalShell()
    report = query_engine(shell, board_with_engine(board, "dynamic", SO_PATH="/no/such.so", BOGUS="1"))
    assert (report.listed, report.available, report.algorithms) == (True, False, frozenset())
    assert report.refused == ("BOGUS:1",)
    assert len(shell.commands) == 1
    assert not query_engine(shell, board_with_engine(board, "no-such-engine")).listed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("kill -SEGV $$", "ended with signal 11"),
        ("echo sh: openssl: not found; exit 127", "ended with exit status 127"),
    ],
)
def test_crash_of_openssl_is_a_product_failure(board: Board, tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "openssl").write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / "openssl").chmod(0o755)
    with pytest.raises(ProductError, match=message):
        query_engine(LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"}), board)


def test_driver_info_is_immutable() -> None:
    info = parse_driver_info(text("engine-default.txt"), frozenset())["AES-128-CBC"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.driver = "other"  # type: ignore[misc]
