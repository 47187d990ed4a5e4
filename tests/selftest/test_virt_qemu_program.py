"""Which QEMU runs a board with a model: the host's own if it has the device, else Debian's newer one, else none."""

from pathlib import Path

import pytest

from fixtures.outcome import LabError
from fixtures.virt import debian, qemu_program
from fixtures.virt.qemu_program import HOST_PROGRAM, find_vfio_user_qemu, unpacked_command

NEW_QEMU = '#!/bin/sh\n[ "$*" = "-device vfio-user-pci,help" ] && echo "vfio-user-pci options:"\n'
OLD_QEMU = "#!/bin/sh\necho \"$0: -device vfio-user-pci,help: Device 'vfio-user-pci' not found\" >&2; exit 1\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first in the search path, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(qemu_program, "SEARCH_PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def write_program(file: Path, text: str) -> None:
    """Write an executable file, and the folders that it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def write_tree(root: Path, qemu: str) -> None:
    """Write a tree of unpacked packages whose loader runs its programs as scripts."""
    write_program(root / "usr/bin/qemu-system-aarch64", qemu)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    write_program(libraries / "ld-linux-x86-64.so.2", '#!/bin/sh\nshift 3\nexec "$QEMU" "$3" "$4"\n')
    (libraries / "libc.so.6").touch()


def test_qemu_of_the_host_is_used_if_it_has_the_device(programs: Path) -> None:
    write_program(programs / "qemu-system-aarch64", NEW_QEMU)
    messages: list[str] = []
    assert find_vfio_user_qemu(messages.append) == HOST_PROGRAM
    assert messages == [], "something was fetched"


@pytest.mark.parametrize("text", [OLD_QEMU, "#!/bin/sh\nexit 0\n"], ids=["older release", "no output"])
def test_qemu_without_the_device_is_not_used(programs: Path, text: str) -> None:
    write_program(programs / "qemu-system-aarch64", text)
    assert not qemu_program._has_device(HOST_PROGRAM)


def test_qemu_that_is_not_installed_has_no_device(programs: Path) -> None:
    assert not qemu_program._has_device((str(programs / "none"),))


def test_unpacked_qemu_runs_with_its_own_loader_and_libraries(tmp_path: Path) -> None:
    write_tree(tmp_path, NEW_QEMU)
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    assert unpacked_command(tmp_path) == (
        str(libraries / "ld-linux-x86-64.so.2"),
        *("--library-path", str(libraries)),
        str(tmp_path / "usr/bin/qemu-system-aarch64"),
        *("-L", str(tmp_path / "usr/share/qemu")),
    )


@pytest.mark.parametrize("missing", ["usr/bin/qemu-system-aarch64", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"])
def test_incomplete_tree_is_an_error(tmp_path: Path, missing: str) -> None:
    write_tree(tmp_path, NEW_QEMU)
    (tmp_path / missing).unlink()
    with pytest.raises(LabError, match=r"lacks usr/bin/qemu-system-aarch64 or the C library; remove the folder"):
        unpacked_command(tmp_path)


def test_board_whose_qemu_cannot_be_fetched_is_reported_in_one_sentence(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror does not exist. `virt` is named, because it runs all the same."""
    write_program(programs / "qemu-system-aarch64", OLD_QEMU)
    monkeypatch.setattr(debian, "_format_sources_list", lambda _: "deb [trusted=yes] file:/no/such/mirror ./\n")
    messages: list[str] = []
    with pytest.raises(LabError) as caught:
        find_vfio_user_qemu(messages.append)
    sentence = str(caught.value).splitlines()[0]
    assert sentence.startswith(
        "this board needs a QEMU with vfio-user-pci (QEMU 10.1 or newer): the host's own has none, and that of Debian"
        " trixie-backports cannot be had; --board virt does not need it. Cause: "
    )
    assert messages == ["fetching the package lists of Debian trixie and trixie-backports"]
