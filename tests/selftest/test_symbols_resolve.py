"""`resolve` reports what a board's dynamic linker would refuse. The boards hold real objects for other machines."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian_programs import unpack_package
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
    """Files of a board and the fetch function that returns them."""

    def __init__(self, folder: Path, target: str, libc: Libc) -> None:
        """Create a board without files; its objects are built in `folder`."""
        self.folder, self.target, self.libc = folder, target, libc
        self.architecture = target.split("-")[0]
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []

    def add(
        self, path: str, source: str, *needs: str, script: str = "", target: str = "", flags: tuple[str, ...] = ()
    ) -> None:
        """Build an object and put it on the board; `needs` are paths of other objects there."""
        libraries = [self.folder / need.lstrip("/") for need in needs]
        file, soname = self.folder / path.lstrip("/"), path.rpartition("/")[2]
        options = ("-nostdlib", *flags)
        build(file, source, *libraries, target=target or self.target, soname=soname, script=script, flags=options)
        self.files[path] = file.read_bytes()

    def fetch(self, path: str) -> bytes | None:
        """Return a file of the board; passed to `resolve`."""
        self.fetched.append(path)
        return self.files.get(path)

    def resolve(self, path: str = ENGINE) -> Resolution:
        """Resolve an engine on this board."""
        return resolve(path, self.files[path], self.fetch, architecture=self.architecture, libc=self.libc)

    def problems(self) -> set[tuple[str, str]]:
        """Return kind and subject of each problem of the engine."""
        return {(p.kind, p.subject) for p in self.resolve().problems}

    def problem(self, kind: str) -> Problem:
        """Return the only problem of this kind."""
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
def musl_board(tmp_path: Path) -> Board:
    """A big-endian 32-bit board as OpenWrt builds it: musl, no version nodes."""
    board = Board(tmp_path, "mips-linux-musleabi", "musl")
    board.add("/lib/libc.so", defines("memcpy"))
    board.add("/usr/lib/libcrypto.so.3", defines(*NEW) + calls("memcpy"), "/lib/libc.so")
    board.add("/usr/bin/openssl", calls("ERR_new"), "/usr/lib/libcrypto.so.3")
    return board


def test_engine_that_loads_has_no_problem(board11: Board, board3: Board) -> None:
    for board, functions in ((board11, OLD), (board3, NEW)):
        crypto = next(path for path in board.files if "libcrypto" in path)
        board.add(ENGINE, calls(*functions), crypto)
        found = board.resolve()
        assert found.problems == ()
        assert {i.name: i.found_in for i in found.imports if i.needed_by == ENGINE and i.relocated} == dict.fromkeys(
            functions, crypto
        )
        assert [o.name for o in found.objects] == ["openssl", crypto.rpartition("/")[2], "libc.so.6", "devcrypto.so"]


def test_each_file_is_fetched_once(board11: Board) -> None:
    board11.add(ENGINE, calls("memcpy", "EVP_MD_size"), "/lib/libc.so.6", "/usr/lib/libcrypto.so.1.1")
    board11.resolve()
    assert len(board11.fetched) == len(set(board11.fetched))


def test_engine_built_with_3_0_headers_is_explained_on_a_1_1_board(board11: Board) -> None:
    """The engine is linked with no libcrypto, so only the symbol names reveal the headers."""
    board11.add(ENGINE, calls("EVP_MD_get_size", "ERR_new", "EVP_CIPHER_nid"))
    assert board11.problems() == {("missing symbol", "EVP_MD_get_size"), ("missing symbol", "ERR_new")}
    texts = sorted(p.text for p in board11.resolve().problems)
    explanation = "built against OpenSSL 3.x headers, the library (libcrypto.so.1.1) is 1.1"
    assert texts == [
        f"{ENGINE}: undefined symbol: ERR_new; {explanation}",
        f"{ENGINE}: undefined symbol: EVP_MD_get_size; {explanation}: it has EVP_MD_size, not EVP_MD_get_size",
    ]


def test_engine_built_with_1_1_headers_is_explained_on_a_3_0_board(board3: Board) -> None:
    board3.add(ENGINE, calls("EVP_MD_size"), "/usr/lib/libcrypto.so.3")
    problem = board3.problem("missing symbol")
    assert "built against OpenSSL 1.1 headers, the library (libcrypto.so.3) is 3.x" in problem.text
    assert (problem.object, problem.needed_by) == ("/usr/lib/libcrypto.so.3", ENGINE)


def test_symbol_that_no_rename_explains_gets_no_explanation(board3: Board) -> None:
    """A vendor's symbol, and one of the same series as the board's library."""
    board3.add(ENGINE, calls("vendor_function", "OPENSSL_strcasecmp"))
    assert {p.text for p in board3.resolve().problems} == {
        f"{ENGINE}: undefined symbol: vendor_function",
        f"{ENGINE}: undefined symbol: OPENSSL_strcasecmp",
    }


def test_other_major_version_is_reported_if_it_is_not_on_the_board(board3: Board) -> None:
    board3.add("/stub/libcrypto.so.1.1", defines("EVP_MD_size"))
    board3.add(ENGINE, calls("EVP_MD_size"), "/stub/libcrypto.so.1.1")
    found = board3.problems()
    assert found == {("missing library", "libcrypto.so.1.1"), ("wrong major version", "libcrypto.so.1.1")}
    assert "/usr/bin/openssl uses libcrypto.so.3" in board3.problem("wrong major version").text
    assert "searched /lib/arm-linux-gnueabihf, " in board3.problem("missing library").text


def test_other_major_version_is_reported_if_it_is_on_the_board(board3: Board) -> None:
    board3.add("/usr/lib/libcrypto.so.1.1", defines("EVP_MD_size"))
    board3.add(ENGINE, calls("EVP_MD_size"), "/usr/lib/libcrypto.so.1.1")
    assert board3.problems() == {("wrong major version", "libcrypto.so.1.1")}
    assert board3.problem("wrong major version").object == "/usr/lib/libcrypto.so.1.1"


@pytest.mark.parametrize("target", ["x86_64-linux-gnu", "arm-linux-gnueabihf", "aarch64_be-linux-gnu"])
def test_engine_for_another_machine_is_refused(board11: Board, target: str) -> None:
    board11.add(ENGINE, calls("EVP_MD_size"), target=target)
    problem = board11.problem("wrong machine")
    assert len(board11.resolve().problems) == 1
    assert problem.object == ENGINE
    assert problem.text.endswith("; the board needs AARCH64, 64 bit, little-endian")


def test_soft_float_engine_is_refused_on_a_hard_float_board(board3: Board) -> None:
    board3.add(ENGINE, calls("ERR_new"), target="arm-linux-gnueabi")
    assert "soft float; the board needs ARM, 32 bit, little-endian, hard float" in board3.problem("wrong machine").text


def test_missing_library_of_a_library_is_found(board11: Board) -> None:
    board11.add("/usr/lib/libinner.so.1", defines("inner"))
    board11.add("/usr/lib/libouter.so.1", defines("outer") + calls("inner"), "/usr/lib/libinner.so.1")
    board11.add(ENGINE, calls("outer"), "/usr/lib/libouter.so.1")
    assert board11.problems() == set()
    del board11.files["/usr/lib/libinner.so.1"]
    problem = board11.problem("missing library")
    assert (problem.subject, problem.needed_by) == ("libinner.so.1", "/usr/lib/libouter.so.1")


def test_library_that_program_and_engine_lack_is_reported_once(board11: Board) -> None:
    board11.add(ENGINE, calls("EVP_MD_size"), "/usr/lib/libcrypto.so.1.1")
    del board11.files["/lib/libc.so.6"]
    assert [p.kind for p in board11.resolve().problems] == ["missing library"]


def test_glibc_skips_a_library_for_another_machine_and_musl_does_not(board11: Board, musl_board: Board) -> None:
    """musl takes the first file of that name."""
    for board in (board11, musl_board):
        board.add("/lib/libvendor.so.1", defines("vendor"), target="x86_64-linux-gnu")
        board.add("/usr/lib/libvendor.so.1", defines("vendor"))
        board.add(ENGINE, calls("vendor"), "/usr/lib/libvendor.so.1")
    assert board11.problems() == set()
    assert musl_board.problem("wrong machine").object == "/lib/libvendor.so.1"


def test_need_of_a_newer_glibc_names_the_function_and_the_newest_version(board11: Board) -> None:
    """The compiler links with its own glibc 2.38, which added strlcpy."""
    source = "#include <string.h>\nunsigned long f(char *a, const char *b) { return strlcpy(a, b, 9); }\n"
    newer = build(board11.folder / "newer.so", source, target="aarch64-linux-gnu.2.38", flags=())
    board11.files[ENGINE] = newer.read_bytes()
    text = board11.problem("missing version").text
    assert text == (
        f"/lib/libc.so.6: version GLIBC_2.38 not found, needed by {ENGINE} for strlcpy; "
        "the newest version of this name is GLIBC_2.17"
    )


def test_glibc_engine_on_a_musl_board_is_the_wrong_libc(musl_board: Board) -> None:
    musl_board.add("/stub/libc.so.6", defines("memcpy"), script=nodes(GLIBC_2__17=["memcpy"]))
    musl_board.add(ENGINE, calls("memcpy"), "/stub/libc.so.6")
    # musl resolves libc.so.6 to itself and ignores versions: its linker would load this engine.
    assert musl_board.problems() == {("wrong libc", "libc.so.6")}
    assert musl_board.problem("wrong libc").text.endswith("linked for glibc (needs libc.so.6); the board has musl")


def test_musl_engine_on_a_glibc_board_is_the_wrong_libc(board11: Board) -> None:
    board11.add("/stub/libc.so", defines("memcpy", "only_musl"))
    board11.add(ENGINE, calls("memcpy", "only_musl"), "/stub/libc.so")
    assert board11.problems() == {("wrong libc", "libc.so")}


def test_versions_are_ignored_on_musl(musl_board: Board) -> None:
    musl_board.add("/stub/libcrypto.so.3", defines("ERR_new"), script=nodes(OPENSSL_3__0__0=["ERR_new"]))
    musl_board.add(ENGINE, calls("ERR_new"), "/stub/libcrypto.so.3")
    assert musl_board.problems() == set()


def test_missing_symbol_on_musl_is_reported(musl_board: Board) -> None:
    musl_board.add(ENGINE, calls("EVP_MD_size", "ERR_new"), "/usr/lib/libcrypto.so.3")
    assert musl_board.problems() == {("missing symbol", "EVP_MD_size")}


def test_section_headers_are_not_needed(musl_board: Board) -> None:
    """OpenWrt's sstrip removes them; here e_shoff, e_shnum and e_shstrndx are cleared."""
    musl_board.add(ENGINE, calls("ERR_new", "nowhere"))
    for path, content in musl_board.files.items():
        bare = bytearray(content)
        bare[32:36], bare[48:52] = bytes(4), bytes(4)
        musl_board.files[path] = bytes(bare)
    assert musl_board.problems() == {("missing symbol", "nowhere")}


def test_damaged_engine_is_not_an_object(board11: Board) -> None:
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


def test_missing_program_is_reported(board11: Board) -> None:
    board11.add(ENGINE, calls("EVP_MD_size"))
    del board11.files["/usr/bin/openssl"]
    assert board11.problems() == {("not an object", "/usr/bin/openssl")}


def test_unknown_architecture_is_a_usage_error(board11: Board) -> None:
    with pytest.raises(UsageError, match="'vax' is unknown; known: aarch64, "):
        resolve(ENGINE, b"", board11.fetch, architecture="vax", libc="glibc")


def ld_so_cache(*entries: tuple[str, str, int]) -> bytes:
    """Return an /etc/ld.so.cache in the format of glibc 2.32 and later, little-endian: name, path, hwcap."""
    strings, rows = b"", b""
    start = 48 + 24 * len(entries)
    for name, path, hwcap in entries:
        key = start + len(strings)
        rows += struct.pack("<iIIIQ", 3, key, key + len(name) + 1, 0, hwcap)
        strings += name.encode() + b"\0" + path.encode() + b"\0"
    return b"glibc-ld.so.cache1.1" + struct.pack("<II5I", len(entries), len(strings), *[0] * 5) + rows + strings


def test_library_is_found_through_the_linkers_cache(board11: Board) -> None:
    board11.add("/opt/vendor/libvendor.so.1", defines("vendor"))
    board11.add(ENGINE, calls("vendor"), "/opt/vendor/libvendor.so.1")
    assert board11.problems() == {("missing library", "libvendor.so.1")}
    board11.files["/etc/ld.so.cache"] = ld_so_cache(
        ("libvendor.so.1", "/opt/fast/libvendor.so.1", 1), ("libvendor.so.1", "/opt/vendor/libvendor.so.1", 0)
    )
    assert board11.problems() == set()
    assert "/opt/fast/libvendor.so.1" not in board11.fetched


@pytest.mark.parametrize("length", [0, 10, 50, 100, 115])
def test_truncated_linker_cache_is_no_error(length: int) -> None:
    content = ld_so_cache(("a.so", "/lib/a.so", 0), ("b.so", "/lib/b.so", 0))[:length]
    assert len(read_cache(content, little_endian=True)) < 2


def header_macros() -> Iterator[tuple[str, str]]:
    """Yield old and new name of the macros in OpenSSL 3's headers, from this host or from its Debian package."""
    folder = Path("/usr/include/openssl")
    if not (folder / "evp.h").exists():
        folder = unpack_package("libssl-dev") / "usr/include/openssl"
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


def test_renames_are_those_of_openssl_3_headers() -> None:
    renamed = {old: new for old, new in header_macros() if "_get" in new or "_is_" in new}
    if not renamed:
        pytest.skip("this host's OpenSSL headers are not those of release 3")
    assert renamed.items() <= openssl3_renames.RENAMED.items()
    assert len(openssl3_renames.RENAMED) - len(renamed) < 3
