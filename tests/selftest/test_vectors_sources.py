"""Is every vector of every file read, and is every expected output right?

Other implementations on this host compute the outputs: the package cryptography for AES, hashlib for SHA.
"""

import dataclasses
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path, PurePosixPath

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fixtures import limits
from fixtures.outcome import UsageError
from fixtures.vectors import sources
from fixtures.vectors.model import Collection, Vector, VectorGroup

PACKAGE = Path(str(files("cryptography_vectors")))
FOLDERS = [(PACKAGE, folder) for folder in (*sources.CAVP_AES, *sources.CAVP_SHA)]
FOLDERS.append((sources.HERE, sources.OWN_AES))


def compute_on_host(group: VectorGroup, vector: Vector) -> bytes:
    """Return the output of an implementation that is independent of the board."""
    if group.operation == "digest":
        return hashlib.new(group.algorithm.lower(), vector.input).digest()
    mode: modes.ECB | modes.CBC | modes.CTR
    match group.algorithm.rsplit("-", 1)[1]:
        case "ECB":
            mode = modes.ECB()
        case "CBC":
            mode = modes.CBC(vector.iv)
        case "CTR":
            mode = modes.CTR(vector.iv)
        case other:
            raise AssertionError(other)
    cipher = Cipher(algorithms.AES(vector.key), mode)
    run = cipher.encryptor() if group.operation == "encrypt" else cipher.decryptor()
    return run.update(vector.input) + run.finalize()


def mismatching_vectors(group: VectorGroup) -> list[Vector]:
    return [vector for vector in group.vectors if compute_on_host(group, vector) != vector.output]


def total(groups: Iterable[VectorGroup]) -> int:
    return sum(len(group.vectors) for group in groups)


def files_of(root: Path, folder: sources.Folder) -> list[Path]:
    return list(root.joinpath(*folder.path.split("/")).iterdir())


def lines_that_begin_a_vector(entry: Path) -> int:
    """Count vectors without the parser: lines of text that begin one."""
    with entry.open("r", encoding="ascii") as lines:
        return sum(line.startswith(("COUNT =", "Len =")) for line in lines)


def count_of_groups(collection: Collection, name: str) -> int:
    return total(group for group in collection.groups if group.name == name)


# --- nothing is lost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("root", "folder"), FOLDERS, ids=[folder.path for _, folder in FOLDERS])
def test_every_vector_of_every_file_is_run_or_refused(root: Path, folder: sources.Folder) -> None:
    collection = sources.collect(root, folder, "here")
    accounted: Counter[str] = Counter()
    for group in collection.groups:
        # The decryptions of RFC 3686 are derived: the file has no lines for them.
        if not (group.name == "RFC3686" and group.operation == "decrypt"):
            accounted[group.source] += len(group.vectors)
    for refused in collection.refused:
        accounted[refused.source] += refused.count
    assert accounted == {entry.name: lines_that_begin_a_vector(entry) for entry in files_of(root, folder)}


def test_all_vectors_are_the_sum_of_the_folders() -> None:
    parts = [sources.collect(root, folder, "here") for root, folder in FOLDERS]
    groups = Counter(group for part in parts for group in part.groups)
    assert groups == Counter(sources.load().groups)
    assert max(groups.values()) == 1
    assert Counter(r for part in parts for r in part.refused) == Counter(sources.load().refused)
    assert sources.load().groups == sources.aes().groups + sources.sha().groups


@pytest.mark.parametrize("mode", ["ECB", "CBC"])
def test_mode_has_the_vector_counts_of_aesavs(mode: str) -> None:
    (folder,) = (folder for folder in sources.CAVP_AES if folder.path.endswith(mode))
    collection = sources.collect(PACKAGE, folder, "here")
    counts = {name: count_of_groups(collection, name) for name in ("GFSbox", "KeySbox", "VarKey", "VarTxt", "MMT")}
    assert counts == {"GFSbox": 36, "KeySbox": 122, "VarKey": 1152, "VarTxt": 768, "MMT": 60}
    assert total(collection.groups) == 2138
    assert collection.refused == ()
    assert {group.operation for group in collection.groups} == {"encrypt", "decrypt"}


def test_ctr_has_vectors_of_rfc3686_and_sp800_38a() -> None:
    ctr = Collection(tuple(group for group in sources.aes().groups if group.algorithm.endswith("CTR")), ())
    assert [count_of_groups(ctr, name) for name in ("RFC3686", "SP800-38A-Block", "SP800-38A")] == [18, 24, 6]
    assert len(ctr.groups) == 18


def test_aes_has_4324_vectors() -> None:
    assert total(sources.aes().groups) == 2 * 2138 + 18 + 24 + 6 == 4324


def test_every_digest_has_short_and_long_messages() -> None:
    counts = {group.id: len(group.vectors) for group in sources.sha().groups}
    small, large = {"LongMsg": 64, "ShortMsg": 65}, {"LongMsg": 128, "ShortMsg": 129}
    wanted = {"SHA1": small, "SHA224": small, "SHA256": small, "SHA384": large, "SHA512": large}
    assert counts == {f"{digest}-{name}": n for digest, each in wanted.items() for name, n in each.items()}
    assert sum(counts.values()) == 901


def test_refused_files_have_a_count_and_a_reason() -> None:
    refused = {r.source: r for r in sources.load().refused if r.source != "Readme.txt"}
    assert set(refused) == {f"SHA{d}Monte.{e}" for d in (1, 224, 256, 384, 512) for e in ("rsp", "txt")} | {
        f"SHA512_{d}{kind}" for d in (224, 256) for kind in ("ShortMsg.rsp", "LongMsg.rsp", "Monte.rsp", "Monte.txt")
    }
    assert refused["SHA256Monte.rsp"].count == 100
    assert "1,000 chained digests" in refused["SHA256Monte.rsp"].why
    assert refused["SHA512_224ShortMsg.rsp"].count == 129
    assert "SHA-512/224" in refused["SHA512_224ShortMsg.rsp"].why
    assert not any("unknown" in r.why for r in sources.load().refused)
    assert [r.count for r in sources.load().refused if r.source == "Readme.txt"] == [0, 0]


def test_monte_carlo_texts_have_the_checkpoints_of_the_rsp_files() -> None:
    """The .txt files are refused because they hold the same checkpoints."""
    for algorithm in ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512"):
        folder = PACKAGE.joinpath("hashes", "SHA1" if algorithm == "SHA1" else "SHA2")
        rsp, txt = (folder.joinpath(f"{algorithm}Monte.{end}").read_text("ascii") for end in ("rsp", "txt"))
        checkpoints = re.findall(r"^MD = (\w+)", rsp, re.MULTILINE)
        assert len(checkpoints) == 100
        assert checkpoints == re.findall(r"^MD = (\w+)", txt, re.MULTILINE)


def test_ids_are_unique() -> None:
    ids = [group.id for group in sources.load().groups]
    assert len(ids) == len(set(ids)) == 88
    assert {"AES-128-CBC-VarKey-encrypt", "AES-256-CTR-RFC3686-decrypt", "SHA256-ShortMsg"} <= set(ids)


def test_vectors_have_line_and_label_of_the_file() -> None:
    text = PACKAGE.joinpath("ciphers/AES/CBC/CBCMMT256.rsp").read_text("ascii").split("\n")
    for group in (group for group in sources.aes().groups if group.source == "CBCMMT256.rsp"):
        for vector in group.vectors:
            assert text[vector.line - 1] == vector.label
            assert text[vector.line] == f"KEY = {vector.key.hex()}"


# --- every expected output is right, and a wrong one is detected -----------------------------------------------------


@pytest.mark.parametrize("group", sources.load().groups, ids=lambda group: group.id)
def test_host_computes_every_output_and_detects_a_flipped_bit(group: VectorGroup) -> None:
    assert mismatching_vectors(group) == []
    rng = random.Random(group.id)
    for _ in range(3):
        index = rng.randrange(len(group.vectors))
        bad = flip_a_bit(group.vectors[index], rng)
        vectors = (*group.vectors[:index], bad, *group.vectors[index + 1 :])
        assert mismatching_vectors(dataclasses.replace(group, vectors=vectors)) == [bad]


def flip_a_bit(vector: Vector, rng: random.Random) -> Vector:
    bit = rng.randrange(8 * len(vector.output))
    output = bytearray(vector.output)
    output[bit // 8] ^= 1 << bit % 8
    return dataclasses.replace(vector, output=bytes(output))


def test_each_flipped_bit_of_an_output_is_detected() -> None:
    """The comparison covers all bits of an output."""
    (group,) = (group for group in sources.aes().groups if group.id == "AES-128-CTR-SP800-38A-encrypt")
    (vector,) = group.vectors
    for bit in range(8 * len(vector.output)):
        output = (int.from_bytes(vector.output) ^ 1 << bit).to_bytes(len(vector.output))
        bad = dataclasses.replace(vector, output=output)
        assert mismatching_vectors(dataclasses.replace(group, vectors=(bad,))) == [bad]


@pytest.mark.parametrize(
    ("path", "field"),
    [("ciphers/AES/CBC/CBCMMT192.rsp", "CIPHERTEXT"), ("hashes/SHA2/SHA384ShortMsg.rsp", "MD")],
)
def test_changed_digit_in_a_file_is_detected_at_its_vector(path: str, field: str) -> None:
    (folder,) = (folder for _, folder in FOLDERS if path.startswith(f"{folder.path}/"))
    lines = PACKAGE.joinpath(path).read_text("ascii").split("\n")
    at = [number for number, line in enumerate(lines) if line.startswith(f"{field} =")][3]
    line = lines[at].rstrip()
    lines[at] = line[:-1] + ("0" if line[-1] != "0" else "1")
    collection = folder.read[PurePosixPath(path).name]("\n".join(lines).encode(), "here")
    (found,) = (vector for group in collection.groups for vector in mismatching_vectors(group))
    starts = max(n for n in range(at) if lines[n].startswith(("COUNT =", "Len =")))
    assert found.line == starts + 1


def test_blocks_of_sp800_38a_make_up_the_message() -> None:
    groups = {group.id: group for group in sources.aes().groups}
    for bits in (128, 192, 256):
        for operation in ("encrypt", "decrypt"):
            blocks = groups[f"AES-{bits}-CTR-SP800-38A-Block-{operation}"].vectors
            (message,) = groups[f"AES-{bits}-CTR-SP800-38A-{operation}"].vectors
            assert b"".join(block.input for block in blocks) == message.input
            assert b"".join(block.output for block in blocks) == message.output
            assert {block.key for block in blocks} == {message.key}
            first = int.from_bytes(message.iv)
            assert [int.from_bytes(block.iv) - first for block in blocks] == [0, 1, 2, 3]


def test_derived_decryptions_invert_the_encryptions() -> None:
    groups = {group.id: group for group in sources.aes().groups}
    for bits in (128, 192, 256):
        encrypt, decrypt = (groups[f"AES-{bits}-CTR-RFC3686-{operation}"] for operation in ("encrypt", "decrypt"))
        assert [(v.key, v.iv, v.output, v.input) for v in encrypt.vectors] == [
            (v.key, v.iv, v.input, v.output) for v in decrypt.vectors
        ]


# --- damaged, missing and unknown files ------------------------------------------------------------------------------


def copy_folder(folder: sources.Folder, into: Path) -> Path:
    """Copy a folder of the package, so that a test can damage the copy."""
    target = into / folder.path
    shutil.copytree(PACKAGE / folder.path, target)
    return target


@pytest.fixture
def ctr_folder(tmp_path: Path) -> Path:
    return copy_folder(sources.CAVP_AES[2], tmp_path)


def test_unknown_file_is_reported_as_refused(tmp_path: Path, ctr_folder: Path) -> None:
    (ctr_folder / "NEW.rsp").write_text("[ENCRYPT]\n\nCOUNT = 0\nKEY = 00\n\nCOUNT = 1\nKEY = 00\n")
    (ctr_folder / "more").mkdir()
    collection = sources.collect(tmp_path, sources.CAVP_AES[2], "here")
    assert [(r.source, r.count) for r in collection.refused] == [("NEW.rsp", 2), ("more/", 0)]
    assert all("unknown" in r.why for r in collection.refused)
    assert total(collection.groups) == 18


def test_missing_file_is_an_error(tmp_path: Path, ctr_folder: Path) -> None:
    (ctr_folder / "aes-192-ctr.txt").unlink()
    with pytest.raises(UsageError, match=r"here/ciphers/AES/CTR: found no aes-192-ctr\.txt \(1 of 3 .*pip install"):
        sources.collect(tmp_path, sources.CAVP_AES[2], "here")


CHANGES: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("hashes/SHA1/SHA1ShortMsg.rsp", lambda data: data.replace(b"Len = 8\r", b"Len = 7\r")),
    ("hashes/SHA2/SHA512ShortMsg.rsp", lambda data: data.replace(b"Len = 8\r", b"Len = 7\r")),
    ("hashes/SHA1/SHA1Monte.txt", lambda data: data.replace(b"MD", b"MB", 1)),
    ("ciphers/AES/CBC/CBCMMT128.rsp", lambda data: data[: data.index(b"COUNT = 9")]),
    ("ciphers/AES/CTR/aes-192-ctr.txt", lambda data: data + b"\n"),
    ("ciphers/AES/CTR/aes-256-ctr.txt", lambda _: b""),
]
"""Files and changes that the parser alone would not notice, or would take for vectors to leave out."""


@pytest.mark.parametrize(("path", "change"), CHANGES, ids=[path for path, _ in CHANGES])
def test_file_that_differs_from_the_published_one_is_an_error(
    tmp_path: Path, path: str, change: Callable[[bytes], bytes]
) -> None:
    (folder,) = (folder for _, folder in FOLDERS if path.startswith(f"{folder.path}/"))
    copy_folder(folder, tmp_path)
    file = tmp_path / path
    published, changed = file.read_bytes(), change(file.read_bytes())
    assert published != changed
    file.write_bytes(changed)
    with pytest.raises(UsageError) as caught:
        sources.collect(tmp_path, folder, "here")
    assert str(caught.value).startswith(
        f"here/{path}: found SHA-256 {hashlib.sha256(changed).hexdigest()};"
        f" expected {hashlib.sha256(published).hexdigest()}, that of the published file. Restore it: pip install "
    )


def test_every_named_file_has_a_checksum() -> None:
    named = {f"{folder.path}/{name}" for _, folder in FOLDERS for name in (*folder.read, *folder.refused)}
    assert set(sources.read_checksums()) == named


def test_checksums_are_those_of_sha256sum() -> None:
    """The list can be checked by hand, for example in a checkout of pyca/cryptography."""
    lines = [line for line in sources.SHA256SUMS.read_text().splitlines() if "  data/" in line]
    done = subprocess.run(["sha256sum", "--check", "--strict", "--quiet"], input="\n".join(lines) + "\n", text=True,
        cwd=sources.HERE, capture_output=True, check=False)  # fmt: skip
    assert (len(lines), done.returncode, done.stdout) == (6, 0, "")


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b"#" * (limits.MAX_VECTOR_FILE_SIZE + 1)), "larger than 16777216 bytes"),
    ],
    ids=["named pipe", "device", "loop", "large"],
)
@pytest.mark.parametrize("name", ["aes-192-ctr.txt", "unknown.rsp"])
def test_file_that_is_no_vector_file_is_an_error(
    tmp_path: Path, ctr_folder: Path, replace: Callable[[Path], object], message: str, name: str
) -> None:
    (ctr_folder / name).unlink(missing_ok=True)
    replace(ctr_folder / name)
    with pytest.raises(UsageError, match=rf"^here/ciphers/AES/CTR/{re.escape(name)}: cannot be read: {message}"):
        sources.collect(tmp_path, sources.CAVP_AES[2], "here")


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"here/ciphers/AES/CTR: found no aes-128-ctr\.txt \(3 of 3 "):
        sources.collect(tmp_path, sources.CAVP_AES[2], "here")


def test_missing_package_is_an_error_with_the_install_command() -> None:
    """Tested in a new process that cannot import the package."""
    script = (
        "import sys; sys.modules['cryptography_vectors'] = None\nfrom fixtures.vectors import sources; sources.load()"
    )
    root = Path(str(files("fixtures"))).parent
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    last = run.stderr.strip().split("\n")[-1]
    assert last.startswith("fixtures.outcome.UsageError: found no Python package cryptography_vectors; expected ")
    assert last.endswith("pip install -r requirements.txt")


# --- time ------------------------------------------------------------------------------------------------------------


def test_reading_all_vectors_takes_less_than_half_a_second_once() -> None:
    """It runs during pytest's collection. CPU time is independent of the load of the host."""
    for cached in (sources.load, sources.aes, sources.sha):
        cached.cache_clear()
    begin = time.process_time()
    first = sources.load()
    assert time.process_time() - begin < 0.5
    assert sources.load() is first
