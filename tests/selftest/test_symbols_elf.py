"""ELF files with impossible counts, sizes and offsets are refused in bounded time; sound ones are read whole."""

import io
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection
from elftools.elf.sections import NoteSection, SymbolTableSection
from symbols_build import build, calls, defines, nodes

from fixtures import limits
from fixtures.outcome import ProductError
from fixtures.stack.kernel import build_id
from fixtures.stack.symbols import elf_file, libraries
from fixtures.stack.symbols.elf import read_object
from fixtures.stack.symbols.elf_file import ElfFile, InvalidElf
from fixtures.stack.symbols.libraries import read_cache
from fixtures.stack.symbols.resolve import resolve

MAX_READ_TIME = 5.0
"""Time in which a file is read or refused, in seconds."""

HUGE = (0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)
"""Counts, sizes and addresses that no file of this size can have."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a shared object (x86_64) that needs and defines versions, with a build-id and both kinds of hash table."""
    folder = tmp_path_factory.mktemp("elf")
    flags = ("-nostdlib", "-Wl,--build-id=sha1", "-Wl,--hash-style=both")
    below = build(
        folder / "libbelow.so.1", defines("one", "two"), soname="libbelow.so.1", script=nodes(B_1=["one", "two"])
    )
    source = calls("one", "two") + defines("three")
    made = build(folder / "libsound.so", source, below, script=nodes(S_1=["three"], S_2=["calls_them"]), flags=flags)
    return made.read_bytes()


def find_dynamic(content: bytes) -> DynamicSegment:
    return next(part for part in ELFFile(io.BytesIO(content)).iter_segments() if isinstance(part, DynamicSegment))


def find_table(content: bytes, tag: str) -> int:
    offset = find_dynamic(content).get_table_offset(tag)[1]
    assert offset
    return offset


def write(content: bytes, offset: int, layout: str, *values: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(f"<{layout}", changed, offset, *values)
    return bytes(changed)


def set_tag(content: bytes, tag: str, value: int) -> bytes:
    """Return the file with another value of an entry in its dynamic segment."""
    dynamic = find_dynamic(content)
    number = next(n for n in range(dynamic.num_tags() or 0) if dynamic.get_tag(n)["d_tag"] == tag)
    return write(content, dynamic["p_offset"] + 16 * number + 8, "Q", value)


def without_sections(content: bytes) -> bytes:
    return write(write(content, 40, "Q", 0), 58, "3H", 0, 0, 0)  # e_shoff; e_shentsize, e_shnum, e_shstrndx


def append(content: bytes, data: bytes) -> tuple[bytes, int]:
    """Return the file with more data, and the address of that: a segment with all of it replaces the first one."""
    start, size = 1 << 40, len(content) + len(data)
    header = ELFFile(io.BytesIO(content))["e_phoff"]
    return write(content + data, header, "IIQQQQQQ", 1, 4, 0, start, start, size, size, 1), start + len(content)


def set_section(content: bytes, name: str, field: int, value: int) -> bytes:
    """Return the file with another value in a section's header. :param field: offset in the header, of eight bytes."""
    elf = ELFFile(io.BytesIO(content))
    return write(content, elf["e_shoff"] + 64 * (elf.get_section_index(name) or 0) + field, "Q", value)


def refusal(content: bytes) -> str:
    """Return why a file is refused; "" if it is read. Either takes less than MAX_READ_TIME."""
    started = time.monotonic()
    try:
        read_object("/lib/sound.so", content)
    except InvalidElf as error:
        assert str(error).startswith("not an ELF file that can be read: ")
        return str(error)
    finally:
        assert time.monotonic() - started < MAX_READ_TIME
    return ""


def test_sound_file_is_read_whole(sound: bytes) -> None:
    elf = read_object("/lib/sound.so", sound)
    assert {(each.name, each.version, each.library) for each in elf.imports} >= {
        ("one", "B_1", "libbelow.so.1"),
        ("two", "B_1", "libbelow.so.1"),
    }
    assert elf.version_definitions and {"S_1", "S_2"} <= elf.version_definitions
    assert [each.version for each in elf.exports["three"]] == ["S_1"]
    reference = ELFFile(io.BytesIO(sound))
    notes = [note for part in reference.iter_sections() if isinstance(part, NoteSection) for note in part.iter_notes()]
    assert [build_id(sound)] == [note["n_desc"] for note in notes if note["n_type"] == "NT_GNU_BUILD_ID"]


@pytest.mark.parametrize("table", ["DT_HASH", "DT_GNU_HASH", "neither"])
@pytest.mark.parametrize("sections", [True, False])
def test_number_of_symbols_needs_one_table_only(sound: bytes, table: str, sections: bool) -> None:
    whole = read_object("p", sound)
    bare = sound if sections else without_sections(sound)
    dynamic = find_dynamic(bare)
    for number in range(dynamic.num_tags() or 0):
        if dynamic.get_tag(number)["d_tag"] in {"DT_HASH", "DT_GNU_HASH"} - {table}:
            bare = write(bare, dynamic["p_offset"] + 16 * number, "Q", 0x6FFFFDF8)  # an unknown tag
    assert read_object("p", bare) == whole


COUNTS = ["DT_VERNEEDNUM", "DT_VERDEFNUM", "DT_PLTRELSZ"]
ADDRESSES = ["DT_STRTAB", "DT_SYMTAB", "DT_VERNEED", "DT_VERDEF", "DT_VERSYM", "DT_HASH", "DT_GNU_HASH", "DT_JMPREL"]
STRINGS = ["DT_NEEDED"]


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("tag", [*COUNTS, *ADDRESSES, *STRINGS])
def test_huge_value_in_the_dynamic_segment_is_refused(sound: bytes, tag: str, value: int) -> None:
    assert refusal(set_tag(sound, tag, value))


def test_number_of_version_needs_names_the_limit(sound: bytes) -> None:
    message = refusal(set_tag(sound, "DT_VERNEEDNUM", 0x7FFFFFFF))
    assert message.endswith(f"2147483647 version records, the limit is {limits.MAX_ELF_VERSIONS}")


def test_unending_version_chain_is_refused(sound: bytes) -> None:
    need = find_table(sound, "DT_VERNEED")
    assert refusal(write(sound, need + 2, "H", 0xFFFF))  # vn_cnt
    assert refusal(write(sound, need + 8, "I", 0xFFFFFFF0))  # vn_aux
    overlapping = write(set_tag(sound, "DT_VERNEEDNUM", limits.MAX_ELF_VERSIONS), need + 12, "I", 1)  # vn_next
    assert refusal(overlapping)


def test_chain_of_versions_ends_where_the_linker_ends_it(sound: bytes) -> None:
    """glibc ignores DT_VERNEEDNUM, and ends at vn_next = 0."""
    more = set_tag(sound, "DT_VERNEEDNUM", 7)
    assert read_object("p", more).version_needs == read_object("p", sound).version_needs


@pytest.mark.parametrize("value", [limits.MAX_ELF_SYMBOLS + 1, *HUGE[:2]])
def test_huge_hash_table_is_refused(sound: bytes, value: int) -> None:
    no_sections = without_sections(sound)
    above = f"{value} dynamic symbols, the limit is {limits.MAX_ELF_SYMBOLS}"
    assert refusal(write(no_sections, find_table(sound, "DT_HASH") + 4, "I", value)).endswith(above)
    dynamic = find_dynamic(sound)
    numbers = {dynamic.get_tag(number)["d_tag"]: number for number in range(dynamic.num_tags() or 0)}
    gnu_only = write(no_sections, dynamic["p_offset"] + 16 * numbers["DT_HASH"], "Q", 0x6FFFFDF8)
    table = find_table(sound, "DT_GNU_HASH")
    for field in (0, 4, 8):  # buckets, the first symbol, size of the Bloom filter
        assert refusal(write(gnu_only, table + field, "I", value))
    buckets, _, bloom_size, _ = struct.unpack_from("<4I", sound, table)
    assert f"{value} hash buckets, the limit is {limits.MAX_ELF_SYMBOLS}" in refusal(write(gnu_only, table, "I", value))
    largest = write(gnu_only, table + 16 + 8 * bloom_size, f"{buckets}I", *[value] * buckets)
    assert refusal(largest).endswith(above)


@pytest.mark.parametrize("value", [0, 1, *HUGE])
def test_impossible_section_of_symbols_is_refused(sound: bytes, value: int) -> None:
    assert refusal(set_section(sound, ".dynsym", 56, value))  # sh_entsize
    if value > 1:
        assert refusal(set_section(sound, ".dynsym", 32, value))  # sh_size


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [(32, "Q", 1 << 63), (40, "Q", 1 << 63), (54, "H", 0), (54, "H", 57), (56, "H", 0xFFFF), (58, "H", 1)],
    ids=["e_phoff", "e_shoff", "e_phentsize 0", "e_phentsize 57", "e_phnum", "e_shentsize"],
)
def test_impossible_header_is_refused(sound: bytes, offset: int, layout: str, value: int) -> None:
    assert refusal(write(sound, offset, layout, value))


def test_dynamic_segment_without_an_end_is_refused(sound: bytes) -> None:
    dynamic = find_dynamic(sound)
    start, count = dynamic["p_offset"], dynamic["p_filesz"] // 16
    assert refusal(write(sound, start, f"{2 * count}Q", *[1, 1] * count))


def test_longest_text_is_read_and_a_longer_one_refused(sound: bytes) -> None:
    longest = "x" * limits.MAX_ELF_STRING
    elf, start = ElfFile(sound + f"x{longest}\0".encode()), len(sound)
    assert elf.string(start + 1) == longest
    with pytest.raises(InvalidElf, match=rf"does not end within {limits.MAX_ELF_STRING} bytes"):
        elf.string(start)


def test_names_that_overlap_are_refused_in_total(sound: bytes) -> None:
    """Each of 60,000 symbols has the same long name: 240 MB from a file of 1.5 MB."""
    count, name = 60_000, b"n" * 4000 + b"\0"
    symbols = struct.pack("<IBBHQQ", 1, 0x12, 0, 0, 0, 0) * count
    grown, start = append(sound, name + struct.pack("<II", 1, count) + symbols)
    for tag, at in (("DT_STRTAB", 0), ("DT_HASH", len(name)), ("DT_SYMTAB", len(name) + 8)):
        grown = set_tag(grown, tag, start + at)
    assert f"bytes in names, the limit is {limits.MAX_ELF_STRINGS}" in refusal(without_sections(grown))


def count_versions(elf: ELFFile) -> int:
    section = elf.get_section_by_name(".gnu.version_d")
    assert isinstance(section, GNUVerDefSection)
    return int(section.num_versions())


def count_symbols(elf: ELFFile) -> int:
    section = elf.get_section_by_name(".dynsym")
    assert isinstance(section, SymbolTableSection)
    return int(section.num_symbols())


@pytest.mark.parametrize(
    ("limit", "what", "count"),
    [
        ("elf_file.MAX_ELF_SEGMENTS", "program headers", ELFFile.num_segments),
        (
            "elf_file.MAX_ELF_TAGS",
            "entries in the dynamic segment",
            lambda elf: find_dynamic(elf.stream.getvalue()).num_tags() - 1,  # type: ignore[operator]  # no DT_NULL
        ),
        ("elf.MAX_ELF_SYMBOLS", "dynamic symbols", count_symbols),
        ("elf.MAX_ELF_VERSIONS", "version records", count_versions),
    ],
)
def test_file_at_a_limit_is_read_and_one_above_it_refused(
    sound: bytes, monkeypatch: pytest.MonkeyPatch, limit: str, what: str, count: Callable[[ELFFile], int]
) -> None:
    number = count(ELFFile(io.BytesIO(sound)))
    monkeypatch.setattr(f"fixtures.stack.symbols.{limit}", number)
    assert refusal(sound) == ""
    monkeypatch.setattr(f"fixtures.stack.symbols.{limit}", number - 1)
    assert refusal(sound).endswith(f": {number} {what}, the limit is {number - 1}")


def test_needed_versions_are_limited_in_total(sound: bytes) -> None:
    """Two libraries share a chain of as many versions as one may have."""
    most = limits.MAX_ELF_VERSIONS
    libraries_of_chain = struct.pack("<HHIIIHHIII", 1, most, 1, 32, 16, 1, most, 1, 16, 0)
    versions = struct.pack("<IHHII", 0, 0, 2, 1, 16) * (most - 1) + struct.pack("<IHHII", 0, 0, 2, 1, 0)
    grown, start = append(sound, libraries_of_chain + versions)
    one = set_tag(grown, "DT_VERNEED", start)
    assert len(read_object("p", one).version_needs) == most
    assert refusal(set_tag(one, "DT_VERNEEDNUM", 2)).endswith(
        f": {most + 1} versions that it needs, the limit is {most}"
    )


def test_long_build_id_is_a_product_failure(sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf_file, "MAX_ELF_STRING", 19)
    with pytest.raises(ProductError, match=r"20 bytes in a build-id, the limit is 19"):
        build_id(sound)


def test_repeated_folders_and_libraries_count_once(sound: bytes) -> None:
    """A path of a million folders that are all the same would be searched for each of thousands of libraries."""
    grown, start = append(sound, b"/a:/b/:/a//:" * 300 + b"\0")
    dynamic = find_dynamic(grown)
    tags = {dynamic.get_tag(number)["d_tag"]: number for number in range(dynamic.num_tags() or 0)}
    spare = dynamic["p_offset"] + 16 * tags["DT_HASH"]
    path = start - (1 << 40) - find_table(sound, "DT_STRTAB")
    assert read_object("p", write(grown, spare, "QQ", 15, path)).rpath == ("/a", "/b")  # DT_RPATH
    assert read_object("p", write(grown, spare, "QQ", 29, path)).runpath == ("/a", "/b")  # DT_RUNPATH
    needed = dynamic.get_tag(tags["DT_NEEDED"])["d_val"]
    assert read_object("p", write(grown, spare, "QQ", 1, needed)).needed == ("libbelow.so.1",)  # DT_NEEDED


def test_many_definitions_of_one_symbol_are_refused(sound: bytes) -> None:
    """A lookup compares each version of a symbol: 30,000 imports of 30,000 definitions take minutes."""
    count = 60_000
    symbols = struct.pack("<IBBHQQ", 1, 0x12, 0, 1, 1, 0) * count
    grown, start = append(sound, b"\0name\0\0\0" + struct.pack("<II", 1, count) + symbols)
    for tag, at in (("DT_STRTAB", 0), ("DT_HASH", 8), ("DT_SYMTAB", 16)):
        grown = set_tag(grown, tag, start + at)
    most = limits.MAX_ELF_DEFINITIONS
    assert f"{most + 1} definitions of one symbol, the limit is {most}" in refusal(without_sections(grown))


def test_many_folders_and_libraries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = limits.MAX_ELF_FOLDERS
    flags = ("-nostdlib", f"-Wl,-rpath,{':'.join(f'/{number}' for number in range(most + 1))}")
    below = build(tmp_path / "libbelow.so", defines("f"), soname="libbelow.so")
    content = build(tmp_path / "lib.so", calls("f"), below, flags=flags).read_bytes()
    assert f"{most + 1} folders to search, the limit is {most}" in refusal(content)
    monkeypatch.setattr("fixtures.stack.symbols.elf.MAX_LIBRARIES", 0)
    assert "1 libraries that it needs, the limit is 0" in refusal(content)


@pytest.mark.parametrize("field", [0, 4])
@pytest.mark.parametrize("value", HUGE[:2])
def test_note_that_is_too_large_is_a_product_failure(sound: bytes, field: int, value: int) -> None:
    note = sound.index(b"GNU\0", sound.index(struct.pack("<III", 4, 20, 3))) - 12
    with pytest.raises(ProductError, match=r"not an ELF file that can be read: a note of \d+ and \d+ bytes is larger"):
        build_id(write(sound, note + field, "I", value))


def test_endless_notes_are_a_product_failure(sound: bytes) -> None:
    notes = struct.pack("<III", 0, 0, 9) * 100_000
    header = ELFFile(io.BytesIO(sound))["e_phoff"]
    grown = write(sound + notes, header, "IIQQQQQQ", 4, 4, len(sound), 0, 0, len(notes), len(notes), 4)
    with pytest.raises(ProductError, match=rf"{limits.MAX_ELF_NOTES + 1} notes, the limit is {limits.MAX_ELF_NOTES}$"):
        build_id(grown)


def test_mutated_files_are_read_or_refused(sound: bytes) -> None:
    rng = random.Random(17)
    boundaries = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1)
    for _ in range(3000):
        changed = bytearray(sound)
        for _ in range(rng.randint(1, 4)):
            size, layout = rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
            at = rng.randrange(rng.choice((64, 600, len(changed))) - 8)
            struct.pack_into(f"<{layout}", changed, at, rng.choice(boundaries) & ((1 << 8 * size) - 1))
        content = bytes(changed[: rng.choice((len(changed), len(changed), rng.randrange(len(changed))))])
        refusal(content)
        try:
            build_id(content)
        except ProductError as error:
            assert str(error).startswith("not an ELF file that can be read: ")


def resolve_alone(content: bytes, fetch: Callable[[str], bytes | None]) -> list[str]:
    resolution = resolve("/e/engine.so", content, fetch, architecture="x86_64", libc="glibc", program="/e/engine.so")
    return [problem.text for problem in resolution.problems]


def test_many_missing_symbols_are_reported_in_linear_time(tmp_path: Path) -> None:
    names = [f"missing_{number}" for number in range(10_000)]
    engine = build(tmp_path / "engine.so", calls(*names)).read_bytes()
    started = time.monotonic()
    texts = resolve_alone(engine, lambda path: engine if path == "/e/engine.so" else None)
    assert sum("undefined symbol: missing_" in text for text in texts) >= len(names)
    assert time.monotonic() - started < 4 * MAX_READ_TIME


def test_number_of_searched_paths_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "MAX_LIBRARY_SEARCHES", 20)
    below = [build(tmp_path / f"lib{n}.so", defines(f"f{n}"), soname=f"lib{n}.so") for n in range(9)]
    engine = build(tmp_path / "engine.so", calls(*[f"f{n}" for n in range(9)]), *below).read_bytes()
    with pytest.raises(ProductError, match=r"at 20 paths, which is the limit; the next one is '/"):
        resolve_alone(engine, lambda path: engine if path == "/e/engine.so" else None)


def test_number_of_loaded_objects_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each library needs another one, as on a board that makes them up."""
    monkeypatch.setattr("fixtures.stack.symbols.resolve.MAX_LIBRARIES", 10)
    below = build(tmp_path / "libX000.so", defines("f"), soname="libX000.so")
    template = build(tmp_path / "t.so", calls("f"), below).read_bytes()

    def fetch(path: str) -> bytes | None:
        name = path.rpartition("/")[2]
        if path == "/e/engine.so":
            return template
        return template.replace(b"libX000", b"libX%03d" % (int(name[4:7]) + 1)) if name.startswith("libX") else None

    with pytest.raises(ProductError, match="depend on more than 10 objects, which is the limit"):
        resolve_alone(template, fetch)


@pytest.mark.parametrize(
    ("place", "limit", "message"),
    [
        ("libraries.MAX_RESOLVED_SIZE", 5000, "more than 5,000 bytes, the limit MAX_RESOLVED_SIZE"),
        ("resolve.MAX_RESOLVED_SYMBOLS", 3, "depend on more than 3 dynamic symbols, which is the limit"),
        ("resolve.MAX_LINK_PROBLEMS", 1, "more than 1 problems, the limit MAX_LINK_PROBLEMS"),
    ],
)
def test_sum_over_all_objects_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, limit: int, message: str
) -> None:
    engine = build(tmp_path / "engine.so", calls("one", "two", "three")).read_bytes()
    monkeypatch.setattr(f"fixtures.stack.symbols.{place}", limit)
    with pytest.raises(ProductError, match=message):
        resolve_alone(engine, lambda _path: engine + bytes(5000))


def linker_cache(count: int, name: bytes, path: bytes, order: str = "<") -> bytes:
    """Return /etc/ld.so.cache with a number of entries that share their name and path."""
    texts = 48 + 24 * count
    header = b"glibc-ld.so.cache1.1" + struct.pack(f"{order}I24x", count)
    entry = struct.pack(f"{order}iIIIQ", 1, texts, texts + len(name) + 1, 0, 0)
    return header + entry * count + name + b"\0" + path + b"\0"


@pytest.mark.parametrize("order", ["<", ">"])
def test_linker_cache_with_too_many_entries_is_a_product_failure(order: str) -> None:
    most = limits.MAX_LIBRARY_CACHE
    assert len(read_cache(linker_cache(most, b"x", b"x", order), order == "<")["x"]) == most
    with pytest.raises(ProductError, match=rf"^/etc/ld\.so\.cache: {most + 1} entries, the limit is {most}$"):
        read_cache(linker_cache(most + 1, b"x", b"x", order), order == "<")


def test_names_of_the_linker_cache_are_limited() -> None:
    longest = b"n" * limits.MAX_ELF_STRING
    assert read_cache(linker_cache(9, longest, longest), True) == {longest.decode(): [longest.decode()] * 9}
    assert read_cache(linker_cache(9, longest + b"n", longest), True) == {}  # as if the file ended there
    with pytest.raises(ProductError, match=rf"\.cache: more than {limits.MAX_ELF_STRINGS} bytes in names and paths$"):
        read_cache(linker_cache(limits.MAX_LIBRARY_CACHE, longest, longest), True)


def test_linker_cache_is_not_fetched_for_a_library_of_the_search_path(tmp_path: Path) -> None:
    below = build(tmp_path / "libbelow.so", defines("f"), soname="libbelow.so")
    flags = ("-nostdlib", "-Wl,-rpath,/own")
    engine = build(tmp_path / "engine.so", calls("f"), below, flags=flags).read_bytes()
    files = {"/e/engine.so": engine, "/own/libbelow.so": below.read_bytes()}
    fetched = []

    def fetch(path: str) -> bytes | None:
        fetched.append(path)
        return files.get(path)

    resolve_alone(engine, fetch)
    assert "/own/libbelow.so" in fetched and "/etc/ld.so.cache" not in fetched


def test_path_that_the_linker_cache_repeats_is_tried_once(tmp_path: Path) -> None:
    below = build(tmp_path / "libbelow.so", defines("f"), soname="libbelow.so")
    engine = build(tmp_path / "engine.so", calls("f"), below).read_bytes()
    cache = linker_cache(50_000, b"libbelow.so", b"/other")
    files = {"/e/engine.so": engine, "/etc/ld.so.cache": cache, "/other": engine[:18] + b"\x28" + engine[19:]}
    found = [text for text in resolve_alone(engine, files.get) if text.startswith("/other: it is for")]
    assert len(found) == 2  # for the engine, and for the program, which is the same file
