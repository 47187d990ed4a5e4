"""Do the faults plant what they say, and complain where there is nothing to plant them in?"""

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from symbols_build import build, calls

from fixtures.virt.faults import ENGINE, FAULTS, OPENSSL_CNF, Fault, edited, listing
from fixtures.virt.image import ROOTFS
from fixtures.virt.layout import ENGINES
from fixtures.virt.mends import MENDS, edits_for

MODULE = "usr/lib/modules/6.1.0-56-arm64/extra/cryptodev.ko"
LAYERS = {"openssl", "engine", "cryptodev", "kernel", "driver"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared object that imports what the real engine does."""
    return build(tmp_path_factory.mktemp("engine") / "devcrypto.so", calls("ERR_new", "ERR_set_debug", "ERR_set_error"))


@pytest.fixture
def root(tmp_path: Path, engine: Path) -> Path:
    """The tree of an image: the real files of the board, and what is built put where it goes."""
    root = tmp_path / "root"
    shutil.copytree(ROOTFS, root)
    (root / ENGINES).mkdir(parents=True)
    shutil.copy(engine, root / ENGINES)
    (root / MODULE).parent.mkdir(parents=True)
    (root / MODULE).write_text("module")
    return root


def imports(file: Path) -> set[str]:
    """The names that a shared object wants from others."""
    with file.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".dynsym")
        assert isinstance(symbols, SymbolTableSection)
        return {symbol.name for symbol in symbols.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}


def changed(before: Path, after: Path) -> list[str]:
    """The files that differ between two trees."""
    names = {str(path.relative_to(tree)) for tree in (before, after) for path in tree.rglob("*") if path.is_file()}
    return sorted(name for name in names if content(before / name) != content(after / name))


def content(file: Path) -> bytes | None:
    """What is in a file; None if there is none."""
    return file.read_bytes() if file.exists() else None


def planted(root: Path, name: str) -> list[str]:
    """Plant a fault; returns what it changed."""
    before = root.with_name("before")
    shutil.copytree(root, before)
    FAULTS[name].plant(root)
    return changed(before, root)


def test_the_engine_that_offers_nothing(root: Path) -> None:
    assert planted(root, "engine/offers-nothing") == [OPENSSL_CNF]
    text = (root / OPENSSL_CNF).read_text()
    assert "CIPHERS = NONE\n" in text
    assert "CIPHERS = ALL" not in text


def test_the_engine_with_a_symbol_that_nobody_has(root: Path) -> None:
    before = imports(root / ENGINES / "devcrypto.so")
    assert planted(root, "engine/import-missing") == [f"{ENGINES}/devcrypto.so"]
    after = imports(root / ENGINES / "devcrypto.so")
    assert before - after == {"ERR_set_debug"}
    assert len(after - before) == 1


def test_the_module_that_is_not_there(root: Path) -> None:
    assert planted(root, "cryptodev/absent") == [MODULE]
    assert not (root / MODULE).exists()


@pytest.mark.parametrize("name", ["engine/offers-nothing", "engine/import-missing", "cryptodev/absent"])
def test_a_fault_that_is_planted_already_cannot_be_planted_again(root: Path, name: str) -> None:
    """Else a fault that has nothing to bite on, after a change of the image, would give a board that is not bad."""
    FAULTS[name].plant(root)
    with pytest.raises((ValueError, StopIteration)):
        FAULTS[name].plant(root)


def test_every_mend_is_left_out_by_one_fault_and_made_by_all_others() -> None:
    left_out = [name for fault in FAULTS.values() for name in fault.unmended]
    assert sorted(left_out) == sorted(MENDS)
    for fault in FAULTS.values():
        for name, edits in MENDS.items():
            assert (name in fault.unmended) != (set(edits) <= set(edits_for(fault)))


def test_any_mend_may_be_left_out(tmp_path: Path) -> None:
    """No mend looks for the text of one that may be left out. Tried on a source that has all that they look for."""
    source = "\n".join(dict.fromkeys(edit.old for edits in MENDS.values() for edit in edits))
    for missing in (None, *MENDS):
        (tmp_path / ENGINE).write_text(source)
        edited(tmp_path, edits_for(Fault("engine/x", "", unmended=(missing,)) if missing else None))
    with pytest.raises(ValueError, match="is not there"):
        edited(tmp_path, edits_for(None))


def test_every_fault_is_listed_with_its_layer_and_what_it_does() -> None:
    lines = listing().splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    for line in lines:
        name, _, what = line.partition(" ")
        assert name.count("/") == 1
        assert name.split("/")[0] in LAYERS
        assert len(what.strip()) > 10
    assert len({line.index(line.split(maxsplit=1)[1]) for line in lines}) == 1, "the columns do not line up"
