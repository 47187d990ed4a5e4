"""Do the faults change what they are meant to change, and fail if there is nothing to change?"""

import shutil
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from symbols_build import build, calls

from fixtures.virt.caam.faults import ARM_OFFSET
from fixtures.virt.caam.faults import FAULTS as MODEL
from fixtures.virt.debian import run
from fixtures.virt.engine_patches import PATCHES
from fixtures.virt.faults import FAULTS, OPENSSL_CNF, listing
from fixtures.virt.image import ROOTFS
from fixtures.virt.layout import ENGINES, LIBRARIES
from fixtures.virt.machine_types import MACHINE_TYPES

VIRT = ROOTFS.parent

KERNEL = "usr/lib/modules/6.1.0-56-arm64"
MODULE = f"{KERNEL}/extra/cryptodev.ko"
SHARED = f"{ENGINES}/devcrypto.so"
LIBCRYPTO = f"{LIBRARIES}/libcrypto.so.3"
DRIVER = f"{KERNEL}/kernel/drivers/crypto/virtio/virtio_crypto.ko"
IN_KERNEL = {name: f"{KERNEL}/kernel/crypto/{name}.ko" for name in ("af_alg", "algif_hash", "algif_skcipher", "ctr")}
LAYERS = {"openssl", "engine", "cryptodev", "kernel", "driver"}
PREFIXES = {*LAYERS, "caam"}
"""Beginnings of the names of faults."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared object with the imports of the real engine."""
    built = build(
        tmp_path_factory.mktemp("engine") / "devcrypto.so", calls("ERR_new", "ERR_set_debug", "ERR_set_error")
    )
    content = bytearray(built.read_bytes())
    content[18:20] = b"\xb7\0"  # e_machine: EM_AARCH64, as the board's compiler writes it
    built.write_bytes(content + b"\0OPENSSL_3.0.0\0libcrypto.so.3\0")
    return built


@pytest.fixture
def root(tmp_path: Path, engine: Path) -> Path:
    """The tree of an image: the real files of the board, and stand-ins for what a build adds."""
    root = tmp_path / "root"
    shutil.copytree(ROOTFS, root)
    (root / ENGINES).mkdir(parents=True)
    shutil.copy(engine, root / ENGINES)
    (root / MODULE).parent.mkdir(parents=True)
    # Each stand-in has the bytes that the faults look for.
    (root / MODULE).write_bytes(b"\x7fELF \0misc_register\0 12345678module_layout\0")
    (root / LIBCRYPTO).write_bytes(b"\x7fELF " + bytes.fromhex("22ae28d7982f8a42"))
    for name in (DRIVER, *IN_KERNEL.values()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x7fELF \0virtio_crypto_aes_cbc\0 ~Module signature appended~\n")
    return root


CHANGED_FILES = {
    "openssl/base-provider-only": [OPENSSL_CNF],
    "openssl/fips-without-provider": [OPENSSL_CNF],
    "openssl/no-tls-version": [OPENSSL_CNF],
    "openssl/sha512-constant": [LIBCRYPTO],
    "engine/absent": [SHARED],
    "engine/wrong-machine": [SHARED],
    "engine/import-missing": [SHARED],
    "engine/version-missing": [SHARED],
    "engine/library-missing": [SHARED],
    "engine/other-major": [SHARED],
    "engine/offers-nothing": [OPENSSL_CNF],
    "engine/refuses-soft-drivers": [OPENSSL_CNF],
    "engine/configured-by-profile": ["etc/profile", "etc/ssl/engine.cnf", OPENSSL_CNF],
    "engine/root-only": [OPENSSL_CNF],
    "engine/not-configured": [OPENSSL_CNF],
    "cryptodev/absent": [MODULE],
    "cryptodev/unknown-symbol": [MODULE],
    "cryptodev/other-kernel": [MODULE],
    "kernel/cpu-outranks": ["etc/rc"],
    "kernel/tmp-noexec": ["etc/rc"],
    "kernel/log-replayed": ["etc/rc"],
    "kernel/no-afalg": [IN_KERNEL[name] for name in ("af_alg", "algif_hash", "algif_skcipher")],
    "kernel/no-hash-sockets": [IN_KERNEL["algif_hash"]],
    "kernel/no-ctr": [IN_KERNEL["ctr"]],
    "driver/absent": [DRIVER],
    "driver/unbound": ["etc/rc"],
    "driver/interrupts-lost": ["etc/rc"],
    **{name: ["etc/rc", DRIVER] for name, fault in FAULTS.items() if "shim" in fault.own_modules},
    **{
        name: ["etc/rc"]
        for name, fault in FAULTS.items()
        if name.startswith("caam/") and not MODEL[name[5:]].from_power_on
    },
}
"""The files that each fault changes in the tree of the image."""


@pytest.mark.parametrize("name", FAULTS)
def test_fault_changes_its_own_files_only(root: Path, name: str) -> None:
    fault = FAULTS[name]
    assert inject_fault(root, name) == CHANGED_FILES.get(name, [])
    in_files = name in CHANGED_FILES or fault.patch or fault.without_patch
    assert in_files or fault.needs_own_machine, "the fault changes nothing"
    assert fault.layer in LAYERS
    assert not fault.own_modules or all((VIRT / module / "Kbuild").exists() for module in fault.own_modules)


def test_engine_for_openssl_1_1_names_its_library_and_version_node(root: Path) -> None:
    inject_fault(root, "engine/other-major")
    with (root / SHARED).open("rb") as stream:
        elf = ELFFile(stream)
        assert elf["e_machine"] == "EM_AARCH64"
        assert b"\0libcrypto.so.1.1\0" in (root / SHARED).read_bytes()
    assert b"OPENSSL_1_1_0\0" in (root / SHARED).read_bytes()


def test_driver_behind_the_shim_has_another_name_and_no_signature(root: Path) -> None:
    inject_fault(root, "driver/slow")
    assert b"\0virtio_crypto_behind_\0" in (root / DRIVER).read_bytes()
    assert b"signature" not in (root / DRIVER).read_bytes()
    assert "\nmodprobe shim name=virtio_crypto_aes_cbc inner=virtio_crypto_behind_;" in (root / "etc/rc").read_text()


def undefined_symbols(file: Path) -> set[str]:
    """Return the undefined symbols of a shared object."""
    with file.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".dynsym")
        assert isinstance(symbols, SymbolTableSection)
        return {symbol.name for symbol in symbols.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}


def changed_files(before: Path, after: Path) -> list[str]:
    """Return the files that differ between two trees, or are in one of them only."""
    names = {str(path.relative_to(tree)) for tree in (before, after) for path in tree.rglob("*") if path.is_file()}
    return sorted(name for name in names if read_content(before / name) != read_content(after / name))


def read_content(file: Path) -> tuple[int, bytes] | None:
    """Return mode and content of a file, None if there is no such file."""
    return (file.stat().st_mode, file.read_bytes()) if file.exists() else None


def inject_fault(root: Path, name: str) -> list[str]:
    """Inject a fault into the tree of an image and return the files that it changed."""
    before = root.with_name("before")
    shutil.copytree(root, before)
    FAULTS[name].inject(root)
    return changed_files(before, root)


def test_offers_nothing_sets_ciphers_none(root: Path) -> None:
    assert inject_fault(root, "engine/offers-nothing") == [OPENSSL_CNF]
    text = (root / OPENSSL_CNF).read_text()
    assert "CIPHERS = NONE\n" in text
    assert "CIPHERS = ALL" not in text


def test_import_missing_renames_one_symbol(root: Path) -> None:
    before = undefined_symbols(root / ENGINES / "devcrypto.so")
    assert inject_fault(root, "engine/import-missing") == [f"{ENGINES}/devcrypto.so"]
    after = undefined_symbols(root / ENGINES / "devcrypto.so")
    assert before - after == {"ERR_set_debug"}
    assert len(after - before) == 1


def test_cryptodev_absent_removes_the_module(root: Path) -> None:
    assert inject_fault(root, "cryptodev/absent") == [MODULE]
    assert not (root / MODULE).exists()


@pytest.mark.parametrize("name", ["engine/offers-nothing", "engine/import-missing", "cryptodev/absent"])
def test_fault_that_finds_nothing_to_change_is_an_error(root: Path, name: str) -> None:
    """Otherwise a change of the image could turn a fault into a healthy board."""
    FAULTS[name].inject(root)
    with pytest.raises((ValueError, StopIteration)):
        FAULTS[name].inject(root)


@pytest.mark.parametrize("name", [name for name in CHANGED_FILES if name.startswith("caam/")])
def test_fault_of_the_caam_is_armed_once_its_driver_is_loaded(root: Path, name: str, tmp_path: Path) -> None:
    """The line of the start-up script runs here, on a file in place of the PCI configuration space."""
    inject_fault(root, name)
    lines = (root / "etc/rc").read_text().splitlines()
    (arming,) = (line for line in lines if "bs=1 seek=64" in line)
    assert lines.index("    modprobe caam_jr") < lines.index(arming) < lines.index("hostname virt")
    config = tmp_path / "config"
    config.write_bytes(bytes(256))
    assert "/sys/bus/pci/devices/0000:00:01.0/config" in arming
    run(["sh", "-c", arming.replace("/sys/bus/pci/devices/0000:00:01.0/config", str(config))])
    assert config.read_bytes() == bytes(64) + b"\x01" + bytes(191)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_of_one_accelerator_names_its_machine(name: str) -> None:
    """Faults of virtio-crypto's driver and of the CAAM are for their own machine, those of other layers for all."""
    fault = FAULTS[name]
    assert fault.machine in (None, *MACHINE_TYPES)
    if fault.layer == "driver" and not fault.no_accelerator:
        assert fault.machine == ("caam" if name.startswith("caam/") or fault.overlay else "virtio-crypto")
    if fault.layer in ("openssl", "engine", "cryptodev"):
        assert fault.machine is None


def test_offset_that_arms_a_fault_is_the_one_of_the_documentation() -> None:
    assert ARM_OFFSET == 0x40
    assert (
        "writing 1 to byte 0x40 of the PCI configuration space" in (VIRT.parents[1] / "docs/caam-model.md").read_text()
    )


def test_every_fault_of_the_model_is_a_fault_of_the_board() -> None:
    assert [fault.model_fault for fault in FAULTS.values() if fault.model_fault] == list(MODEL)


def test_listing_names_the_board_of_a_fault_that_one_board_has() -> None:
    lines = {line.split()[0]: line for line in listing().splitlines()}
    assert lines["caam/iv-not-written"].endswith(" (only virt-ls1046a)")
    assert lines["driver/unbound"].endswith(" (only virt)")
    assert "only virt" not in lines["engine/absent"]


def test_every_engine_patch_is_left_out_by_one_fault_or_goes_with_another() -> None:
    left_out = [fault.without_patch for fault in FAULTS.values() if fault.without_patch]
    assert sorted(left_out) == [name for name in PATCHES if name != "0007-fork-digest-init"]


def test_listing_has_a_line_with_layer_and_summary_for_every_fault() -> None:
    lines = listing().splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    for line in lines:
        name, _, what = line.partition(" ")
        assert name.count("/") == 1
        assert name.split("/")[0] in PREFIXES
        assert len(what.strip()) > 10
    assert len({line.index(line.split(maxsplit=1)[1]) for line in lines}) == 1, "the columns do not line up"
