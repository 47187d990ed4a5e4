"""Do all symbols resolve: without running anything, and when OpenSSL loads the engine?"""

import shlex

from fixtures.lab.board import Board
from fixtures.link.shell import Shell
from fixtures.outcome import ProductError
from fixtures.stack import engine
from fixtures.stack.symbols.classify import classify
from fixtures.stack.symbols.resolve import resolve


def test_every_symbol_of_the_engine_resolves(stack: Shell, board: Board) -> None:
    path = engine.engine_path(stack, board.openssl.engine)
    resolution = resolve(
        path, stack.get(path), lambda name: _fetch(stack, name), architecture=board.architecture, libc=board.libc
    )
    if resolution.problems:
        raise ProductError("\n".join(problem.text for problem in resolution.problems))


def test_the_engine_loads_with_immediate_binding(stack: Shell, board: Board) -> None:
    _refuse_bad_findings(stack, board, f"LD_BIND_NOW=1 openssl engine -t {shlex.quote(board.openssl.engine)}")


def test_openssl_has_nothing_to_report_of_its_own_configuration(stack: Shell, board: Board) -> None:
    _refuse_bad_findings(stack, board, "openssl engine -t && echo | openssl dgst -sha256")


def _refuse_bad_findings(stack: Shell, board: Board, command: str) -> None:
    said = stack.run(command)
    listed = f"({board.openssl.engine}) " in said.text
    findings = classify(said.text, listed=listed, openssl=stack.run("openssl version").check().text)
    bad = [finding for finding in findings if not finding.harmless]
    if bad or said.status:
        told = [f"{finding.kind}, to blame: {finding.blame}; {finding.advice}\n{finding.text}" for finding in bad]
        raise ProductError("\n".join([*told, f"exit status {said.status} from: {command}", said.text]))


def _fetch(stack: Shell, path: str) -> bytes | None:
    there = stack.run(f"test -f {shlex.quote(path)}").status == 0
    return stack.get(path) if there else None
