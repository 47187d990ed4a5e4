"""Would the board's dynamic linker load the engine? Asked of boards made up of real objects for other machines."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_programs import unpacked
from symbols_build import build, calls, defines, nodes

from fixtures.architectures import Libc
from fixtures.outcome import UsageError
from fixtures.stack.symbols import openssl3_renames
from fixtures.stack.symbols.libraries import read_cache
from fixtures.stack.symbols.resolve import Problem, Resolution, resolve

ENGINE = "/usr/lib/engines/devcrypto.so"
OLD = ("EVP_MD_size", "EVP_CIPHER_nid", "ERR_put_error")
NEW = ("EVP_MD_get_size", "EVP_CIPHER_get_nid", "ERR_new", "ERR_set_error")


class Board:
    """Files of a board, as a fetch function sees them."""

    def __init__(self, folder: Path, target: str, libc: Libc) -> None:
        """An empty board; its objects are built in `folder`."""
        self.folder, self.target, self.libc = folder, target, libc
        self.architecture = target.split("-")[0]
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(
        self, path: str, source: str, *needs: str, script: str = "", target: str = "", flags: tuple[str, ...] = ()
    ) -> None:
        """Build an object and put it on the board; `needs` are paths of other objects there."""
        libraries = [self.folder / need.lstrip("/") for need in needs]
        place, soname = self.folder / path.lstrip("/"), path.rpartition("/")[2]
        options = ("-nostdlib", *flags)
        build(place, source, *libraries, target=target or self.target, soname=soname, script=script, flags=options)
        self.files[path] = place.read_bytes()

    def fetch(self, path: str) -> bytes | None:
        """What the check calls."""
        self.asked.append(path)
        return self.files.get(path)

    def resolve(self, path: str = ENGINE) -> Resolution:
        """What the check says of the engine on this board."""
        return resolve(path, self.files[path], self.fetch, architecture=self.architecture, libc=self.libc)

    def problems(self) -> set[tuple[str, str]]:
        """Kind and subject of everything that is wrong."""
        return {(p.kind, p.subject) for p in self.resolve().problems}

    def problem(self, kind: str) -> Problem:
        """The only problem of this kind."""
        (found,) = [p for p in self.resolve().problems if p.kind == kind]
        return found


def glibc_board(folder: Path, target: str, crypto: str, *functions: str) -> Board:
    board = Board(folder, target, "glibc")
    board.add("/lib/libc.so.6", defines("memcpy"), script=nodes(GLIBC_2__17=["memcpy"]))
    board.add(f"/usr/lib/{crypto}", defines(*functions) + calls("memcpy"), "/lib/libc.so.6")
    board.add("/usr/bin/openssl", calls(functions[0]), f"/usr/lib/{crypto}")
    return board


@pytest.fixture
def board11(tmp_path: Path) -> Board:
    """A 64-bit board with glibc and OpenSSL 1.1."""
    return glibc_board(tmp_path, "aarch64-linux-gnu", "libcrypto.so.1.1", *OLD)


@pytest.fixture
def board3(tmp_path: Path) -> Board:
    """A 32-bit board with glibc and OpenSSL 3."""
    return glibc_board(tmp_path, "arm-linux-gnueabihf", "libcrypto.so.3", *NEW)


@pytest.fixture
def musl(tmp_path: Path) -> Board:
    """A board as OpenWrt makes it: musl, no version nodes, objects without section headers."""
    board = Board(tmp_path, "mips-linux-musleabi", "musl")
    board.add("/lib/libc.so", defines("memcpy"))
    board.add("/usr/lib/libcrypto.so.3", defines(*NEW) + calls("memcpy"), "/lib/libc.so")
    board.add("/usr/bin/openssl", calls("ERR_new"), "/usr/lib/libcrypto.so.3")
    return board


def test_a_good_engine_has_no_problem(board11: Board, board3: Board) -> None:
    for board, functions in ((board11, OLD), (board3, NEW)):
        crypto = next(path for path in board.files if "libcrypto" in path)
        board.add(ENGINE, calls(*functions), crypto)
        found = board.resolve()
        assert found.problems == ()
        assert {i.name: i.found_in for i in found.imports if i.needed_by == ENGINE and i.bound} == dict.fromkeys(
            functions, crypto
        )
        assert [o.name for o in found.objects] == ["openssl", crypto.rpartition("/")[2], "libc.so.6", "devcrypto.so"]


def test_each_file_is_fetched_once(board11: Board) -> None:
    board11.add(ENGINE, calls("memcpy", "EVP_MD_size"), "/lib/libc.so.6", "/usr/lib/libcrypto.so.1.1")
    board11.resolve()
    assert len(board11.asked) == len(set(board11.asked))


def test_an_engine_from_3_headers_on_a_1_1_board(board11: Board) -> None:
    """It was linked with no libcrypto at all, so nothing but the names can tell."""
    board11.add(ENGINE, calls("EVP_MD_get_size", "ERR_new", "EVP_CIPHER_nid"))
    assert board11.problems() == {("missing symbol", "EVP_MD_get_size"), ("missing symbol", "ERR_new")}
    texts = sorted(p.text for p in board11.resolve().problems)
    hint = "built against OpenSSL 3.x headers, the library (libcrypto.so.1.1) is 1.1"
    assert texts == [
        f"{ENGINE}: undefined symbol: ERR_new; {hint}",
        f"{ENGINE}: undefined symbol: EVP_MD_get_size; {hint}: it has EVP_MD_size, not EVP_MD_get_size",
    ]


def test_an_engine_from_1_1_headers_on_a_3_board(board3: Board) -> None:
    board3.add(ENGINE, calls("EVP_MD_size"), "/usr/lib/libcrypto.so.3")
    problem = board3.problem("missing symbol")
    assert "built against OpenSSL 1.1 headers, the library (libcrypto.so.3) is 3.x" in problem.text
    assert (problem.object, problem.needed_by) == ("/usr/lib/libcrypto.so.3", ENGINE)


def test_a_symbol_that_no_openssl_has_gets_no_such_hint(board3: Board) -> None:
    """Nor does one that is as new as the board's library, or newer."""
    board3.add(ENGINE, calls("vendor_function", "OPENSSL_strcasecmp"))
    assert {p.text for p in board3.resolve().problems} == {
        f"{ENGINE}: undefined symbol: vendor_function",
        f"{ENGINE}: undefined symbol: OPENSSL_strcasecmp",
    }


def test_another_major_version_that_is_not_on_the_board(board3: Board) -> None:
    board3.add("/stub/libcrypto.so.1.1", defines("EVP_MD_size"))
    board3.add(ENGINE, calls("EVP_MD_size"), "/stub/libcrypto.so.1.1")
    found = board3.problems()
    assert found == {("missing library", "libcrypto.so.1.1"), ("wrong major version", "libcrypto.so.1.1")}
    assert "/usr/bin/openssl uses libcrypto.so.3" in board3.problem("wrong major version").text
    assert "looked in /lib/arm-linux-gnueabihf, " in board3.problem("missing library").text


def test_another_major_version_that_is_on_the_board(board3: Board) -> None:
    board3.add("/usr/lib/libcrypto.so.1.1", defines("EVP_MD_size"))
    board3.add(ENGINE, calls("EVP_MD_size"), "/usr/lib/libcrypto.so.1.1")
    assert board3.problems() == {("wrong major version", "libcrypto.so.1.1")}
    assert board3.problem("wrong major version").object == "/usr/lib/libcrypto.so.1.1"


@pytest.mark.parametrize("target", ["x86_64-linux-gnu", "arm-linux-gnueabihf", "aarch64_be-linux-gnu"])
def test_an_engine_for_another_machine(board11: Board, target: str) -> None:
    board11.add(ENGINE, calls("EVP_MD_size"), target=target)
    problem = board11.problem("wrong machine")
    assert len(board11.resolve().problems) == 1
    assert problem.object == ENGINE
    assert problem.text.endswith("; the board needs AARCH64, 64 bit, little-endian")


def test_a_soft_float_engine_on_a_hard_float_board(board3: Board) -> None:
    board3.add(ENGINE, calls("ERR_new"), target="arm-linux-gnueabi")
    assert "soft float; the board needs ARM, 32 bit, little-endian, hard float" in board3.problem("wrong machine").text


def test_a_library_that_a_library_needs(board11: Board) -> None:
    board11.add("/usr/lib/libinner.so.1", defines("inner"))
    board11.add("/usr/lib/libouter.so.1", defines("outer") + calls("inner"), "/usr/lib/libinner.so.1")
    board11.add(ENGINE, calls("outer"), "/usr/lib/libouter.so.1")
    assert board11.problems() == set()
    del board11.files["/usr/lib/libinner.so.1"]
    problem = board11.problem("missing library")
    assert (problem.subject, problem.needed_by) == ("libinner.so.1", "/usr/lib/libouter.so.1")


def test_a_library_that_the_program_lacks_too_is_told_once(board11: Board) -> None:
    board11.add(ENGINE, calls("EVP_MD_size"), "/usr/lib/libcrypto.so.1.1")
    del board11.files["/lib/libc.so.6"]
    assert [p.kind for p in board11.resolve().problems] == ["missing library"]


def test_glibc_passes_over_a_library_for_another_machine(board11: Board, musl: Board) -> None:
    """And musl does not: it takes the first file of that name."""
    for board in (board11, musl):
        board.add("/lib/libvendor.so.1", defines("vendor"), target="x86_64-linux-gnu")
        board.add("/usr/lib/libvendor.so.1", defines("vendor"))
        board.add(ENGINE, calls("vendor"), "/usr/lib/libvendor.so.1")
    assert board11.problems() == set()
    assert musl.problem("wrong machine").object == "/lib/libvendor.so.1"


def test_a_newer_glibc_than_the_boards(board11: Board) -> None:
    """Linked by the compiler with a real glibc, 2.38, and functions that came with it."""
    source = "#include <string.h>\nunsigned long f(char *a, const char *b) { return strlcpy(a, b, 9); }\n"
    newer = build(board11.folder / "newer.so", source, target="aarch64-linux-gnu.2.38", flags=())
    board11.files[ENGINE] = newer.read_bytes()
    text = board11.problem("missing version").text
    assert text == (
        f"/lib/libc.so.6: version GLIBC_2.38 not found, needed by {ENGINE} for strlcpy; "
        "newest of its kind there: GLIBC_2.17"
    )


def test_a_glibc_engine_on_a_musl_board(musl: Board) -> None:
    musl.add("/stub/libc.so.6", defines("memcpy"), script=nodes(GLIBC_2__17=["memcpy"]))
    musl.add(ENGINE, calls("memcpy"), "/stub/libc.so.6")
    # musl takes libc.so.6 for itself and does not look at versions: the linker would load it, and it is wrong.
    assert musl.problems() == {("wrong libc", "libc.so.6")}
    assert musl.problem("wrong libc").text.endswith("linked for glibc (needs libc.so.6); the board has musl")


def test_a_musl_engine_on_a_glibc_board(board11: Board) -> None:
    board11.add("/stub/libc.so", defines("memcpy", "only_musl"))
    board11.add(ENGINE, calls("memcpy", "only_musl"), "/stub/libc.so")
    assert board11.problems() == {("wrong libc", "libc.so")}


def test_musl_ignores_versions(musl: Board) -> None:
    musl.add("/stub/libcrypto.so.3", defines("ERR_new"), script=nodes(OPENSSL_3__0__0=["ERR_new"]))
    musl.add(ENGINE, calls("ERR_new"), "/stub/libcrypto.so.3")
    assert musl.problems() == set()


def test_musl_names_what_is_missing(musl: Board) -> None:
    musl.add(ENGINE, calls("EVP_MD_size", "ERR_new"), "/usr/lib/libcrypto.so.3")
    assert musl.problems() == {("missing symbol", "EVP_MD_size")}


def test_objects_without_section_headers(musl: Board) -> None:
    """OpenWrt's sstrip takes them away; here e_shoff, e_shnum and e_shstrndx are cleared."""
    musl.add(ENGINE, calls("ERR_new", "nowhere"))
    for path, content in musl.files.items():
        bare = bytearray(content)
        bare[32:36], bare[48:52] = bytes(4), bytes(4)
        musl.files[path] = bytes(bare)
    assert musl.problems() == {("missing symbol", "nowhere")}


def test_damaged_engines_are_said_to_be_damaged(board11: Board) -> None:
    board11.add(ENGINE, calls("EVP_MD_size"))
    whole = board11.files[ENGINE]
    for content in (
        b"",
        whole[:40],
        whole[:200],
        whole[:1000],
        b"\x7fELG" + whole[4:],
        whole[:64] + bytes(len(whole) - 64),
    ):
        board11.files[ENGINE] = content
        assert board11.problem("not an object").object == ENGINE


def test_a_board_without_the_program(board11: Board) -> None:
    board11.add(ENGINE, calls("EVP_MD_size"))
    del board11.files["/usr/bin/openssl"]
    assert board11.problems() == {("not an object", "/usr/bin/openssl")}


def test_an_unknown_architecture_is_a_usage_error(board11: Board) -> None:
    with pytest.raises(UsageError, match="'vax' is not known here; known: aarch64, "):
        resolve(ENGINE, b"", board11.fetch, architecture="vax", libc="glibc")


def cache_of(*entries: tuple[str, str, int]) -> bytes:
    """/etc/ld.so.cache, the format of glibc 2.32 and later, little-endian: name, path, hwcap."""
    strings, rows = b"", b""
    start = 48 + 24 * len(entries)
    for name, path, hwcap in entries:
        key = start + len(strings)
        rows += struct.pack("<iIIIQ", 3, key, key + len(name) + 1, 0, hwcap)
        strings += name.encode() + b"\0" + path.encode() + b"\0"
    return b"glibc-ld.so.cache1.1" + struct.pack("<II5I", len(entries), len(strings), *[0] * 5) + rows + strings


def test_the_linkers_cache_finds_libraries_elsewhere(board11: Board) -> None:
    board11.add("/opt/vendor/libvendor.so.1", defines("vendor"))
    board11.add(ENGINE, calls("vendor"), "/opt/vendor/libvendor.so.1")
    assert board11.problems() == {("missing library", "libvendor.so.1")}
    board11.files["/etc/ld.so.cache"] = cache_of(
        ("libvendor.so.1", "/opt/fast/libvendor.so.1", 1), ("libvendor.so.1", "/opt/vendor/libvendor.so.1", 0)
    )
    assert board11.problems() == set()
    assert "/opt/fast/libvendor.so.1" not in board11.asked


@pytest.mark.parametrize("length", [0, 10, 50, 100, 115])
def test_a_cache_that_is_cut_short_is_no_error(length: int) -> None:
    assert len(read_cache(cache_of(("a.so", "/lib/a.so", 0), ("b.so", "/lib/b.so", 0))[:length], little=True)) < 2


def header_lines() -> Iterator[tuple[str, str]]:
    """Old name, new name: the macros of OpenSSL 3's headers, this host's own or those of its package."""
    folder = Path("/usr/include/openssl")
    if not (folder / "evp.h").exists():
        folder = unpacked("libssl-dev") / "usr/include/openssl"
    for name in ("evp.h", "ssl.h"):
        for line in (folder / name).read_text().splitlines():
            words = line.replace("# define", "#define").split()
            if (
                len(words) == 3
                and words[0] == "#define"
                and "(" not in words[1]
                and words[2].startswith(("EVP_", "SSL_get1_peer"))
            ):
                yield words[1], words[2]


def test_the_renames_are_those_of_openssls_headers() -> None:
    renamed = {old: new for old, new in header_lines() if "_get" in new or "_is_" in new}
    if not renamed:
        pytest.skip("this host's OpenSSL headers are not those of release 3")
    assert renamed.items() <= openssl3_renames.RENAMED.items()
    assert len(openssl3_renames.RENAMED) - len(renamed) < 3
