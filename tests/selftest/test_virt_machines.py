"""The types of virtual machine: QEMU's options, and the device tree in which U-Boot and Linux find a CAAM."""

import json
import shutil
from pathlib import Path

import pytest
from debian_programs import find_program

from fixtures.lab.board import load_board
from fixtures.lab.board_files import list_boards
from fixtures.outcome import LabError
from fixtures.virt import debian
from fixtures.virt.debian import run
from fixtures.virt.device_tree import build_device_tree
from fixtures.virt.machine_types import DEFAULT_TYPE, MACHINE_TYPES
from fixtures.virt.qemu import MACHINE, UBOOT_OPTIONS

BOARDS = Path(__file__).parents[2] / "boards"
CAAM = MACHINE_TYPES["caam"]
NEEDS_QEMU = pytest.mark.skipif(not shutil.which("qemu-system-aarch64"), reason="this host has no QEMU for aarch64")

BASE = """
/dts-v1/;
/ {
    #address-cells = <2>;
    #size-cells = <2>;
    model = "base";
};
"""
"""A device tree that QEMU could have written."""


@pytest.fixture
def device_tree_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the device tree compiler's programs in the search path: the host's own, or unpacked from its package."""
    programs = [find_program(name, package="device-tree-compiler") for name in ("dtc", "fdtoverlay", "fdtget")]
    folders = dict.fromkeys(str(Path(program).parent) for program in programs)
    monkeypatch.setattr(debian, "SEARCH_PATH", ":".join([*folders, debian.SEARCH_PATH]))


@pytest.fixture
def fake_qemu(tmp_path: Path) -> tuple[str, ...]:
    """A QEMU that writes BASE, and its arguments into the file `arguments`."""
    (tmp_path / "base.dts").write_text(BASE)
    program = tmp_path / "qemu"
    program.write_text(
        f'#!/bin/sh\necho "$*" > {tmp_path}/arguments\n'
        f'for last; do :; done\nexec dtc -q -I dts -O dtb -o "${{last##*dumpdtb=}}" {tmp_path}/base.dts\n'
    )
    program.chmod(0o755)
    return (str(program), "-smp", "2")


def read_cells(tree: Path, node: str, name: str) -> list[int]:
    """Return the cells of a property."""
    return [int(cell, 16) for cell in run(["fdtget", "-t", "x", str(tree), node, name]).split()]


@pytest.mark.usefixtures("device_tree_tools")
def test_caam_of_the_device_tree_is_that_of_an_ls1046a(tmp_path: Path, fake_qemu: tuple[str, ...]) -> None:
    """Job rings and the numbers of their interrupts: Linux, arch/arm64/boot/dts/freescale/fsl-ls1046a.dtsi."""
    assert CAAM.overlay
    tree = build_device_tree(fake_qemu, "virt,gic-version=2", ("-bios", "u-boot"), [CAAM.overlay], tmp_path)
    arguments = (tmp_path / "arguments").read_text().strip()
    assert arguments == f"-smp 2 -bios u-boot -M virt,gic-version=2,dumpdtb={tmp_path}/qemu.dtb"
    assert run(["fdtget", str(tree), "/", "model"]).strip() == "base"
    node = "/crypto@10000000"
    assert read_cells(tree, node, "reg") == [0, 0x10000000, 0, 0x100000]
    assert read_cells(tree, node, "fsl,sec-era") == [8]
    assert run(["fdtget", str(tree), node, "compatible"]).split() == ["fsl,sec-v5.4", "fsl,sec-v5.0", "fsl,sec-v4.0"]
    assert run(["fdtget", "-l", str(tree), node]).split() == [f"jr@{number}0000" for number in (1, 2, 3, 4)]
    for number in range(1, 5):
        ring = f"{node}/jr@{number}0000"
        assert read_cells(tree, ring, "reg") == [number << 16, 0x10000]
        assert read_cells(tree, ring, "interrupts") == [0, 70 + number, 1]
        assert "fsl,sec-v4.0-job-ring" in run(["fdtget", str(tree), ring, "compatible"])


@pytest.mark.usefixtures("device_tree_tools")
@NEEDS_QEMU
def test_device_tree_of_qemu_itself_takes_the_overlay(tmp_path: Path) -> None:
    assert CAAM.overlay
    options = ("qemu-system-aarch64", *MACHINE)
    tree = build_device_tree(options, "virt,gic-version=2", (), [CAAM.overlay], tmp_path)
    assert {"crypto@10000000", "memory@40000000"} <= set(run(["fdtget", "-l", str(tree), "/"]).split())


@pytest.mark.usefixtures("device_tree_tools")
def test_overlay_that_does_not_compile_is_reported(tmp_path: Path, fake_qemu: tuple[str, ...]) -> None:
    (tmp_path / "bad.dts").write_text("/dts-v1/; /plugin/; &{/} { crypto@10000000 { reg = <0x }; };\n")
    with pytest.raises(LabError, match=r"(?s)exit status 1 from: dtc .*bad\.dts.*syntax error"):
        build_device_tree(fake_qemu, "virt", (), [tmp_path / "bad.dts"], tmp_path)


def test_option_of_the_caam_names_the_socket_of_its_model() -> None:
    option, value = CAAM.accelerator(Path('/tmp/a "folder"/caam'))
    assert option == "-device"
    assert json.loads(value) == {
        "driver": "vfio-user-pci",
        "addr": "1",
        "socket": {"type": "unix", "path": '/tmp/a "folder"/caam'},
    }


def test_memory_that_the_model_maps_has_the_size_of_the_machine() -> None:
    size = MACHINE[MACHINE.index("-m") + 1]
    assert f"size={size}M" in " ".join(CAAM.options)


@pytest.mark.parametrize("name", [name for name in list_boards(BOARDS) if name.startswith("virt")])
def test_virtual_board_names_a_machine_that_names_the_board(name: str) -> None:
    board = load_board(name, BOARDS)
    assert MACHINE_TYPES[board.machine or DEFAULT_TYPE].board == name


def test_firmware_is_not_an_option_of_the_machine_itself() -> None:
    """The device tree depends on it, so it is passed to `build_device_tree` like to the machine."""
    assert UBOOT_OPTIONS[0] == "-bios"
    assert not set(UBOOT_OPTIONS) & {*MACHINE, *CAAM.options}
