"""The probe compiles for every kind of board, to a program that can open the board's libcrypto."""

import io
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.segments import InterpSegment

from fixtures.outcome import LabError, UsageError
from fixtures.probe import build as build_module
from fixtures.probe.build import build, buildable_targets


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache of all builds in this file."""
    return tmp_path_factory.mktemp("builds")


# One of each: 32 and 64 bit, both libraries, both byte orders.
SOME = [
    ("aarch64", "glibc", "AArch64", 64, True, "/lib/ld-linux-aarch64.so.1"),
    ("mips", "musl", "MIPS", 32, False, "/lib/ld-musl-mips-sf.so.1"),
    ("arm", "glibc", "ARM", 32, True, "/lib/ld-linux-armhf.so.3"),
]


@pytest.mark.parametrize(("architecture", "libc", "machine", "bits", "little", "linker"), SOME)
def test_program_is_dynamic_and_needs_only_the_c_library(
    cache: Path, architecture: str, libc: str, machine: str, bits: int, little: bool, linker: str
) -> None:
    elf = ELFFile(io.BytesIO(build(architecture, libc, cache).read_bytes()))
    assert (elf.get_machine_arch(), elf.elfclass, elf.little_endian) == (machine, bits, little)
    interpreters = [part.get_interp_name() for part in elf.iter_segments() if isinstance(part, InterpSegment)]
    assert interpreters == [linker]
    dynamic = next(part for part in elf.iter_segments() if isinstance(part, DynamicSegment))
    needed = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}  # type: ignore[attr-defined]  # set as it is made
    assert needed <= ({"libc.so"} if libc == "musl" else {"libc.so.6", "libdl.so.2", "libpthread.so.0"})
    assert elf.get_section_by_name(".symtab") is None


def test_program_needs_no_symbol_newer_than_glibc_2_28(cache: Path) -> None:
    elf = ELFFile(io.BytesIO(build("aarch64", "glibc", cache).read_bytes()))
    wanted = elf.get_section_by_name(".gnu.version_r")
    assert isinstance(wanted, GNUVerNeedSection)
    nodes = [node.name.removeprefix("GLIBC_") for _, all_nodes in wanted.iter_versions() for node in all_nodes]
    assert nodes and max(tuple(map(int, node.split("."))) for node in nodes) <= (2, 28)


def test_second_build_reuses_the_first_program(cache: Path) -> None:
    first = build("aarch64", "glibc", cache)
    before = first.stat()
    assert build("aarch64", "glibc", cache) == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns


def append_to_main(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let builds use a copy of the sources with `text` at the end of main.c."""
    for source in build_module.SOURCES.glob("*.[ch]"):
        (folder / source.name).write_bytes(source.read_bytes())
    with (folder / "main.c").open("a") as program:
        program.write(text)
    monkeypatch.setattr(build_module, "SOURCES", folder)


def test_changed_source_is_built_again(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("aarch64", "glibc", cache)
    append_to_main("/* changed */\n", tmp_path, monkeypatch)
    second = build("aarch64", "glibc", cache)
    assert second != first and second.exists()


def test_warning_fails_the_build_with_the_compiler_message(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_to_main("static int nobody_uses_this;\n", tmp_path, monkeypatch)
    with pytest.raises(LabError, match=r"(?s)did not compile.*nobody_uses_this"):
        build("aarch64", "glibc", cache)
    assert not [path for path in (cache / "probe").iterdir() if path.name.startswith(".")]


def test_concurrent_builds_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        programs = list(pool.map(lambda _: build("x86_64", "musl", tmp_path), range(3)))
    assert len(set(programs)) == 1
    assert ELFFile(io.BytesIO(programs[0].read_bytes())).elfclass == 64
    assert [path.name for path in (tmp_path / "probe").iterdir()] == [programs[0].name]


@pytest.mark.parametrize(("architecture", "libc"), [("vax", "glibc"), ("powerpc", "glibc"), ("aarch64", "uclibc")])
def test_unknown_target_is_a_usage_error_that_lists_known_ones(tmp_path: Path, architecture: str, libc: str) -> None:
    with pytest.raises(UsageError, match=f"{architecture}.*{libc}.*Known: aarch64 with glibc or musl;.*x86_64"):
        build(architecture, libc, tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_compiler_is_a_lab_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "version", lambda _: (_ for _ in ()).throw(PackageNotFoundError("ziglang")))
    with pytest.raises(LabError, match=r"ziglang is not installed.* See requirements\.txt"):
        build("aarch64", "glibc", tmp_path)


def test_common_architectures_are_known() -> None:
    names = {architecture for architecture, _ in buildable_targets()}
    assert {"aarch64", "arm", "x86", "mips", "mipsel", "mips64", "powerpc64", "riscv64", "x86_64"} <= names
