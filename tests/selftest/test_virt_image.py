"""Is the image assembled correctly, from a few small real files in place of Debian's packages?"""

import io
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import paramiko
import pytest
from symbols_build import build

from fixtures.outcome import LabError
from fixtures.virt import debian, image
from fixtures.virt.faults import Fault
from fixtures.virt.image import FILES, assemble
from fixtures.virt.layout import ENGINES, LIBRARIES

pytestmark = pytest.mark.skipif(
    not (shutil.which("cpio") and shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin:/bin")),
    reason="this host has no cpio and depmod (Debian: cpio, kmod)",
)

RELEASE = "6.1.0-56-arm64"
MODULES = {
    "kernel/crypto/chosen.ko": ("helper", None),
    "kernel/lib/helper.ko": (None, "helper"),
    "kernel/arch/arm64/crypto/outranks.ko": (None, None),
}
"""Module -> the function that it calls, and the function that it exports."""


def compile_object(path: Path, source: str) -> Path:
    """Compile a relocatable object file, the format of kernel modules."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = path.with_suffix(".c")
    code.write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu", "-fno-sanitize=undefined"]
    subprocess.run([*command, "-c", "-o", str(path), str(code)], check=True, capture_output=True, timeout=300)
    code.unlink()
    return path


def build_module(path: Path, calls: str | None, exports: str | None) -> None:
    """Build what depmod reads of a kernel module: undefined symbols, and the names in section __ksymtab_strings."""
    source = "int init_module(void) { return 0; }\n"
    if calls:
        source += f"extern int {calls}(void); int use(void) {{ return {calls}(); }}\n"
    if exports:
        section = '__attribute__((section("__ksymtab_strings"), used))'
        source += f'int {exports}(void) {{ return 1; }}\n{section} const char name[] = "{exports}";\n'
    compile_object(path, source)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the packages as Debian 12 has it, with /lib and /bin beside /usr."""
    root = tmp_path_factory.mktemp("packages")
    for name in FILES:
        if not name.endswith("usr/lib/ssl"):
            target = root / ("lib" if "ld-linux" in name else Path(name).parent)
            target.mkdir(parents=True, exist_ok=True)
            (target / Path(name).name).write_text(f"#!{name}\n")
    (root / "usr/lib/ssl").mkdir(parents=True)
    (root / "usr/lib/ssl/openssl.cnf").symlink_to("/etc/ssl/openssl.cnf")
    (root / "usr/bin/not-wanted").write_text("")
    (root / ENGINES).mkdir(parents=True)
    build(root / LIBRARIES / "libcrypto.so.3", "int one(void) { return 1; }\n", soname="libcrypto.so.3")
    for name, (calls, exports) in MODULES.items():
        build_module(root / "lib/modules" / RELEASE / name, calls, exports)
    for index in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (root / "lib/modules" / RELEASE / index).touch()
    (root / "boot").mkdir()
    (root / f"boot/vmlinuz-{RELEASE}").write_text("kernel")
    return root


@pytest.fixture(scope="module")
def built_parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The kernel module cryptodev.ko and the engine."""
    folder = tmp_path_factory.mktemp("parts")
    build_module(folder / "cryptodev.ko", "helper", None)
    return folder / "cryptodev.ko", build(folder / "devcrypto.so", "int bind_engine(void) { return 1; }\n")


def assemble_and_unpack(
    packages: Path, parts: tuple[Path, Path], into: Path, fault: Fault | None = None
) -> dict[str, Path]:
    """Assemble an image, unpack its RAM disk and return the files by name."""
    into.mkdir()
    module, engine = parts
    assemble(packages, (module,), engine, fault, into)
    tree = into / "tree"
    tree.mkdir()
    with (into / "initrd").open("rb") as archive:
        subprocess.run(["cpio", "-idm", "--quiet"], stdin=archive, cwd=tree, check=True, capture_output=True)
    return {str(path.relative_to(tree)): path for path in tree.rglob("*")}


@pytest.fixture(scope="module")
def assembled(unpacked: Path, built_parts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, unpacked below `tree`."""
    folder = tmp_path_factory.mktemp("made") / "image"
    assemble_and_unpack(unpacked, built_parts, folder)
    return folder


def test_image_has_the_needed_files_only(assembled: Path) -> None:
    assert sorted(path.name for path in assembled.iterdir()) == ["host_key.pub", "initrd", "kernel", "tree", "user_key"]
    assert (assembled / "kernel").read_text() == "kernel"
    tree = assembled / "tree"
    for name in (
        "usr/bin/busybox",
        "usr/sbin/dropbear",
        "usr/lib/ld-linux-aarch64.so.1",
        f"{LIBRARIES}/libcrypto.so.3",
    ):
        assert (tree / name).is_file(), name
    assert (tree / ENGINES / "devcrypto.so").is_file()
    assert not (tree / "usr/bin/not-wanted").exists()
    assert (tree / "etc/rc").stat().st_mode & stat.S_IXUSR
    assert "USE_SOFTDRIVERS" in (tree / "etc/ssl/openssl.cnf").read_text()


def test_links_resolve_in_the_image(assembled: Path) -> None:
    tree = assembled / "tree"
    links = {str(path.relative_to(tree)): str(path.readlink()) for path in tree.rglob("*") if path.is_symlink()}
    assert {name: links[name] for name in ("bin", "sbin", "lib", "init", "usr/bin/sh")} == {
        "bin": "usr/bin",
        "sbin": "usr/sbin",
        "lib": "usr/lib",
        "init": "usr/bin/busybox",
        "usr/bin/sh": "busybox",
    }
    for name, target in links.items():
        where = tree / target.lstrip("/") if target.startswith("/") else (tree / name).parent / target
        assert where.exists(), f"{name} leads nowhere, to {target}"


def test_root_owns_all_files_and_no_path_of_the_host_is_included(
    unpacked: Path, built_parts: tuple[Path, Path], tmp_path: Path
) -> None:
    assembled = tmp_path / "image"
    if os.getuid() == 0:  # so that the files of the host do not have the group of root already
        os.setegid(65534)
    try:
        assemble_and_unpack(unpacked, built_parts, assembled)
    finally:
        if os.getuid() == 0:
            os.setegid(0)
    with (assembled / "initrd").open("rb") as archive:
        done = subprocess.run(["cpio", "-itvn"], stdin=archive, capture_output=True, check=True, text=True)
    assert {tuple(line.split()[2:4]) for line in done.stdout.splitlines()} == {("0", "0")}
    assert str(assembled.parent).encode() not in (assembled / "initrd").read_bytes()


def test_modules_have_their_dependencies_and_the_cpus_own_are_left_out(assembled: Path) -> None:
    modules = assembled / "tree/usr/lib/modules" / RELEASE
    assert sorted(str(path.relative_to(modules)) for path in modules.rglob("*.ko")) == [
        "extra/cryptodev.ko",
        "kernel/crypto/chosen.ko",
        "kernel/lib/helper.ko",
    ]
    dependencies = dict(line.split(":") for line in (modules / "modules.dep").read_text().splitlines())
    assert dependencies["extra/cryptodev.ko"].split() == ["kernel/lib/helper.ko"]
    assert dependencies["kernel/crypto/chosen.ko"].split() == ["kernel/lib/helper.ko"]


def test_user_key_is_authorized_and_host_key_matches(assembled: Path) -> None:
    user = paramiko.PKey.from_path(assembled / "user_key")
    assert (assembled / "user_key").stat().st_mode & 0o077 == 0
    authorized = (assembled / "tree/root/.ssh/authorized_keys").read_text()
    assert authorized.split()[:2] == [user.get_name(), user.get_base64()]
    assert (assembled / "tree/root/.ssh").stat().st_mode & 0o077 == 0
    host = parse_strings((assembled / "tree/etc/dropbear/host_key").read_bytes())
    assert (assembled / "tree/etc/dropbear/host_key").stat().st_mode & 0o077 == 0
    public = paramiko.PKey.from_type_string(*parse_key_line((assembled / "host_key.pub").read_text()))
    assert host[0] == b"ssh-ed25519"
    assert len(host[1]) == 64  # dropbear keeps seed and public key as one string
    assert host[1][32:] == parse_strings(public.asbytes())[1]
    assert host[1][:32] != user.asbytes()[-32:]


def parse_strings(blob: bytes) -> list[bytes]:
    """Return the strings of a blob in SSH wire format (RFC 4251, section 5)."""
    stream, found = io.BytesIO(blob), []
    while head := stream.read(4):
        found.append(stream.read(struct.unpack(">I", head)[0]))
    return found


def parse_key_line(line: str) -> tuple[str, bytes]:
    """Return type and blob of an OpenSSH public key line."""
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"board {line}")
    assert entry
    assert entry.key
    return entry.key.get_name(), entry.key.asbytes()


def test_every_build_has_keys_of_its_own(
    assembled: Path, unpacked: Path, built_parts: tuple[Path, Path], tmp_path: Path
) -> None:
    assemble_and_unpack(unpacked, built_parts, tmp_path / "other")
    for name in ("user_key", "host_key.pub"):
        assert (assembled / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_packages_with_merged_usr_give_the_same_tree(
    assembled: Path, unpacked: Path, built_parts: tuple[Path, Path], tmp_path: Path
) -> None:
    merged = tmp_path / "merged"
    shutil.copytree(unpacked, merged, symlinks=True)
    shutil.copytree(merged / "lib", merged / "usr/lib", dirs_exist_ok=True)
    shutil.rmtree(merged / "lib")
    names = assemble_and_unpack(merged, built_parts, tmp_path / "image")
    assert sorted(names) == sorted(
        str(path.relative_to(assembled / "tree")) for path in (assembled / "tree").rglob("*")
    )


def test_missing_library_is_refused(unpacked: Path, built_parts: tuple[Path, Path], tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    shutil.copytree(unpacked, packages, symlinks=True)
    other = build(tmp_path / "libother.so.1", "int other(void) { return 1; }\n", soname="libother.so.1")
    openssl = packages / "usr/bin/openssl"
    build(openssl, "extern int other(void); int call(void) { return other(); }\n", other)
    openssl.with_name("openssl.c").unlink()
    expected = "the image lacks libother.so.1, needed by usr/bin/openssl: add its Debian package"
    with pytest.raises(LabError, match=f"^{re.escape(expected)}$"):
        assemble_and_unpack(packages, built_parts, tmp_path / "image")


def test_fault_changes_the_image_and_nothing_else(
    unpacked: Path, built_parts: tuple[Path, Path], tmp_path: Path
) -> None:
    def inject(root: Path) -> None:
        (root / "usr/bin/openssl").write_text("changed")
        (root / LIBRARIES / "libcrypto.so.3").write_bytes(b"changed")
        (root / ENGINES / "devcrypto.so").write_bytes(b"changed")

    parts_before = [part.read_bytes() for part in built_parts]
    names = assemble_and_unpack(unpacked, built_parts, tmp_path / "image", Fault("engine/changed", "all of it", inject))
    assert names["usr/bin/openssl"].read_text() == "changed"
    assert names[f"{ENGINES}/devcrypto.so"].read_bytes() == b"changed"
    assert (unpacked / "usr/bin/openssl").read_text() == "#!usr/bin/openssl\n"
    assert (unpacked / LIBRARIES / "libcrypto.so.3").read_bytes() != b"changed"
    assert [part.read_bytes() for part in built_parts] == parts_before


@pytest.mark.parametrize(
    ("program", "message"),
    [("", r"cannot run cpio: No such file"), ("echo full >&2; exit 3", r"exit status 3 from: cpio --create .*\nfull")],
)
def test_archive_that_cannot_be_packed_is_a_lab_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    if program:
        (tmp_path / "cpio").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "cpio").chmod(0o755)
    monkeypatch.setattr(debian, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(LabError, match=message):
        image._pack(tmp_path, tmp_path / "initrd")
