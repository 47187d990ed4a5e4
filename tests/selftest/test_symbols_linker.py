"""Does the check of the files agree with the real dynamic linker and the real OpenSSL? Asked on this host.

Each row plants a fault. The host's linker (glibc, RTLD_NOW) and the check must give the same verdict, and the message
that `openssl engine` prints must be classified as the fault that was planted.
"""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from symbols_build import ENGINE, HOST, build, calls, defines, nodes

from fixtures.stack.symbols.classify import Finding, classify
from fixtures.stack.symbols.resolve import Resolution, resolve

CRYPTO = Path(f"/usr/lib/{HOST}/libcrypto.so.3")
OPENSSL = shutil.which("openssl") or ""

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc" or not CRYPTO.exists() or not OPENSSL,
    reason=f"compares with the dynamic linker and OpenSSL 3 of an x86_64 glibc host; here: {platform.platform()}",
)


def fetch(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).is_file() else None


def check(engine: Path, program: str = OPENSSL) -> Resolution:
    return resolve(
        str(engine),
        engine.read_bytes(),
        fetch,
        architecture="x86_64",
        libc="glibc",
        program=str(Path(program).resolve()),
    )


def linker_says(engine: Path) -> str:
    """What the host's linker has against this file, "" if nothing."""
    code = "import ctypes, os, sys; ctypes.CDLL(sys.argv[1], os.RTLD_NOW)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(engine)], capture_output=True, text=True, timeout=60, check=False
    )
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def openssl_says(engine: Path) -> tuple[Finding, ...]:
    command = [OPENSSL, "engine", "-t", "-pre", f"SO_PATH:{engine}", "-pre", "LOAD", "dynamic"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    text = done.stdout + done.stderr
    version = subprocess.run([OPENSSL, "version"], capture_output=True, text=True, timeout=60, check=True).stdout
    findings = classify(text, listed="Loaded: (planted)" in text, openssl=version)
    assert all(line in "".join(f.text for f in findings) for line in text.splitlines() if "error:" in line)
    return findings


def good(folder: Path) -> Path:
    return build(folder / "e.so", ENGINE, CRYPTO)


def weak_import(folder: Path) -> Path:
    source = "extern int nowhere(void) __attribute__((weak)); int f(void) { return nowhere ? nowhere() : 0; }"
    return build(folder / "e.so", ENGINE + source, CRYPTO)


def missing_symbol(folder: Path) -> Path:
    return build(folder / "e.so", ENGINE + calls("EVP_MD_size"), CRYPTO)


def missing_versioned_symbol(folder: Path) -> Path:
    script = nodes(OPENSSL_3__0__0=["ENGINE_set_id", "ENGINE_set_name", "EVP_of_tomorrow"])
    source = defines("ENGINE_set_id", "ENGINE_set_name", "EVP_of_tomorrow")
    stub = build(folder / "stub/libcrypto.so.3", source, soname="libcrypto.so.3", script=script)
    return build(folder / "e.so", ENGINE + calls("EVP_of_tomorrow"), stub)


def missing_version(folder: Path) -> Path:
    script = nodes(OPENSSL_3__0__0=["ENGINE_set_id", "ENGINE_set_name"], OPENSSL_3__99__0=["EVP_of_tomorrow"])
    source = defines("ENGINE_set_id", "ENGINE_set_name", "EVP_of_tomorrow")
    stub = build(folder / "stub/libcrypto.so.3", source, soname="libcrypto.so.3", script=script)
    return build(folder / "e.so", ENGINE + calls("EVP_of_tomorrow"), stub)


def missing_library(folder: Path) -> Path:
    stub = build(folder / "stub/libvendor.so.1", defines("vendor"), soname="libvendor.so.1")
    return build(folder / "e.so", ENGINE + calls("vendor"), CRYPTO, stub)


def missing_in_a_library(folder: Path) -> Path:
    library = build(folder / "lib/libvendor.so.1", defines("vendor") + calls("nowhere"), soname="libvendor.so.1")
    return build(folder / "e.so", ENGINE + calls("vendor"), CRYPTO, library, flags=("-nostdlib", RUNPATH))


RUNPATH = "-Wl,-rpath,$ORIGIN/lib"
OLD_TAGS = "-Wl,--disable-new-dtags"


def two_libraries(folder: Path, *flags: str) -> Path:
    """A library that needs a library beside it, and says nothing of where."""
    inner = build(folder / "lib/libinner.so.1", defines("inner"), soname="libinner.so.1")
    outer = build(folder / "lib/libouter.so.1", defines("outer") + calls("inner"), inner, soname="libouter.so.1")
    return build(folder / "e.so", ENGINE + calls("outer"), CRYPTO, outer, flags=("-nostdlib", *flags))


def rpath_is_inherited(folder: Path) -> Path:
    return two_libraries(folder, RUNPATH, OLD_TAGS)


def runpath_is_not_inherited(folder: Path) -> Path:
    return two_libraries(folder, RUNPATH)


def wrong_machine(folder: Path) -> Path:
    return build(folder / "e.so", defines("bind_engine", "v_check"), target="aarch64-linux-gnu")


def wrong_class(folder: Path) -> Path:
    return build(folder / "e.so", defines("bind_engine", "v_check"), target="x86-linux-gnu")


def not_an_object(folder: Path) -> Path:
    path = folder / "e.so"
    path.write_bytes(b"INPUT(-lcrypto)\n" * 100)
    return path


def library_for_another_machine(folder: Path) -> Path:
    library = build(folder / "lib/libvendor.so.1", defines("vendor"), soname="libvendor.so.1")
    engine = build(folder / "e.so", ENGINE + calls("vendor"), CRYPTO, library, flags=("-nostdlib", RUNPATH))
    build(library, defines("vendor"), soname="libvendor.so.1", target="aarch64-linux-gnu")
    return engine


def versions(folder: Path, script: str, source: str, *needs: Path) -> Path:
    """An engine linked with foo of LIBX_1.0, that finds another libx when it is loaded."""
    link = build(folder / "lib/libx.so.1", defines("foo"), soname="libx.so.1", script=nodes(LIBX_1__0=["foo"]))
    engine = build(folder / "e.so", ENGINE + calls("foo"), CRYPTO, link, flags=("-nostdlib", RUNPATH))
    build(link, source, *needs, soname="libx.so.1", script=script)
    return engine


def library_without_versions(folder: Path) -> Path:
    """No nodes of its own, but version tables, for what it needs itself: any version will do."""
    return versions(folder, "", defines("foo") + calls("RAND_status"), CRYPTO)


def library_without_version_tables(folder: Path) -> Path:
    return versions(folder, "", defines("foo"))


def only_a_newer_version(folder: Path) -> Path:
    return versions(folder, nodes(LIBX_1__0=["other"], LIBX_2__0=["foo"]), defines("foo", "other"))


OLD_AND_NEW = """
__asm__(".symver foo_old,foo@LIBX_1.0"); int foo_old(void) { return 1; }
__asm__(".symver foo_new,foo@@LIBX_2.0"); int foo_new(void) { return 2; }
"""


def old_version_is_hidden_but_there(folder: Path) -> Path:
    return versions(folder, nodes(LIBX_1__0=[], LIBX_2__0=["foo"]), OLD_AND_NEW)


def symbol_outside_the_nodes(folder: Path) -> Path:
    """The node is there, the symbol belongs to none: it counts for any version."""
    return versions(folder, nodes(LIBX_1__0=["other"]), defines("foo", "other"))


def unversioned(folder: Path, script: str, source: str) -> Path:
    """An engine linked with foo of no version, that finds one with versions when it is loaded."""
    link = build(folder / "lib/libx.so.1", defines("foo"), soname="libx.so.1")
    engine = build(folder / "e.so", ENGINE + calls("foo"), CRYPTO, link, flags=("-nostdlib", RUNPATH))
    build(link, source, soname="libx.so.1", script=script)
    return engine


def unversioned_takes_the_oldest(folder: Path) -> Path:
    return unversioned(folder, nodes(LIBX_1__0=[], LIBX_2__0=["foo"]), OLD_AND_NEW)


def unversioned_takes_the_only_visible(folder: Path) -> Path:
    return unversioned(folder, nodes(LIBX_1__0=["other"], LIBX_2__0=["foo"]), defines("foo", "other"))


def unversioned_takes_no_hidden_one(folder: Path) -> Path:
    source = '__asm__(".symver foo_old,foo@LIBX_2.0"); int foo_old(void) { return 1; }\n' + defines("other")
    return unversioned(folder, nodes(LIBX_1__0=["other"], LIBX_2__0=[]), source)


def another_major(folder: Path) -> Path:
    source = defines("ENGINE_set_id", "ENGINE_set_name", "EVP_PKEY_base_id", "only_here")
    library = build(folder / "lib/libcrypto.so.1.1", source, soname="libcrypto.so.1.1")
    return build(folder / "e.so", ENGINE + calls("only_here"), library, flags=("-nostdlib", RUNPATH))


def no_bind_engine(folder: Path) -> Path:
    return build(folder / "e.so", defines("v_check"), CRYPTO)


def no_v_check(folder: Path) -> Path:
    return build(folder / "e.so", defines("bind_engine"), CRYPTO)


@dataclass(frozen=True)
class Row:
    """What is planted; what the check of the files finds; what OpenSSL's message is classified as ("" : no message)."""

    plant: Callable[[Path], Path]
    problems: tuple[tuple[str, str], ...] = ()
    message: str = ""
    linker_loads_it: bool = False


ROWS = (
    Row(good, linker_loads_it=True),
    Row(weak_import, linker_loads_it=True),
    Row(rpath_is_inherited, linker_loads_it=True),
    Row(library_without_versions, linker_loads_it=True),
    Row(old_version_is_hidden_but_there, linker_loads_it=True),
    Row(symbol_outside_the_nodes, linker_loads_it=True),
    Row(unversioned_takes_the_oldest, linker_loads_it=True),
    Row(unversioned_takes_the_only_visible, linker_loads_it=True),
    Row(unversioned_takes_no_hidden_one, (("missing symbol", "foo"),), "missing symbol"),
    Row(missing_symbol, (("missing symbol", "EVP_MD_size"),), "missing symbol"),
    Row(missing_versioned_symbol, (("missing symbol", "EVP_of_tomorrow"),), "missing symbol"),
    Row(missing_version, (("missing version", "OPENSSL_3.99.0"),), "missing version"),
    Row(missing_library, (("missing library", "libvendor.so.1"),), "missing library"),
    Row(missing_in_a_library, (("missing symbol", "nowhere"),), "missing symbol"),
    Row(runpath_is_not_inherited, (("missing library", "libinner.so.1"),), "missing library"),
    # glibc passes over a file for another machine, then says that there is none.
    Row(wrong_machine, (("wrong machine", "AARCH64, 64 bit, little-endian"),), "missing engine"),
    Row(wrong_class, (("wrong machine", "386, 32 bit, little-endian"),), "wrong machine"),
    Row(library_for_another_machine, (("wrong machine", "AARCH64, 64 bit, little-endian"),), "missing library"),
    Row(not_an_object, (("not an object", "e.so"),), "not an object"),
    Row(library_without_version_tables, (("missing version", "LIBX_1.0"),), "missing version"),
    Row(only_a_newer_version, (("missing symbol", "foo"),), "missing symbol"),
    # From here on the linker is content, and OpenSSL is not.
    Row(another_major, (("wrong major version", "libcrypto.so.1.1"),), "wrong major version", linker_loads_it=True),
    Row(no_bind_engine, (), "not an engine", linker_loads_it=True),
    Row(no_v_check, (), "not an engine", linker_loads_it=True),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.plant.__name__)
def test_the_check_the_linker_and_openssl_agree(row: Row, tmp_path: Path) -> None:
    engine = row.plant(tmp_path)
    said = linker_says(engine)
    assert (said == "") == row.linker_loads_it, said
    found = {(p.kind, p.subject.rpartition("/")[2]) for p in check(engine).problems}
    assert found == set(row.problems)
    findings = openssl_says(engine)
    assert [f.kind for f in findings] == ([row.message] if row.message else [])
    assert not any(finding.harmless for finding in findings)


@pytest.mark.parametrize("row", [r for r in ROWS if not r.linker_loads_it], ids=lambda row: row.plant.__name__)
def test_the_same_in_a_program_that_has_no_libcrypto(row: Row, tmp_path: Path) -> None:
    """The verdict is the linker's for that very program, too: here Python."""
    engine = row.plant(tmp_path)
    assert linker_says(engine)
    assert check(engine, sys.executable).problems


@pytest.mark.parametrize("engine", sorted(CRYPTO.parent.glob("engines-3/*.so")), ids=lambda path: path.name)
def test_the_hosts_own_engines_resolve(engine: Path) -> None:
    found = check(engine)
    assert not found.problems
    assert linker_says(engine) == ""
    assert [i.name for i in found.imports if not i.found_in and not i.weak] == []
    mine = {i.name: i for i in found.imports if i.needed_by == str(engine)}
    assert mine["ENGINE_set_id"].version == "OPENSSL_3.0.0"
    assert (mine["ENGINE_set_id"].found_in or "").endswith("/libcrypto.so.3")


def test_the_objects_are_those_that_the_linker_loads(tmp_path: Path) -> None:
    engine = rpath_is_inherited(tmp_path)
    listed = subprocess.run(["ldd", OPENSSL, engine], capture_output=True, text=True, timeout=60, check=True).stdout
    theirs = {Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", listed)}
    ours = {Path(o.path).resolve() for o in check(engine).objects} - {engine, Path(OPENSSL).resolve()}
    assert ours == theirs


def test_a_missing_engine_file(tmp_path: Path) -> None:
    (finding,) = openssl_says(tmp_path / "e.so")
    assert (finding.kind, finding.culprit) == ("missing engine", "image")


def test_problems_say_what_to_do(tmp_path: Path) -> None:
    (renamed,) = check(missing_symbol(tmp_path)).problems
    assert "built against OpenSSL 1.1 headers, the library (libcrypto.so.3) is 3.x" in renamed.text
    assert "it has EVP_MD_get_size, not EVP_MD_size" in renamed.text
    assert renamed.object.endswith("/libcrypto.so.3")
    (version,) = check(missing_version(tmp_path / "v")).problems
    assert re.search(
        r"libcrypto\.so\.3: version OPENSSL_3\.99\.0 not found, needed by \S+/e\.so for EVP_of_tomorrow", version.text
    )
    (major,) = check(another_major(tmp_path / "m")).problems
    assert "drags in libcrypto.so.1.1" in major.text
    assert major.object.endswith("lib/libcrypto.so.1.1")
