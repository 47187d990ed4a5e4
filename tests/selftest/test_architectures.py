"""Is every architecture that a board file may name one that can be built for, and whose ELF files can be checked?"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import fixtures
from fixtures.architectures import TABLE, Architecture, ArchitectureName, Libc, find_architecture
from fixtures.lab.board import load_board
from fixtures.outcome import UsageError
from fixtures.probe.build import buildable_targets, has_compat
from fixtures.stack.symbols.elf_file import MACHINES, read_machine
from fixtures.stack.symbols.libraries import default_folders, machine_of

BOARDS = Path(__file__).parents[2] / "boards"
LIBCS: tuple[Libc, ...] = get_args(Libc)
NAMES: tuple[ArchitectureName, ...] = get_args(ArchitectureName)


def write_board_file(folder: Path, architecture: str, libc: str) -> Path:
    """Write a board file that differs from virt.yaml in architecture and C library alone."""
    file = folder / f"{architecture}-{libc}.yaml"
    file.write_text(f"extends: {BOARDS / 'virt.yaml'}\narchitecture: {architecture}\nlibc: {libc}\n")
    return file


def accepted_pairs(folder: Path) -> Iterator[tuple[str, Libc]]:
    """Yield every architecture and C library that the schema of board files accepts."""
    for architecture in NAMES:
        for libc in LIBCS:
            try:
                board = load_board(str(write_board_file(folder, architecture, libc)), BOARDS)
            except UsageError:
                continue
            yield board.architecture, board.libc


def test_names_of_the_schema_are_those_of_the_table() -> None:
    assert sorted(NAMES) == sorted(name for row in TABLE for name in (row.name, *row.aliases))


def test_every_accepted_board_can_be_built_for_and_checked(tmp_path: Path) -> None:
    found = list(accepted_pairs(tmp_path))
    assert set(found) == set(buildable_targets())
    for architecture, libc in found:
        machine = machine_of(architecture)
        assert machine.name in MACHINES.values()
        assert default_folders(architecture, libc)


def test_every_architecture_is_accepted_with_at_least_one_libc(tmp_path: Path) -> None:
    assert {architecture for architecture, _ in accepted_pairs(tmp_path)} == {row.name for row in TABLE}


def test_alias_is_resolved_to_the_name(tmp_path: Path) -> None:
    assert load_board(str(write_board_file(tmp_path, "i386", "musl")), BOARDS).architecture == "x86"


@pytest.mark.parametrize(
    ("architecture", "libc", "message"),
    [
        ("vax", "glibc", r':2: architecture: found "vax"; expected aarch64, .*riscv32, riscv64, s390x, x86, .*i386'),
        ("powerpc64", "glibc", r':3: libc: found "glibc"; expected musl: zig provides no glibc for powerpc64'),
    ],
)
def test_unknown_architecture_or_libc_is_refused_with_the_known_names(
    tmp_path: Path, architecture: str, libc: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_board(str(write_board_file(tmp_path, architecture, libc)), BOARDS)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_32_bit_programs_are_those_of_the_same_byte_order(row: Architecture) -> None:
    assert has_compat(row.name) is (row.compat is not None)
    if row.compat:
        compat = find_architecture(row.compat)
        assert compat is not None and "musl" in compat.zig_targets
        assert (row.bits, compat.bits, compat.little_endian) == (64, 32, row.little_endian)


@pytest.mark.parametrize("libc", LIBCS)
def test_zig_target_gives_the_elf_machine_of_the_row(tmp_path: Path, libc: Libc) -> None:
    """What the compiler writes for the target has the machine, width, byte order and floating-point ABI of the row."""
    source = tmp_path / "empty.c"
    source.write_text("int value;\n")
    environment = os.environ | {f"ZIG_{which}_CACHE_DIR": str(tmp_path / "zig") for which in ("LOCAL", "GLOBAL")}
    for row in TABLE:
        if libc not in row.zig_targets:
            continue
        library = tmp_path / f"{row.name}.so"
        compiler = (sys.executable, "-m", "ziglang", "cc", "-target", row.zig_targets[libc], *row.zig_flags)
        command = (*compiler, "-shared", "-nostdlib", str(source), "-o", str(library))
        subprocess.run(command, env=environment, check=True)
        assert read_machine(library.read_bytes()) == machine_of(row.name)


def test_no_other_module_lists_architectures() -> None:
    """A list is a module with at least two names that occur in no other context, such as `riscv64` and `mipsel`."""
    package = Path(fixtures.__file__).parent
    rare = re.compile(r"\b(?:riscv(?:32|64)|mips(?:el|64|64el)|powerpc(?:64|64le)?|loongarch64|s390x|armeb)\b")
    listing = {
        str(file.relative_to(package)): sorted(found)
        for file in package.rglob("*.py")
        if len(found := set(rare.findall(file.read_text()))) > 1
    }
    assert set(listing) == {"architectures.py"}
