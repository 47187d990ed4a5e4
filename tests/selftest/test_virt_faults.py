"""Do the faults plant what they say, and complain where there is nothing to plant them in?"""

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from symbols_build import build, calls

from fixtures.virt.faults import ENGINE, FAULTS, OPENSSL_CNF, Edit, Fault, edited, listing
from fixtures.virt.faults import MODULE as MODULE_C
from fixtures.virt.image import ROOTFS
from fixtures.virt.layout import ENGINES, LIBRARIES
from fixtures.virt.mends import MENDS, edits_for

VIRT = ROOTFS.parent

KERNEL = "usr/lib/modules/6.1.0-56-arm64"
MODULE = f"{KERNEL}/extra/cryptodev.ko"
SHARED = f"{ENGINES}/devcrypto.so"
LIBCRYPTO = f"{LIBRARIES}/libcrypto.so.3"
DRIVER = f"{KERNEL}/kernel/drivers/crypto/virtio/virtio_crypto.ko"
IN_KERNEL = {name: f"{KERNEL}/kernel/crypto/{name}.ko" for name in ("af_alg", "algif_hash", "algif_skcipher", "ctr")}
LAYERS = {"openssl", "engine", "cryptodev", "kernel", "driver"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared object that imports what the real engine does."""
    built = build(
        tmp_path_factory.mktemp("engine") / "devcrypto.so", calls("ERR_new", "ERR_set_debug", "ERR_set_error")
    )
    content = bytearray(built.read_bytes())
    content[18:20] = b"\xb7\0"  # the host's compiler built it; the board's would have said EM_AARCH64
    built.write_bytes(content + b"\0OPENSSL_3.0.0\0libcrypto.so.3\0")
    return built


@pytest.fixture
def root(tmp_path: Path, engine: Path) -> Path:
    """The tree of an image: the real files of the board, and what is built put where it goes."""
    root = tmp_path / "root"
    shutil.copytree(ROOTFS, root)
    (root / ENGINES).mkdir(parents=True)
    shutil.copy(engine, root / ENGINES)
    (root / MODULE).parent.mkdir(parents=True)
    # Of the files that a build of the real thing brings, what the faults look for in them.
    (root / MODULE).write_bytes(b"\x7fELF \0misc_register\0 12345678module_layout\0")
    (root / LIBCRYPTO).write_bytes(b"\x7fELF " + bytes.fromhex("22ae28d7982f8a42"))
    for name in (DRIVER, *IN_KERNEL.values()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x7fELF \0virtio_crypto_aes_cbc\0 ~Module signature appended~\n")
    return root


PLANTED = {
    "openssl/sha512-constant": [LIBCRYPTO],
    "engine/absent": [SHARED],
    "engine/wrong-machine": [SHARED],
    "engine/import-missing": [SHARED],
    "engine/version-missing": [SHARED],
    "engine/library-missing": [SHARED],
    "engine/other-major": [SHARED],
    "engine/offers-nothing": [OPENSSL_CNF],
    "engine/refuses-soft-drivers": [OPENSSL_CNF],
    "engine/not-configured": [OPENSSL_CNF],
    "cryptodev/absent": [MODULE],
    "cryptodev/unknown-symbol": [MODULE],
    "cryptodev/other-kernel": [MODULE],
    "kernel/cpu-outranks": ["etc/rc"],
    "kernel/no-afalg": [IN_KERNEL[name] for name in ("af_alg", "algif_hash", "algif_skcipher")],
    "kernel/no-hash-sockets": [IN_KERNEL["algif_hash"]],
    "kernel/no-ctr": [IN_KERNEL["ctr"]],
    "driver/absent": [DRIVER],
    "driver/unbound": ["etc/rc"],
    "driver/selftest-failed": ["etc/rc", DRIVER],
    "driver/one-in-1000": ["etc/rc", DRIVER],
    "driver/slow": ["etc/rc", DRIVER],
    "driver/software-fallback": ["etc/rc", DRIVER],
    "driver/interrupts-lost": ["etc/rc"],
}
"""What each fault changes in the tree of the image."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_what_it_says_and_nothing_else(root: Path, name: str) -> None:
    """In the tree, in a source file that is built, or in the machine; and each finds its place there."""
    fault = FAULTS[name]
    assert planted(root, name) == PLANTED.get(name, [])
    assert name in PLANTED or fault.edits or fault.unmended or fault.no_accelerator, "it changes nothing"
    assert not fault.own_modules or all((VIRT / module / "Kbuild").exists() for module in fault.own_modules)


@pytest.mark.parametrize(
    "name", [name for name, fault in FAULTS.items() if any(e.file == MODULE_C for e in fault.edits)]
)
def test_an_edit_finds_its_place_in_the_module(tmp_path: Path, name: str) -> None:
    """The engine's source is a package of Debian's: there, the build says it."""
    edits = tuple(edit for edit in FAULTS[name].edits if edit.file == MODULE_C)
    shutil.copy(VIRT / "cryptodev" / MODULE_C, tmp_path)
    edited(tmp_path, edits)
    assert (tmp_path / MODULE_C).read_text() != (VIRT / "cryptodev" / MODULE_C).read_text()
    with pytest.raises(ValueError, match="is not there"):
        edited(tmp_path, (Edit(MODULE_C, "no such text in it", ""),))


def test_the_engine_for_openssl_1_1(root: Path) -> None:
    planted(root, "engine/other-major")
    with (root / SHARED).open("rb") as stream:
        elf = ELFFile(stream)
        assert elf["e_machine"] == "EM_AARCH64"
        assert b"\0libcrypto.so.1.1\0" in (root / SHARED).read_bytes()
    assert b"OPENSSL_1_1_0\0" in (root / SHARED).read_bytes()


def test_the_driver_behind_the_shim_has_its_own_name_and_no_signature(root: Path) -> None:
    planted(root, "driver/slow")
    assert b"\0virtio_crypto_behind_\0" in (root / DRIVER).read_bytes()
    assert b"signature" not in (root / DRIVER).read_bytes()
    assert "\nmodprobe shim name=virtio_crypto_aes_cbc inner=virtio_crypto_behind_;" in (root / "etc/rc").read_text()


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
