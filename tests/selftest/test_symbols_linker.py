"""`resolve` and `classify` agree with the real dynamic linker and the real OpenSSL of this host.

Each row builds an engine, most with a defect. The host's linker (glibc, RTLD_NOW) and `resolve` must agree on whether
it loads, and `classify` must find the defect in what `openssl engine` prints.
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


def resolve_on_host(engine: Path, program: str = OPENSSL) -> Resolution:
    return resolve(
        str(engine),
        engine.read_bytes(),
        fetch,
        architecture="x86_64",
        libc="glibc",
        program=str(Path(program).resolve()),
    )


def linker_error(engine: Path) -> str:
    """Return the error of the host's linker for this file, "" if it loads."""
    code = "import ctypes, os, sys; ctypes.CDLL(sys.argv[1], os.RTLD_NOW)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(engine)], capture_output=True, text=True, timeout=60, check=False
    )
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def openssl_findings(engine: Path) -> tuple[Finding, ...]:
    """Return what `classify` finds in the output of the host's `openssl engine`: every error line in a finding."""
    command = [OPENSSL, "engine", "-t", "-pre", f"SO_PATH:{engine}", "-pre", "LOAD", "dynamic"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    text = done.stdout + done.stderr
    version = subprocess.run([OPENSSL, "version"], capture_output=True, text=True, timeout=60, check=True).stdout
    findings = classify(text, listed="Loaded: (sample)" in text, openssl=version)
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
    """Build an engine that needs a library which needs another one of its folder and has no search path itself."""
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
    """Build an engine linked with foo of LIBX_1.0 that finds another libx when it is loaded."""
    link = build(folder / "lib/libx.so.1", defines("foo"), soname="libx.so.1", script=nodes(LIBX_1__0=["foo"]))
    engine = build(folder / "e.so", ENGINE + calls("foo"), CRYPTO, link, flags=("-nostdlib", RUNPATH))
    build(link, source, *needs, soname="libx.so.1", script=script)
    return engine


def library_without_versions(folder: Path) -> Path:
    """No version definitions, but a DT_VERSYM table for its own needs: it satisfies any version."""
    return versions(folder, "", defines("foo") + calls("RAND_status"), CRYPTO)


def library_without_version_tables(folder: Path) -> Path:
    return versions(folder, "", defines("foo"))


def only_a_newer_version(folder: Path) -> Path:
    return versions(folder, nodes(LIBX_1__0=["other"], LIBX_2__0=["foo"]), defines("foo", "other"))


OLD_AND_NEW = """
__asm__(".symver foo_old,foo@LIBX_1.0"); int foo_old(void) { return 1; }
__asm__(".symver foo_new,foo@@LIBX_2.0"); int foo_new(void) { return 2; }
"""


def old_version_is_hidden_but_defined(folder: Path) -> Path:
    return versions(folder, nodes(LIBX_1__0=[], LIBX_2__0=["foo"]), OLD_AND_NEW)


def symbol_outside_the_nodes(folder: Path) -> Path:
    """The node exists and the symbol belongs to no node: it satisfies any version."""
    return versions(folder, nodes(LIBX_1__0=["other"]), defines("foo", "other"))


def unversioned(folder: Path, script: str, source: str) -> Path:
    """Build an engine linked with an unversioned foo that finds a versioned one when it is loaded."""
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
    """An engine and what must be found in it."""

    build: Callable[[Path], Path]
    problems: tuple[tuple[str, str], ...] = ()
    """Kind and subject of what `resolve` reports."""
    message: str = ""
    """Kind that `classify` finds in OpenSSL's output; "" for no message."""
    is_loadable: bool = False
    """Whether the host's linker loads it."""


ROWS = (
    Row(good, is_loadable=True),
    Row(weak_import, is_loadable=True),
    Row(rpath_is_inherited, is_loadable=True),
    Row(library_without_versions, is_loadable=True),
    Row(old_version_is_hidden_but_defined, is_loadable=True),
    Row(symbol_outside_the_nodes, is_loadable=True),
    Row(unversioned_takes_the_oldest, is_loadable=True),
    Row(unversioned_takes_the_only_visible, is_loadable=True),
    Row(unversioned_takes_no_hidden_one, (("missing symbol", "foo"),), "missing symbol"),
    Row(missing_symbol, (("missing symbol", "EVP_MD_size"),), "missing symbol"),
    Row(missing_versioned_symbol, (("missing symbol", "EVP_of_tomorrow"),), "missing symbol"),
    Row(missing_version, (("missing version", "OPENSSL_3.99.0"),), "missing version"),
    Row(missing_library, (("missing library", "libvendor.so.1"),), "missing library"),
    Row(missing_in_a_library, (("missing symbol", "nowhere"),), "missing symbol"),
    Row(runpath_is_not_inherited, (("missing library", "libinner.so.1"),), "missing library"),
    # glibc skips a file for another machine, then reports that there is no such file.
    Row(wrong_machine, (("wrong machine", "AARCH64, 64 bit, little-endian"),), "missing engine"),
    Row(wrong_class, (("wrong machine", "386, 32 bit, little-endian"),), "wrong machine"),
    Row(library_for_another_machine, (("wrong machine", "AARCH64, 64 bit, little-endian"),), "missing library"),
    Row(not_an_object, (("not an object", "e.so"),), "not an object"),
    Row(library_without_version_tables, (("missing version", "LIBX_1.0"),), "missing version"),
    Row(only_a_newer_version, (("missing symbol", "foo"),), "missing symbol"),
    # The linker loads these, and OpenSSL refuses them.
    Row(another_major, (("wrong major version", "libcrypto.so.1.1"),), "wrong major version", is_loadable=True),
    Row(no_bind_engine, (), "not an engine", is_loadable=True),
    Row(no_v_check, (), "not an engine", is_loadable=True),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.build.__name__)
def test_resolve_agrees_with_the_linker_and_openssl(row: Row, tmp_path: Path) -> None:
    engine = row.build(tmp_path)
    error = linker_error(engine)
    assert (error == "") == row.is_loadable, error
    found = {(p.kind, p.subject.rpartition("/")[2]) for p in resolve_on_host(engine).problems}
    assert found == set(row.problems)
    findings = openssl_findings(engine)
    assert [f.kind for f in findings] == ([row.message] if row.message else [])
    assert not any(finding.harmless for finding in findings)


@pytest.mark.parametrize("row", [r for r in ROWS if not r.is_loadable], ids=lambda row: row.build.__name__)
def test_resolve_agrees_with_the_linker_in_a_program_without_libcrypto(row: Row, tmp_path: Path) -> None:
    """The program is Python, whose own libraries differ from those of openssl."""
    engine = row.build(tmp_path)
    assert linker_error(engine)
    assert resolve_on_host(engine, sys.executable).problems


@pytest.mark.parametrize("engine", sorted(CRYPTO.parent.glob("engines-3/*.so")), ids=lambda path: path.name)
def test_engines_of_this_host_resolve(engine: Path) -> None:
    found = resolve_on_host(engine)
    assert not found.problems
    assert linker_error(engine) == ""
    assert [i.name for i in found.imports if not i.found_in and not i.weak] == []
    own = {i.name: i for i in found.imports if i.needed_by == str(engine)}
    assert own["ENGINE_set_id"].version == "OPENSSL_3.0.0"
    assert (own["ENGINE_set_id"].found_in or "").endswith("/libcrypto.so.3")


def test_objects_are_those_that_the_linker_loads(tmp_path: Path) -> None:
    engine = rpath_is_inherited(tmp_path)
    listed = subprocess.run(["ldd", OPENSSL, engine], capture_output=True, text=True, timeout=60, check=True).stdout
    by_linker = {Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", listed)}
    by_resolve = {Path(o.path).resolve() for o in resolve_on_host(engine).objects} - {engine, Path(OPENSSL).resolve()}
    assert by_resolve == by_linker


def test_missing_engine_file_is_classified(tmp_path: Path) -> None:
    (finding,) = openssl_findings(tmp_path / "e.so")
    assert (finding.kind, finding.culprit) == ("missing engine", "image")


def test_problems_explain_the_cause(tmp_path: Path) -> None:
    (renamed,) = resolve_on_host(missing_symbol(tmp_path)).problems
    assert "built against OpenSSL 1.1 headers, the library (libcrypto.so.3) is 3.x" in renamed.text
    assert "it has EVP_MD_get_size, not EVP_MD_size" in renamed.text
    assert renamed.object.endswith("/libcrypto.so.3")
    (version,) = resolve_on_host(missing_version(tmp_path / "v")).problems
    assert re.search(
        r"libcrypto\.so\.3: version OPENSSL_3\.99\.0 not found, needed by \S+/e\.so for EVP_of_tomorrow", version.text
    )
    (major,) = resolve_on_host(another_major(tmp_path / "m")).problems
    assert "loads libcrypto.so.1.1, but " in major.text
    assert major.object.endswith("lib/libcrypto.so.1.1")
