"""Does the real apt fetch and unpack packages of another architecture, from a repository in a folder?"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from fixtures.outcome import LabError
from fixtures.virt import debian
from fixtures.virt.debian import Apt, run

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="this host has no apt-get and dpkg-deb"
)

DSC = """Format: 3.0 (quilt)
Source: tool
Binary: tool
Architecture: any
Version: 1.2-3
Maintainer: nobody <nobody@example.org>
Files:
 {md5} {size} tool_1.2.orig.tar.gz
Checksums-Sha256:
 {sha256} {size} tool_1.2.orig.tar.gz
"""


def build_package(repository: Path, name: str, version: str, depends: str = "", recommends: str = "") -> str:
    """Build a package for arm64 with one file, and return its entry in the index."""
    tree = repository.parent / "trees" / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share").mkdir(parents=True)
    (tree / "usr/share" / name).write_text(f"{name} {version}\n")
    control = f"Package: {name}\nVersion: {version}\nArchitecture: arm64\nMaintainer: nobody <nobody@example.org>\n"
    control += f"Depends: {depends}\n" if depends else ""
    control += f"Recommends: {recommends}\n" if recommends else ""
    (tree / "DEBIAN/control").write_text(control + "Description: a test\n")
    file = repository / f"{name}_{version.replace(':', '%3a')}_arm64.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(file)], check=True, capture_output=True)
    data = file.read_bytes()
    return f"{control}Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"


def build_source_package(repository: Path, top: str) -> str:
    """Build a source package, and return its entry in the index."""
    tree = repository.parent / "source" / top
    tree.mkdir(parents=True)
    (tree / "tool.c").write_text("int main;\n")
    archive = repository / "tool_1.2.orig.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, top)
    data = archive.read_bytes()
    sums = {
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    dsc = DSC.format(**sums)
    (repository / "tool_1.2-3.dsc").write_text(dsc)
    own = dsc.encode()
    lines = dsc.replace("Source: tool", "Package: tool").splitlines()
    lines.insert(
        lines.index("Files:") + 1, f" {hashlib.md5(own, usedforsecurity=False).hexdigest()} {len(own)} tool_1.2-3.dsc"
    )
    lines.append(f" {hashlib.sha256(own).hexdigest()} {len(own)} tool_1.2-3.dsc")
    return "\n".join([*lines, "Directory: .", "", ""])


def format_release(repository: Path) -> str:
    """Return the file that names the repository's suite, with the checksums of its indexes."""
    indexes = [repository / name for name in ("Packages", "Sources")]
    sums = [f" {hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} {file.name}" for file in indexes]
    return "\n".join(["Suite: newer", "Date: Mon, 30 Nov 2026 00:00:00 UTC", "SHA256:", *sums, ""])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of Debian packages for arm64, as a folder."""
    repository = tmp_path_factory.mktemp("debian") / "repository"
    repository.mkdir()
    packages = [
        build_package(repository, "tool", "1:1.2-3", "libtool-that-is-not-here (>= 1)"),
        build_package(repository, "linux-image-6.1.0-56-arm64", "6.1.192-2"),
        build_package(
            repository, "linux-image-arm64", "6.1.192-2", "linux-image-6.1.0-56-arm64 (= 6.1.192-2)", "firmware"
        ),
        build_package(repository, "firmware", "1"),
    ]
    (repository / "Packages").write_text("".join(packages))
    (repository / "Sources").write_text(build_source_package(repository, "tool-1.2-from-upstream"))
    (repository / "Release").write_text(format_release(repository))
    return repository


@pytest.fixture
def apt(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    """An apt that uses only that repository."""
    lines = "".join(f"{kind} [trusted=yes] file:{repository} ./\n" for kind in ("deb", "deb-src"))
    monkeypatch.setattr(debian, "_format_sources_list", lambda _: lines)
    return Apt.open(tmp_path / "apt", "bookworm", "arm64")


def test_packages_are_unpacked_without_their_dependencies(apt: Apt, tmp_path: Path) -> None:
    versions = apt.unpack(["tool", "linux-image-6.1.0-56-arm64"], tmp_path / "tree")
    assert versions == {"tool": "1:1.2-3", "linux-image-6.1.0-56-arm64": "6.1.192-2"}
    assert (tmp_path / "tree/usr/share/tool").read_text() == "tool 1:1.2-3\n"
    assert (tmp_path / "tree/usr/share/linux-image-6.1.0-56-arm64").exists()
    assert not (tmp_path / "tree/DEBIAN").exists()
    assert not list(tmp_path.rglob("*.deb")), "the downloaded archives are left behind"


def test_unpack_returns_only_the_packages_of_that_call(apt: Apt, tmp_path: Path) -> None:
    apt.unpack(["tool"], tmp_path / "tree")
    assert list(apt.unpack(["linux-image-arm64"], tmp_path / "tree")) == ["linux-image-arm64"]


def test_package_is_unpacked_with_its_dependencies(apt: Apt, tmp_path: Path) -> None:
    """Without what they recommend. Number, size and durations are shown."""
    messages: list[str] = []
    apt.unpack_with_dependencies("linux-image-arm64", "newer", tmp_path / "tree", messages.append)
    assert sorted(path.name for path in (tmp_path / "tree/usr/share").iterdir()) == [
        "linux-image-6.1.0-56-arm64",
        "linux-image-arm64",
    ]
    start = "downloading linux-image-arm64 of Debian newer with its dependencies: 2 packages, 0.0 MB"
    assert messages[0] == start
    assert re.fullmatch(r"downloaded 0\.0 MB in \d+\.\d s, unpacked 0 MB in \d+\.\d s", messages[-1])
    assert not list(tmp_path.rglob("*.deb")), "the downloaded archives are left behind"


def test_package_of_a_suite_that_is_not_there_is_an_error(apt: Apt, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="The value 'older' is invalid for APT::Default-Release"):
        apt.unpack_with_dependencies("linux-image-arm64", "older", tmp_path / "tree", print)


def test_slow_download_shows_how_far_it_is(apt: Apt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "PROGRESS_INTERVAL", 0.001)
    messages: list[str] = []
    apt.unpack_with_dependencies("linux-image-arm64", "newer", tmp_path / "tree", messages.append)
    assert re.fullmatch(r"downloaded \d\.\d of 0\.0 MB in 0 s", messages[1])


def test_package_without_one_of_its_dependencies_is_an_error(apt: Apt, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"(?s)exit status 100 from: .*libtool-that-is-not-here"):
        apt.unpack_with_dependencies("tool", "newer", tmp_path / "tree", print)


def test_backports_have_no_security_updates_of_their_own() -> None:
    if not list_mirrors_of_this_host():
        pytest.skip("this host's apt has no lists of Debian's; `apt-get update` fetches them")
    sources = debian._format_sources_list("trixie-backports").splitlines()
    assert {line.split()[3] for line in sources} == {"trixie-backports"}


def test_metapackage_resolves_to_its_dependency(apt: Apt) -> None:
    assert apt.resolve("linux-image-arm64", "linux-image-") == "linux-image-6.1.0-56-arm64"
    with pytest.raises(
        LabError,
        match=r"linux-image-arm64 depends on no package linux-headers-\*, but on: linux-image-6\.1\.0-56-arm64$",
    ):
        apt.resolve("linux-image-arm64", "linux-headers-")


def test_source_of_exactly_that_version_is_unpacked(apt: Apt, tmp_path: Path) -> None:
    apt.source("tool", "1.2-3", tmp_path / "source")
    assert (tmp_path / "source/tool.c").read_text() == "int main;\n"
    with pytest.raises(LabError, match=r"exit status 100 from: .*tool=1\.2-4"):
        apt.source("tool", "1.2-4", tmp_path / "other")


def test_unknown_package_reports_the_output_of_apt(apt: Apt, tmp_path: Path) -> None:
    with pytest.raises(
        LabError, match=r"(?s)building the virtual board: exit status 100 from: .*no-such-package.*Unable"
    ):
        apt.unpack(["no-such-package"], tmp_path / "tree")


def test_package_with_a_wrong_checksum_is_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(repository, damaged)
    archive = next(damaged.glob("tool_*.deb"))
    data = bytearray(archive.read_bytes())
    data[-10] ^= 1
    archive.write_bytes(data)
    monkeypatch.setattr(debian, "_format_sources_list", lambda _: f"deb [trusted=yes] file:{damaged} ./\n")
    with pytest.raises(LabError, match="Hash Sum mismatch"):
        Apt.open(tmp_path / "apt", "bookworm", "arm64").unpack(["tool"], tmp_path / "tree")


def test_the_hosts_own_apt_is_unchanged(apt: Apt, tmp_path: Path) -> None:
    apt.unpack(["tool"], tmp_path / "tree")
    assert "tool" not in run(["apt-cache", "search", "--names-only", "^tool$"]).split()
    installed = run(["dpkg-query", "--show", "--showformat", "${Package}\n"]).split()
    assert "tool" not in installed


def test_host_without_a_debian_mirror_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt.conf").write_text('Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with pytest.raises(LabError, match="the host's apt has no Debian mirror: add one to its sources"):
        debian._format_sources_list("bookworm")


def test_the_hosts_own_mirrors_are_used() -> None:
    lines = list_mirrors_of_this_host()
    if not lines:
        pytest.skip("this host's apt has no lists of Debian's; `apt-get update` fetches them")
    sources = debian._format_sources_list("trixie").splitlines()
    assert {line.split()[0] for line in sources} == {"deb", "deb-src"}
    assert all(f"signed-by={debian.KEYRING}" in line for line in sources)
    assert {line.split()[2] for line in sources} <= lines
    suites = {line.split()[3] for line in sources}
    assert "trixie" in suites
    assert suites <= {"trixie", "trixie-security"}


def list_mirrors_of_this_host() -> set[str]:
    """Return the URIs of Debian in the lists of the host's own apt."""
    form = ["--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    lines = [line.split() for line in run(["apt-get", "indextargets", *form]).splitlines()]
    return {uri for label, uri in lines if label in ("Debian", "Debian-Security")}


def test_failed_step_reports_its_last_lines_of_output() -> None:
    with pytest.raises(LabError) as caught:
        run(["sh", "-c", "seq 100; echo why >&2; exit 3"])
    first, *shown = str(caught.value).splitlines()
    assert first == "building the virtual board: exit status 3 from: sh -c seq 100; echo why >&2; exit 3"
    assert shown == [*map(str, range(82, 101)), "why"]


def test_step_has_no_input_and_the_administrators_path() -> None:
    assert run(["cat"]) == ""
    assert "/usr/sbin" in run(["sh", "-c", "echo $PATH"]).strip().split(os.pathsep)
