"""Does the probe compile for boards of every kind, into a program that can open the board's libcrypto?"""

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
from fixtures.probe import build as room
from fixtures.probe.build import build, known


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all builds of this file."""
    return tmp_path_factory.mktemp("builds")


# One of each: 32 and 64 bit, both libraries, both byte orders.
SOME = [
    ("aarch64", "glibc", "AArch64", 64, True, "/lib/ld-linux-aarch64.so.1"),
    ("mips", "musl", "MIPS", 32, False, "/lib/ld-musl-mips-sf.so.1"),
    ("arm", "glibc", "ARM", 32, True, "/lib/ld-linux-armhf.so.3"),
]


@pytest.mark.parametrize(("architecture", "libc", "machine", "bits", "little", "linker"), SOME)
def test_the_program_is_dynamic_and_needs_the_c_library_alone(
    cache: Path, architecture: str, libc: str, machine: str, bits: int, little: bool, linker: str
) -> None:
    elf = ELFFile(io.BytesIO(build(architecture, libc, cache).read_bytes()))
    assert (elf.get_machine_arch(), elf.elfclass, elf.little_endian) == (machine, bits, little)
    interpreters = [part.get_interp_name() for part in elf.iter_segments() if isinstance(part, InterpSegment)]
    assert interpreters == [linker]
    dynamic = next(part for part in elf.iter_segments() if isinstance(part, DynamicSegment))
    needed = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")}  # type: ignore[attr-defined]  # set as it is made
    assert needed <= ({"libc.so"} if libc == "musl" else {"libc.so.6", "libdl.so.2"})
    assert elf.get_section_by_name(".symtab") is None


def test_the_program_runs_on_old_glibc(cache: Path) -> None:
    elf = ELFFile(io.BytesIO(build("aarch64", "glibc", cache).read_bytes()))
    wanted = elf.get_section_by_name(".gnu.version_r")
    assert isinstance(wanted, GNUVerNeedSection)
    nodes = [node.name.removeprefix("GLIBC_") for _, all_nodes in wanted.iter_versions() for node in all_nodes]
    assert nodes and max(tuple(map(int, node.split("."))) for node in nodes) <= (2, 28)


def test_a_second_build_takes_the_first_ones_program(cache: Path) -> None:
    first = build("aarch64", "glibc", cache)
    before = first.stat()
    assert build("aarch64", "glibc", cache) == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns


def add(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build from a copy of the sources with this at the end of the program."""
    for source in room.SOURCES.glob("*.[ch]"):
        (folder / source.name).write_bytes(source.read_bytes())
    with (folder / "probe.c").open("a") as program:
        program.write(text)
    monkeypatch.setattr(room, "SOURCES", folder)


def test_another_source_is_another_program(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("aarch64", "glibc", cache)
    add("/* changed */\n", tmp_path, monkeypatch)
    second = build("aarch64", "glibc", cache)
    assert second != first and second.exists()


def test_a_warning_stops_the_build_with_the_compilers_words(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("static int nobody_uses_this;\n", tmp_path, monkeypatch)
    with pytest.raises(LabError, match=r"(?s)did not compile.*nobody_uses_this"):
        build("aarch64", "glibc", cache)
    assert not [path for path in (cache / "probe").iterdir() if path.name.startswith(".")]


def test_builds_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        programs = list(pool.map(lambda _: build("x86_64", "musl", tmp_path), range(3)))
    assert len(set(programs)) == 1
    assert ELFFile(io.BytesIO(programs[0].read_bytes())).elfclass == 64
    assert [path.name for path in (tmp_path / "probe").iterdir()] == [programs[0].name]


@pytest.mark.parametrize(("architecture", "libc"), [("vax", "glibc"), ("powerpc", "glibc"), ("aarch64", "uclibc")])
def test_an_unknown_machine_is_a_usage_error_that_lists_the_known(tmp_path: Path, architecture: str, libc: str) -> None:
    with pytest.raises(UsageError, match=f"{architecture}.*{libc}.*Known: aarch64 with glibc or musl;.*x86_64"):
        build(architecture, libc, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "version", lambda _: (_ for _ in ()).throw(PackageNotFoundError("ziglang")))
    with pytest.raises(LabError, match=r"ziglang .* not installed: see requirements\.txt"):
        build("aarch64", "glibc", tmp_path)


def test_every_target_has_a_name() -> None:
    names = {architecture for architecture, _ in known()}
    assert {"aarch64", "arm", "x86", "mips", "mipsel", "mips64", "powerpc64", "riscv64", "x86_64"} <= names
