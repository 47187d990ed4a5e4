"""Parsers of the user's files: board files, lab files, vector files."""

import atexit
import math
import re
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from campaign import ROOT, Target
from hypothesis.strategies import SearchStrategy
from mutation import mutated_text

from fixtures.lab.board import Counter, Interrupts, load_board
from fixtures.lab.labfile import example_lab_file, load_lab
from fixtures.lab.schema import Strict
from fixtures.outcome import UsageError
from fixtures.vectors.cavp import read_aes, read_sha
from fixtures.vectors.model import Collection

YAML = (
    b"!!int ''", b"!!float x", b"!!binary '/'", b"!!timestamp 1", b"!!set {a}", b"&a [*a]", b"*a", b"&a", b"{<<: *a}",
    b"<<: {}", b".inf", b".nan", b"~", b"null", b"true", b"no", b"[]", b"{}", b"? a", b"- - - a", b"|", b">-", b"---",
    b"...", b"%YAML 1.1", b'"\\u0000"', b'"\\n"', b'"\\ud800"', b"'", b'"', b"extends: virt", b"extends: fuzzed",
    b"extends: /dev/zero", b"(\\S+ ?)+!", b"(a)\\1", b"(?=a)", b"[", b"~nouser/x", b"/dev/null", b"/proc/self/mem",
    b"x" * 300, b"2026-11-29", b"1:30", b"0o17",
)  # fmt: skip
"""Explicit tags, aliases, merges, values of other types, and values that some field of the schema must not accept."""

MOST = {
    "timeout": 7 * 86400, "settle": 86400, "processes": 100_000, "baud": 1e8, "port": 65535, "per_operation": 1e9,
    "floor": 1e13, "ceiling": 1e13, "bounds": 2**31, "ssh_timeout": 7 * 86400,
    "offloaded_from": 65536,
}  # fmt: skip
"""Field -> the greatest number that could be meant, far above what the schema should allow; also of keys."""
LEAST = {"timeout": 0.01, "ssh_timeout": 0.01, "settle": 0.0, "per_operation": 1e-9}
"""Field -> the least number that could be meant. Other numbers are not negative."""
SHELL_NAMES = (
    "module",
    "device",
    "engine",
    "driver",
    "kernel",
    "user",
    "algorithm",
    "image",
    "name",
    "path",
    "work_folder",
)
"""Fields whose texts become words of a shell's command line on the board."""
_HOSTILE = re.compile(r"[;&|`$<>\\'\"\n\0]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_TEXT = 10_000
"""Characters in a text that could be meant."""


def check_model(value: object, name: str = "file") -> str:
    """Return what no real board or lab has in an accepted file; "" if nothing."""
    for child_name, child in _children(value, name):
        found = check_model(child, child_name)
        if found:
            return found
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        if not math.isfinite(value) or not LEAST.get(name, 0.0) <= value <= MOST.get(name, 1e12):
            return f"a number out of range for {name}"
        return ""
    if isinstance(value, str | Path):
        text = str(value)
        if len(text) > MAX_TEXT:
            return f"a text of more than {MAX_TEXT} characters for {name}"
        if _UNPRINTABLE.search(text):
            return f"a control character in {name}"
        if name in SHELL_NAMES and isinstance(value, str) and _HOSTILE.search(text):
            return f"a character of the shell's syntax in {name}"
    return ""


def _children(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Strict):
        for field in type(value).model_fields:
            is_title = field == "name" and isinstance(value, Counter | Interrupts)  # for people; in no command
            yield "title" if is_title else field, getattr(value, field)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield name, key
            yield name, item
    elif isinstance(value, tuple):
        for item in value:
            yield name, item


@cache
def _folder() -> Path:
    """Return a folder with the board files, and a key file that only this user may read."""
    folder = Path(tempfile.mkdtemp(prefix="offload-hil-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for file in (ROOT / "boards").glob("*.yaml"):
        (folder / file.name).write_bytes(_without_comments(file.read_bytes()))
    (folder / "key").touch(mode=0o600)
    return folder


def board_files() -> SearchStrategy[bytes]:
    """Return mutated board files: mostly the short one of the self-tests, since the YAML parser is slow."""
    from test_lab_board import GOOD

    real = [_without_comments(file.read_bytes()) for file in sorted((ROOT / "boards").glob("*.yaml"))]
    return mutated_text([GOOD.encode()] * 2 * len(real) + real, YAML)


def _without_comments(text: bytes) -> bytes:
    return re.sub(rb"(^| +)# .*\n?", lambda found: b"" if found[1] == b"" else b"\n", text, flags=re.MULTILINE)


def run_board_file(data: bytes) -> str:
    """Load a board file."""
    file = _folder() / "fuzzed.yaml"
    file.write_bytes(data)
    return check_model(load_board(str(file), _folder()))


def lab_files() -> SearchStrategy[bytes]:
    """Return mutated lab files: the example of the tree, that of the messages, and each kind of power."""
    texts = [(ROOT / "examples/lab.yaml").read_text(), example_lab_file("virt")]
    texts += [
        f"units:\n  - name: a\n    board: virt\n    console: {{url: {url}, baud: 9600}}\n    power: {{kind: {power}}}\n"
        for url, power in (("socket://[::1]:7001", "manual"), ("/dev/ttyS0", "qmp, path: /run/qmp, settle: 0.5"))
    ]
    return mutated_text([text.encode() for text in texts], YAML)


def run_lab_file(data: bytes) -> str:
    """Load a lab file. The key file and the folder that the examples name exist."""
    folder = _folder()
    for name, there in (("~/.ssh/hil", "key"), ("~/.ssh/id_ed25519", "key"), ("/srv/tftp", ""), ("~/tftp", "")):
        data = data.replace(name.encode(), str(folder / there).encode())
    file = folder / "fuzzed-lab.yaml"
    file.write_bytes(data)
    return check_model(load_lab(file))


def aes_files() -> SearchStrategy[bytes]:
    """Return mutated files of AES vectors."""
    folder = ROOT / "fixtures/vectors/data"
    seeds = [(folder / name).read_bytes() for name in ("SP800-38A-CTR-message128.rsp", "SP800-38A-CTR-block128.rsp")]
    return mutated_text(seeds, (b"[ENCRYPT]", b"[DECRYPT]", b"COUNT = 0", b"KEY", b"IV", b"[L = 20]", b"\r"))


def sha_files() -> SearchStrategy[bytes]:
    """Return mutated files of SHA vectors, short ones as NIST writes them."""
    vectors = b"".join(
        b"Len = %d\nMsg = %s\nMD = %s\n\n" % (bits, message.encode(), b"da39a3ee5e6b4b0d3255bfef95601890afd80709")
        for bits, message in ((0, "00"), (5, "98"), (8, "36"), (16, "195a"), (1304, "7c" * 163))
    )
    seed = b"#  CAVS 11.0\n#  SHA-1 ShortMsg\n\n[L = 20]\n\n" + vectors
    return mutated_text(
        [seed, seed.replace(b"\n", b"\r\n")], (b"[L = 20]", b"[L = 32]", b"Len = 7", b"Msg = 00", b"MD")
    )


def check_vectors(found: Collection, data: bytes, starts: bytes) -> str:
    """Return what is wrong with vectors that were read: their number, or the size of a field."""
    vectors = [vector for group in found.groups for vector in group.vectors]
    count = len(vectors) + sum(refused.count for refused in found.refused)
    if count != sum(line.partition(b"=")[0].strip() == starts and b"=" in line for line in data.split(b"\n")):
        return "another number of vectors than the file has"
    if starts == b"COUNT" and any(
        (len(v.key), len(v.iv)) != (16, 16) or len(v.input) != len(v.output) for v in vectors
    ):
        return "a vector with a field of a wrong size"
    if starts == b"Len" and any(len(v.output) != 20 or v.key or v.iv for v in vectors):
        return "a digest of a wrong size"
    return ""


def run_aes_file(data: bytes) -> str:
    """Read a file of AES-128-CTR vectors."""
    return check_vectors(read_aes(data, "fuzzed.rsp", algorithm="AES-128-CTR", name="Fuzzed"), data, b"COUNT")


def run_sha_file(data: bytes) -> str:
    """Read a file of SHA-1 vectors."""
    return check_vectors(read_sha(data, "fuzzed.rsp", algorithm="SHA1", name="Fuzzed"), data, b"Len")


_target = partial(Target, allowed=(UsageError,))
TARGETS = (
    _target("board-file", board_files, run_board_file),
    _target("lab-file", lab_files, run_lab_file),
    _target("vectors-aes", aes_files, run_aes_file),
    _target("vectors-sha", sha_files, run_sha_file),
)
