"""The probe's C sources: each header compiles alone, and only the signal handler has mutable static state."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from fixtures.probe.build import COMPILE_FLAGS, SOURCES

HEADERS = sorted(path.name for path in SOURCES.glob("*.h"))
FLAGS = [flag for flag in COMPILE_FLAGS if flag != "-s"]
MAX_LINES = 400
"""Maximum number of lines of a source file."""

SIGNAL_STATE = {"handler_report", "handler_progress", "stack"}
"""The only objects of static storage that change: those of the signal handler, in fatal_signals.c."""


def compile_c(folder: Path, sources: Sequence[Path], *flags: str) -> subprocess.CompletedProcess[bytes]:
    """Compile into one object ``all.o``, with the build's own flags; headers are those of the probe."""
    environment = os.environ | {"ZIG_LOCAL_CACHE_DIR": str(folder / "zig"), "ZIG_GLOBAL_CACHE_DIR": str(folder / "zig")}
    command = (sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu.2.28", *FLAGS, *flags)
    return subprocess.run(
        (*command, "-c", f"-I{SOURCES}", *map(str, sources), "-o", "all.o"),
        cwd=folder, env=environment, capture_output=True, timeout=300, check=False,
    )  # fmt: skip


def write_includes(folder: Path, name: str, headers: Sequence[str]) -> Path:
    source = folder / f"{name}.c"
    source.write_text("".join(f'#include "{header}"\n' for header in headers))
    return source


def test_every_header_compiles_alone_and_all_of_them_in_any_order(tmp_path: Path) -> None:
    sources = [write_includes(tmp_path, f"only_{header}", [header]) for header in HEADERS]
    sources.append(write_includes(tmp_path, "all", HEADERS))
    sources.append(write_includes(tmp_path, "all_reversed", HEADERS[::-1]))
    sources.append(write_includes(tmp_path, "all_twice", HEADERS * 2))
    done = compile_c(tmp_path, sources)
    assert done.returncode == 0, done.stderr.decode()


def test_header_that_needs_another_before_it_does_not_compile(tmp_path: Path) -> None:
    (tmp_path / "needy.h").write_text("bool needs_stdbool(void);\n")
    done = compile_c(tmp_path, [write_includes(tmp_path, "needy", ["needy.h"])], f"-I{tmp_path}")
    assert b"unknown type name 'bool'" in done.stderr


def test_no_header_holds_code_that_is_not_inline() -> None:
    for header in HEADERS:
        text = (SOURCES / header).read_text()
        assert not re.findall(r"^static (?!inline)", text, re.MULTILINE), header


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.[ch]")), ids=lambda path: path.name)
def test_no_source_exceeds_the_line_limit(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def writable_variables(path: Path) -> set[str]:
    """Return the variables of an object file that are in sections which the program may write."""
    found = set()
    with path.open("rb") as file:
        elf = ELFFile(file)
        for section in elf.iter_sections(type="SHT_SYMTAB"):
            assert isinstance(section, SymbolTableSection)
            for symbol in section.iter_symbols():
                if symbol["st_info"]["type"] != "STT_OBJECT" or not isinstance(symbol["st_shndx"], int):
                    continue
                owner = elf.get_section(symbol["st_shndx"])
                if owner["sh_flags"] & 1 and ".rel.ro" not in owner.name:  # SHF_WRITE; constant pointers are relocated
                    found.add(symbol.name.split(".")[-1])
    return found


def test_only_the_signal_handler_has_state_of_static_storage(tmp_path: Path) -> None:
    done = compile_c(tmp_path, sorted(SOURCES.glob("*.c")))
    assert done.returncode == 0, done.stderr.decode()
    assert writable_variables(tmp_path / "all.o") == SIGNAL_STATE


def test_static_variable_that_changes_is_detected(tmp_path: Path) -> None:
    source = tmp_path / "counting.c"
    source.write_text("int count(void);\nint count(void)\n{\n    static int calls;\n    return ++calls;\n}\n")
    done = compile_c(tmp_path, [source])
    assert done.returncode == 0, done.stderr.decode()
    assert writable_variables(tmp_path / "all.o") == {"calls"}


def test_no_name_is_both_a_type_and_a_function_or_a_variable() -> None:
    text = "\n".join(path.read_text() for path in sorted(SOURCES.glob("*.[ch]")))
    types = set(re.findall(r"^(?:struct|enum|union) (\w+) \{", text, re.MULTILINE))
    functions = set(re.findall(r"^(?:[\w*]+ )+\**(\w+)\([^;]*?\)\n\{", text, re.MULTILINE))
    variables = set(re.findall(r"^(?:extern |static )?const struct \w+ (?:\*const )?(\w+)", text, re.MULTILINE))
    assert len(types) > 20 and len(functions) > 200 and len(variables) > 5
    assert not types & (functions | variables)
