"""Do the patches of the virtual board apply, each one left out in turn, and is one that does not apply reported?"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures import cache
from fixtures.outcome import LabError
from fixtures.virt import engine_patches as patches_module
from fixtures.virt.build import ENGINE_SOURCE
from fixtures.virt.engine_patches import PATCHES, dependencies, engine_patches
from fixtures.virt.faults import FAULTS, Fault
from fixtures.virt.faults.injection import PATCHES as FAULT_PATCHES
from fixtures.virt.image import ROOTFS
from fixtures.virt.patching import apply_patches

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="this host has no git")

EXCERPT = Path(__file__).parent / "data/virt/e_devcrypto.c"
"""OpenSSL 3.0.22, engines/e_devcrypto.c: the lines that the patches name, at their places; the others are empty."""

MODULE = ROOTFS.parent / "cryptodev"
PATCHED = [fault for fault in FAULTS.values() if fault.patch]


@pytest.fixture(params=["excerpt", "openssl"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tree with the engine's source: an excerpt, or OpenSSL's own if the virtual board was built on this host."""
    source = EXCERPT
    if request.param == "openssl":
        built = sorted(cache.home().glob(f"packages-*/openssl/{ENGINE_SOURCE}"))
        if not built:
            pytest.skip("no OpenSSL source in the cache; `pytest --board virt` fetches it")
        source = built[-1]
    (tmp_path / ENGINE_SOURCE).parent.mkdir(parents=True)
    shutil.copy(source, tmp_path / ENGINE_SOURCE)
    return tmp_path


def header(patch: Path) -> dict[str, str]:
    """Return the fields of the header of a patch."""
    lines = patch.read_text().partition("\n---\n")[0].splitlines()
    return {name: value for name, separator, value in (line.partition(": ") for line in lines) if separator}


@pytest.mark.parametrize("without", [None, *PATCHES])
def test_engine_patches_apply_with_any_one_left_out(engine: Path, without: str | None) -> None:
    upstream = (engine / ENGINE_SOURCE).read_text()
    apply_patches(engine, engine_patches(without))
    assert (engine / ENGINE_SOURCE).read_text() != upstream


@pytest.mark.parametrize("fault", [fault for fault in PATCHED if fault.layer == "engine"], ids=lambda fault: fault.name)
def test_engine_fault_applies_after_the_engine_patches(engine: Path, fault: Fault) -> None:
    apply_patches(engine, engine_patches())
    healthy = (engine / ENGINE_SOURCE).read_text()
    assert fault.patch
    apply_patches(engine, [fault.patch])
    assert (engine / ENGINE_SOURCE).read_text() != healthy


@pytest.mark.parametrize(
    "fault", [fault for fault in PATCHED if fault.layer == "cryptodev"], ids=lambda fault: fault.name
)
def test_cryptodev_fault_applies_to_the_module(tmp_path: Path, fault: Fault) -> None:
    shutil.copytree(MODULE, tmp_path / "module")
    assert fault.patch
    apply_patches(tmp_path / "module", [fault.patch])
    changed = [
        path.name for path in sorted(MODULE.iterdir()) if path.is_file() and not same_content(path, tmp_path / "module")
    ]
    assert changed == sorted(set(re.findall(r"^diff --git a/(\S+) ", fault.patch.read_text(), re.MULTILINE)))


def same_content(path: Path, folder: Path) -> bool:
    return path.read_bytes() == (folder / path.name).read_bytes()


def test_every_patch_file_belongs_to_a_fault_in_a_layer_that_is_compiled() -> None:
    assert sorted(fault.patch for fault in PATCHED if fault.patch) == sorted(FAULT_PATCHES.rglob("*.patch"))
    assert {fault.layer for fault in PATCHED} == {"engine", "cryptodev"}


def test_every_patch_has_a_subject_and_a_reference() -> None:
    assert all({"Subject", "Bug", "Forwarded"} <= header(path).keys() for path in PATCHES.values())
    for fault in PATCHED:
        assert fault.patch
        assert {"Subject", "Stands for"} <= header(fault.patch).keys(), fault.name


def test_patches_are_numbered_without_gaps() -> None:
    assert [name[:5] for name in PATCHES] == [f"{number:04}-" for number in range(1, len(PATCHES) + 1)]


def test_patches_that_depend_on_a_left_out_patch_are_left_out_too() -> None:
    assert engine_patches() == tuple(PATCHES.values())
    assert dependencies(PATCHES["0007-fork-digest-init"]) == {"0005-digest-close-session", "0006-fork-session-owner"}
    for left_out in dependencies(PATCHES["0007-fork-digest-init"]):
        names = [path.stem for path in engine_patches(left_out)]
        assert names == [name for name in PATCHES if name not in (left_out, "0007-fork-digest-init")]


def test_leaving_out_an_unknown_patch_is_an_error() -> None:
    with pytest.raises(KeyError, match="0001-no-such-patch"):
        engine_patches("0001-no-such-patch")


def test_dependencies_come_before_the_patches_that_need_them() -> None:
    names = list(PATCHES)
    for name, path in PATCHES.items():
        assert dependencies(path) <= set(names[: names.index(name)])


def test_patch_that_does_not_apply_is_reported_with_patch_file_and_line(tmp_path: Path) -> None:
    patch = patches_module.FOLDER / "0001-ctr-full-block.patch"
    (tmp_path / ENGINE_SOURCE).parent.mkdir()
    (tmp_path / ENGINE_SOURCE).write_text("int main;\n")
    expected = (
        rf"patch \S+/{patch.name} does not apply in {re.escape(str(tmp_path))}:\n.*{re.escape(ENGINE_SOURCE)}:329"
    )
    with pytest.raises(LabError, match=expected):
        apply_patches(tmp_path, [patch])
    assert (tmp_path / ENGINE_SOURCE).read_text() == "int main;\n"


@pytest.mark.parametrize("variables", [{}, {"GIT_DIR": ".git", "GIT_WORK_TREE": "."}], ids=["found", "commit hook"])
def test_patch_applies_below_another_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """In a repository, `git apply` takes paths from its top folder, and silently skips files elsewhere."""
    module = tmp_path / "module"
    shutil.copytree(MODULE, module)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name, path in variables.items():
        monkeypatch.setenv(name, str(tmp_path / path))
    patch = FAULTS["cryptodev/slow"].patch
    assert patch
    apply_patches(module, [patch])
    assert "msleep(333)" in (module / "crypt.c").read_text()
