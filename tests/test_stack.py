"""Is the offload stack complete: module, device node, engine, every algorithm that the board file promises?"""

import pytest

from fixtures.lab.board import Board
from fixtures.link.shell import Shell
from fixtures.outcome import ProductError
from fixtures.stack import kernel
from fixtures.stack.engine import EngineReport
from fixtures.stack.symbols.classify import classify

pytestmark = pytest.mark.board


def test_cryptodev_is_loaded(stack: Shell, board: Board) -> None:
    assert board.cryptodev.module in kernel.loaded_modules(stack)


def test_cryptodev_device_node_exists(stack: Shell, board: Board) -> None:
    kernel.check_device(stack, board.cryptodev.device)


def test_engine_is_listed(engine_report: EngineReport, board: Board) -> None:
    if not (engine_report.listed and engine_report.available):
        findings = classify(engine_report.text, listed=engine_report.listed, openssl="")
        reasons = dict.fromkeys(f"{bad.kind}, {bad.advice}" for bad in findings if not bad.harmless)
        why = "; ".join(reasons) or "no reason given"
        raise ProductError(f"{board.openssl.engine} is not listed as available: {why}\n{engine_report.text}")


def test_engine_accepts_its_settings(engine_report: EngineReport) -> None:
    assert engine_report.refused == (), engine_report.text


def test_engine_offers_algorithm(offered: str, engine_report: EngineReport) -> None:
    if offered not in engine_report.algorithms:
        raise ProductError(
            f"{offered} is in the board file and not among what the engine offers:\n{engine_report.text}"
        )


def test_promised_driver_serves_algorithm(
    promised: str, engine_report: EngineReport, board: Board, stack: Shell
) -> None:
    algorithm = board.algorithms[promised]
    offer = engine_report.driver_info.get(promised)
    if offer is None or offer.driver != algorithm.driver:
        found = (offer and offer.driver) or "no driver"
        drivers = "\n".join(str(entry) for entry in kernel.crypto_drivers(stack) if entry.name == algorithm.kernel)
        raise ProductError(
            f"{algorithm.kernel} is served by {found}, promised is {algorithm.driver}; the kernel has:\n{drivers}"
        )
