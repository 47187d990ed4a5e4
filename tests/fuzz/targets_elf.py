"""ELF files of a board: objects with their tables, the resolution of an engine, the build-id, the linker's cache."""

import io
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from campaign import Target
from elftools.elf.elffile import ELFFile
from hypothesis.strategies import SearchStrategy
from mutation import mutated_binary

from fixtures import cache as builds
from fixtures.outcome import ProductError
from fixtures.stack.kernel import build_id
from fixtures.stack.symbols.elf import read_object
from fixtures.stack.symbols.elf_file import InvalidElf
from fixtures.stack.symbols.libraries import read_cache
from fixtures.stack.symbols.resolve import resolve

LIBRARY, ENGINE, PROGRAM = "/lib/libcrypto.so.3", "/lib/engines/devcrypto.so", "/usr/bin/openssl"
TARGET_TRIPLES = ("x86_64-linux-gnu", "arm-linux-gnueabihf")
MAX_SYMBOL_SHARE = 4
"""Bytes of a file for each symbol or version that it can have at the very most."""
SHOWN_ENTRIES = 24
"""Entries of a table in which numbers are changed."""


def _build(folder: Path) -> None:
    """Build a library with version nodes, an engine that needs it, and a program."""
    from symbols_build import build, calls, nodes

    names = ("EVP_MD_get_size", "ENGINE_set_id")
    for triple in TARGET_TRIPLES:
        place = folder / triple
        library = build(
            place / LIBRARY.lstrip("/"), "".join(f"int {name}(void) {{ return 1; }}\n" for name in names),
            target=triple, soname="libcrypto.so.3", script=nodes(OPENSSL_3__0__0=list(names), OPENSSL_3__0__1=[]),
            flags=("-nostdlib", "-Wl,--build-id=sha1"),
        )  # fmt: skip
        for path, soname in ((ENGINE, "devcrypto.so"), (PROGRAM, "openssl")):
            build(place / path.lstrip("/"), calls(*names), library, target=triple, soname=soname)


@cache
def _objects(triple: str) -> dict[str, bytes]:
    """Return the files of a board by their paths. They are built once, and kept in the cache."""
    key = builds.compute_key([Path(__file__)])
    folder = builds.get_or_build("fuzz-elf", key, _build) / triple
    return {path: (folder / path.lstrip("/")).read_bytes() for path in (LIBRARY, ENGINE, PROGRAM)}


def fields(data: bytes) -> list[range]:
    """Return where the headers and tables of an ELF file are."""
    elf = ELFFile(io.BytesIO(data))
    found = [range(16, int(elf["e_ehsize"]))]
    found.append(range(int(elf["e_phoff"]), int(elf["e_phoff"]) + int(elf["e_phnum"]) * int(elf["e_phentsize"])))
    found.append(range(int(elf["e_shoff"]), int(elf["e_shoff"]) + int(elf["e_shnum"]) * int(elf["e_shentsize"])))
    for section in elf.iter_sections():
        if section["sh_type"] not in ("SHT_NULL", "SHT_PROGBITS", "SHT_NOBITS", "SHT_STRTAB"):
            start, size = int(section["sh_offset"]), int(section["sh_size"])
            found.append(range(start, start + min(size, SHOWN_ENTRIES * max(8, int(section["sh_entsize"])))))
    return found


def _mutated_elf(seeds: Sequence[bytes]) -> SearchStrategy[bytes]:
    places = sorted({offset for seed in seeds for part in fields(seed) for offset in part})
    return mutated_binary(seeds, places)


def objects() -> SearchStrategy[bytes]:
    """Return mutated shared objects of 64 and 32 bits."""
    return _mutated_elf([data for triple in TARGET_TRIPLES for data in _objects(triple).values()])


def run_object(data: bytes) -> str:
    """Read a shared object."""
    found = read_object(ENGINE, data)
    exports = sum(map(len, found.exports.values()))
    if max(exports, len(found.imports), len(found.version_needs)) * MAX_SYMBOL_SHARE > len(data):
        return "more symbols or versions than the file can hold"
    return ""


def run_build_id(data: bytes) -> str:
    """Read the build-id."""
    found = build_id(data)
    return "" if not found or len(found) <= 128 else "a build-id of more than 64 bytes"


def libraries() -> SearchStrategy[bytes]:
    """Return mutated libraries that an engine and a program need."""
    return _mutated_elf([_objects(TARGET_TRIPLES[0])[LIBRARY]])


def run_resolve(data: bytes) -> str:
    """Resolve an engine that needs a mutated library, and a mutated engine."""
    files = _objects(TARGET_TRIPLES[0])
    for path in (LIBRARY, ENGINE):
        found = {**files, path: data}
        resolve(ENGINE, found[ENGINE], found.get, architecture="x86_64", libc="glibc", folders=("/lib",))
    return ""


def caches() -> SearchStrategy[bytes]:
    """Return mutated caches of the dynamic linker."""
    strings = b"libcrypto.so.3\0/lib/libcrypto.so.3\0"
    at = 48 + 24
    entry = struct.pack("<iIIIQ", 0x303, at, at + 15, 0, 0)
    return mutated_binary([b"glibc-ld.so.cache1.1" + struct.pack("<II", 1, len(strings)) + bytes(20) + entry + strings])


def run_cache(data: bytes) -> str:
    """Read a cache of the dynamic linker."""
    found = read_cache(data, little_endian=True)
    return "more entries than the file can hold" if sum(map(len, found.values())) * 24 > len(data) else ""


TARGETS = (
    Target("elf-object", objects, run_object, (InvalidElf, ProductError)),
    Target("elf-build-id", objects, run_build_id, (ProductError,)),
    Target("elf-resolve", libraries, run_resolve, (ProductError,)),
    Target("ld-cache", caches, run_cache, (ProductError,)),
)
