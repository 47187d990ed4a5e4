"""Do all symbols resolve: without running anything, and when OpenSSL loads the engine?"""

import shlex

import pytest

from fixtures.gate.fixtures_stack import EngineFile
from fixtures.lab.board import Board
from fixtures.link.shell import Shell
from fixtures.outcome import Evidence, ProductError
from fixtures.stack.symbols.classify import classify
from fixtures.stack.symbols.resolve import resolve

pytestmark = pytest.mark.board


def test_every_symbol_of_the_engine_resolves(engine_file: EngineFile, stack: Shell, board: Board) -> None:
    resolution = resolve(
        engine_file.path,
        engine_file.content,
        lambda path: _fetch(stack, path),
        architecture=board.architecture,
        libc=board.libc,
    )
    if resolution.problems:
        raise ProductError("\n".join(problem.text for problem in resolution.problems))


def test_engine_loads_with_immediate_binding(stack: Shell, board: Board) -> None:
    _check_loader_messages(stack, board, f"LD_BIND_NOW=1 openssl engine -t {shlex.quote(board.openssl.engine)}")


def test_openssl_starts_without_complaint(stack: Shell, board: Board) -> None:
    """With the board's openssl.cnf, as every application reads it."""
    _check_loader_messages(stack, board, "openssl engine")


def _check_loader_messages(stack: Shell, board: Board, command: str) -> None:
    """Raise ProductError if the command fails, prints a loader message that is not harmless, or omits the engine."""
    result = stack.run(command)
    listed = f"({board.openssl.engine}) " in result.text
    findings = classify(result.text, listed=listed, openssl=stack.run("openssl version").check().text)
    bad = [finding for finding in findings if not finding.harmless]
    if bad or result.exit_status or not listed:
        lines = [f"{finding.kind}, culprit: {finding.culprit}; {finding.advice}\n{finding.text}" for finding in bad]
        evidence = [
            Evidence("loader message", finding.culprit, origin=finding.origin, detail=line.partition("\n")[0])
            for finding, line in zip(bad, lines, strict=True)
        ]
        lines.append(
            f"exit status {result.exit_status} from: {command}{'' if listed else ' (the engine is not listed)'}"
        )
        raise ProductError("\n".join([*lines, result.text]), evidence=evidence)


def _fetch(stack: Shell, path: str) -> bytes | None:
    """Return a file of the board, None if there is no such file."""
    exists = stack.run(f"test -f {shlex.quote(path)}").exit_status == 0
    return stack.get(path) if exists else None
