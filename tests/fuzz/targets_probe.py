"""The answers of the probe: vector groups, repeated operations, rows of the interface. Their lines are sealed anew."""

import math
from collections.abc import Sequence
from functools import partial

from campaign import ROOT, Target
from hypothesis.strategies import SearchStrategy
from mutation import mutated_binary, mutated_text
from replay import ReplayShell

from fixtures.outcome import LabError, ProductError
from fixtures.probe.interface import describe_mismatch, may_be_driver, run_rows
from fixtures.probe.interface_table import table
from fixtures.probe.protocol import Probe
from fixtures.probe.wire import Task, extract_lines, parse_transcript, seal
from fixtures.vectors.model import Vector, VectorGroup

GROUPS: tuple[Task, ...] = (
    VectorGroup(
        "AES-128-CBC", "encrypt", "VarKey", "CBCVarKey128.rsp",
        tuple(Vector(f"COUNT = {n}", 5 * n, b"k" * 16, b"i" * 16, b"x" * 16, b"y" * 16, "split 5") for n in range(3)),
    ),
    VectorGroup("SHA1", "digest", "ShortMsg", "SHA1ShortMsg.rsp", (Vector("Len = 0", 7, b"", b"", b"", b"d" * 20),)),
)  # fmt: skip
OPENED = "hello 1 engine\nversion OpenSSL 3.0.22 25 Aug 2026\nlibrary /usr/lib/libcrypto.so.3\n"
BLOCK = "79" * 16
ANSWERED = f"""{OPENED}note error:12800067:DSO support routines::could not load the shared library
group 0 AES-128-CBC encrypt 3\np 0.0 7979\na 0.0 {BLOCK[4:]}\na 0.1 =\ne 0.2 EVP_CipherFinal_ex: wrong block
done 0 3 0.000100000 engine devcrypto\ngroup 1 SHA1 digest 1\na 1.0 {"64" * 20}\ndone 1 1 0.000020000 software
end 2 4"""
GROUP_SEEDS = (
    ANSWERED,
    f"{OPENED}group 0 AES-128-CBC encrypt 3\na 0.0 {BLOCK}\ndied SIGSEGV 0.1",
    f"{OPENED}fatal socket(AF_ALG): EAFNOSUPPORT",
    f"{OPENED}malformed 3 the key has an odd number of hex digits",
    f"{OPENED}died SIGALRM opening",
)
REPEAT_SEEDS = (
    f"{OPENED}repeated 0 20 0.001 0.0005 0.25 cbc-aes-caam|cbc(aes-generic) and software\nend 1 0",
    f"{OPENED}e 0.3 EVP_CipherUpdate: failed\nrepeated 0 3 0.001 0.0005 0.25 engine devcrypto\nend 1 0",
    f"{OPENED}died SIGBUS closing",
)
WORDS = (
    b"hello 1 engine",
    b"=",
    b"-",
    b"inf",
    b"nan",
    b"died SIGSEGV 0.0.0",
    b"done 0 3 inf x",
    b"SIGKILL",
    b"0.",
    b".0",
)
CHOICES = {"promised": "AES-128-CBC", "chained": "AES-128-CTR", "cipher": "AES-128-ECB", "digest": "SHA256"}
ROWS = {row.name: row for row in table(CHOICES)}
ENDINGS = ("done", "died", "late", "stuck")
MAX_SECONDS = 1e6
"""Seconds that a vector group or repeated operations could take."""


def seal_lines(data: bytes) -> bytes:
    """Return lines as the probe sends them, with number and CRC-32, so that only their words are wrong."""
    lines = data.decode("latin-1").split("\n")
    return "".join(f"{seal(number, words)}\n" for number, words in enumerate(lines)).encode("latin-1", "replace")


def seeds(texts: Sequence[str]) -> tuple[bytes, ...]:
    """Return texts as seeds."""
    return tuple(text.encode() for text in texts)


def run_groups(output: bytes) -> str:
    """Parse the answers to GROUPS as `Probe.run_groups` does."""
    found = Probe(ReplayShell(output), "probe").run_groups("engine", [g for g in GROUPS if isinstance(g, VectorGroup)])
    hello = parse_transcript(extract_lines(output)[0], GROUPS).hello
    if hello.layer != "engine":
        return "answers without the line hello of the layer"
    if [len(group.answers) for group in found] != [3, 1]:
        return "another number of answers than vectors"
    if any(not 0 <= group.seconds <= MAX_SECONDS for group in found):
        return "the time of a group is out of range"
    if any(not group.served_by.strip() for group in found):
        return "a group that nothing served"
    return ""


def run_repeat(data: bytes) -> str:
    """Parse the answer to a repeated operation as `Probe.repeat` does."""
    found = Probe(ReplayShell(seal_lines(data)), "probe").repeat("engine", "AES-128-CBC", "encrypt", 20, 4096)
    if not all(math.isfinite(time) and 0 <= time <= MAX_SECONDS for time in (found.seconds, found.cpu_seconds)):
        return "a time of repeated operations is out of range"
    return "" if found.served_by.strip() else "repeated operations that nothing served"


def interface_rows() -> SearchStrategy[bytes]:
    """Return mutated results of some rows, and of all."""
    lines = (ROOT / "tests/selftest/data/probe/interface-virt-native.txt").read_text().splitlines()
    few = [*lines[:8], "row poll died 11 open=0", "end 6"]
    stuck = [*lines[:5], "row session-cipher stuck 0 encrypt=0", "end 3"]
    return mutated_text(
        [("\n".join(each)).encode() for each in (few, stuck, lines)], (b"row", b"done 0", b"died 99", b"=")
    )


def run_interface(data: bytes) -> str:
    """Parse rows as `run_rows` does, and compare them with the table."""
    results = run_rows(ReplayShell(seal_lines(data)), "probe", "/dev/crypto", CHOICES, list(ROWS))
    for name, result in results.items():
        if result.ending not in ENDINGS:
            return "a row with an unknown ending"
        if result.signal not in (range(1, 65) if result.ending == "died" else (0,)):
            return "a row with a signal that does not exist, or without reason"
        if name not in ROWS:
            return "a row that the table does not have"
        describe_mismatch(ROWS[name], result, compat=False)
        may_be_driver(ROWS[name], result, compat=True)
    return ""


_target = partial(Target, allowed=(ProductError, LabError))
TARGETS = (
    _target("probe-groups", lambda: mutated_text(seeds(GROUP_SEEDS), WORDS), lambda data: run_groups(seal_lines(data))),
    _target("probe-damage", lambda: mutated_binary([seal_lines(ANSWERED.encode())]), run_groups),
    _target("probe-repeat", lambda: mutated_text(seeds(REPEAT_SEEDS), WORDS), run_repeat),
    _target("interface-rows", interface_rows, run_interface),
)
