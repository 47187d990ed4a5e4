"""Do the board files of this repository match the drivers, prompts and counters of such boards?"""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.boot.image import substitute
from fixtures.lab.board import Board, Counter, Interrupts, load_board
from fixtures.lab.board_files import list_boards
from fixtures.outcome import UsageError
from fixtures.stack.witness import read_witness, sum_interrupts

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "boards"
TEXTS = Path(__file__).parent / "data/stack"
NAMES = list_boards(BOARDS)
CAAM = tuple(name for name in NAMES if name != "virt")
HARDWARE = tuple(name for name in CAAM if name != "virt-ls1046a")

# cra_name -> cra_driver_name, of drivers/crypto/caam: caamalg.c, driver_algs[], and caamhash.c, driver_hash[].
DRIVERS = {
    "cbc(aes)": "cbc-aes-caam",
    "ecb(aes)": "ecb-aes-caam",
    "ctr(aes)": "ctr-aes-caam",
    **{f"sha{bits}": f"sha{bits}-caam" for bits in (1, 224, 256, 384, 512)},
}
FILES = {"kernel", "dtb", "initrd", "itb", "initramfs", "sdcard", "sysupgrade", "firmware"}
"""Files of an image, by their names up to the first dot."""


def mismatched_promises(board: Board) -> list[str]:
    """Return the algorithms whose kernel name does not match OpenSSL's name, or whose driver is not CAAM's."""
    mismatched = []
    for name, algorithm in board.algorithms.items():
        mode = re.fullmatch(r"AES-\d+-(\w+)", name)
        kernel = f"{mode[1].lower()}(aes)" if mode else name.lower()
        if algorithm.kernel != kernel or algorithm.driver not in (None, DRIVERS[kernel]):
            mismatched.append(name)
    return mismatched


def commands(board: Board) -> dict[str, tuple[str, ...]]:
    """Return all command lines of a board file by their keys."""
    lines = {f"boot.{method}": method_lines for method, method_lines in board.boot.items()}
    for method, flash in board.flash.items():
        lines[f"flash.{method}"] = (*flash.write, *flash.read_back, *flash.boot)
    return lines


@pytest.mark.parametrize("name", CAAM)
def test_promised_drivers_are_registered_by_caam(name: str) -> None:
    assert mismatched_promises(load_board(name, BOARDS)) == []


def test_driver_that_caam_does_not_register_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"extends: {BOARDS}/ls1046a.yaml\nalgorithms: {{AES-128-CBC: {{driver: cbc-aes-caam-qi}}}}\n")
    assert mismatched_promises(load_board(str(path), BOARDS)) == ["AES-128-CBC"]


@pytest.mark.parametrize("name", NAMES)
def test_placeholders_are_files_of_the_image(name: str) -> None:
    board = load_board(name, BOARDS)
    values = {"server": "10.0.0.1", **{file: file for file in FILES}, **{f"{file}_size": "1f" for file in FILES}}
    for where, lines in commands(board).items():
        filled = [substitute(line, values) for line in lines]
        assert not [line for line in filled if re.search(r"(?<!\$)\{", line)], where
    for method, flash in board.flash.items():
        used = " ".join(flash.write)
        assert flash.image in FILES, method
        assert f"{{{flash.image}}}" in used, method


def test_unknown_placeholder_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"unknown placeholder \{kernle\}"):
        substitute("tftpboot {kernle}", dict.fromkeys(FILES, ""))


@pytest.mark.parametrize("name", NAMES)
def test_flash_method_ends_with_a_checksum(name: str) -> None:
    for method, flash in load_board(name, BOARDS).flash.items():
        by_uboot = flash.at == "u-boot" or flash.restarts
        assert ("crc32" if by_uboot else "sha256sum") in flash.read_back[-1], method


SET_BY_WRITE = re.compile(r"\$\{(filesize|blocks|end|from|to|size|ramdisk)\}")
"""Variables of U-Boot that tftpboot or a line of a board file sets."""


@pytest.mark.parametrize("name", NAMES)
def test_read_back_and_boot_use_no_variable_set_by_write(name: str) -> None:
    """They also run without `write`, if the memory holds the image already, and after a power cycle."""
    for method, flash in load_board(name, BOARDS).flash.items():
        for lines in (flash.read_back, flash.boot):
            known: set[str] = set()
            for command in ";".join(lines).split(";"):
                assert set(SET_BY_WRITE.findall(command)) <= known | set(re.findall(r"setexpr (\w+)", command)), method
                known |= set(re.findall(r"setexpr (\w+)", command))


@pytest.mark.parametrize("name", ["ls1046a", "ls1043a", "openwrt-ls1046a"])
def test_witness_sums_the_job_rings_of_the_ls1046a(name: str) -> None:
    """The device names are those of the driver's folder in sysfs. A ring of another SoC is not counted."""
    (rings,) = [witness for witness in load_board(name, BOARDS).witnesses if isinstance(witness, Interrupts)]
    text = (TEXTS / "interrupts-ls1046a.txt").read_text()
    names = [f"17{ring}0000.jr" for ring in range(1, 5)]
    expected = sum(sum(map(int, line.split()[1:5])) for line in text.splitlines() if line.endswith(tuple(names)))
    assert expected > 0
    assert sum_interrupts(text, [rings.pattern(ring) for ring in names]) == expected
    assert sum_interrupts(text, [rings.pattern("31430000.jr")]) is None


@pytest.mark.parametrize("name", CAAM)
def test_witnesses_are_a_counter_and_interrupts(name: str) -> None:
    kinds = [type(witness) for witness in load_board(name, BOARDS).witnesses]
    assert kinds == [Counter, Interrupts]


@pytest.mark.parametrize("name", HARDWARE)
def test_unmeasured_boards_are_marked_as_unverified(name: str) -> None:
    assert all(entry.uncalibrated for entry in load_board(name, BOARDS).throughput)
    assert "NOT VERIFIED ON HARDWARE" in (BOARDS / f"{name}.yaml").read_text()


def test_virtual_ls1046a_checks_what_the_file_of_the_real_board_states() -> None:
    """What concerns the accelerator is that of the real board, and what concerns the machine is that of `virt`."""
    virtual, real, machine = (load_board(name, BOARDS) for name in ("virt-ls1046a", "ls1046a", "virt"))
    for key in ("architecture", "libc", "openssl", "cryptodev", "algorithms", "witnesses"):
        assert getattr(virtual, key) == getattr(real, key), key
    for key in ("made_by", "bootloader", "boot", "flash", "linux", "layers"):
        assert getattr(virtual, key) == getattr(machine, key), key


@pytest.mark.parametrize("controller", ["1700000.crypto", "10000000.crypto"], ids=["LS1046A", "virt-ls1046a"])
def test_counter_is_found_at_both_addresses_of_the_controller(controller: str, tmp_path: Path) -> None:
    (tmp_path / controller / "ctl").mkdir(parents=True)
    (tmp_path / controller / "ctl/rq_dequeued").write_text("1234\n")
    (tmp_path / "other/ctl").mkdir(parents=True)
    (counter,) = (each for each in load_board("ls1046a", BOARDS).witnesses if isinstance(each, Counter))
    shell = LocalShell(replace={"/sys/kernel/debug": str(tmp_path)})
    assert read_witness(shell, counter).value == 1234


def test_openwrt_uses_no_digests_of_its_engine() -> None:
    board = load_board("openwrt-ls1046a", BOARDS)
    assert (board.libc, board.openssl.settings) == ("musl", {"DIGESTS": "NONE"})
    assert not [name for name in board.algorithms if name.startswith("SHA")]


def test_read_back_by_linux_prints_the_hash_of_the_image(tmp_path: Path) -> None:
    """The commands run on this host, with a file in place of the memory. A changed byte changes the hash."""
    image = tmp_path / "sdcard"
    image.write_bytes(bytes(range(256)) * 5000 + b"odd")
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xff" * 4_000_000)
    flash = load_board("imx8qxp-mek", BOARDS).flash["emmc"]
    values = {"sdcard": str(image), "sdcard_size": str(image.stat().st_size)}
    shell = LocalShell(
        replace={"/dev/mmcblk0": str(disk), "bs=1M": "bs=1M conv=notrunc", "/proc/sys/vm": str(tmp_path)}
    )
    for line in flash.write:
        shell.run(substitute(line, values)).check()
    (read_back,) = flash.read_back
    printed = shell.run(substitute(read_back, values)).check().text.split()[0]
    assert printed == sha256(image.read_bytes()).hexdigest()
    disk.write_bytes(b"\x01" + disk.read_bytes()[1:])
    assert shell.run(substitute(read_back, values)).check().text.split()[0] != printed


def test_openwrt_finds_its_partition_by_name(tmp_path: Path) -> None:
    mtd = tmp_path / "mtd"
    mtd.write_text(
        'dev:    size   erasesize  name\nmtd0: 00100000 00040000 "rcw"\nmtd12: 03100000 00040000 "firmware"\n'
    )
    (tmp_path / "mtd12").write_bytes(b"image and more")
    (read_back,) = load_board("openwrt-ls1046a", BOARDS).flash["mtd"].read_back
    shell = LocalShell(replace={"/dev/mtd": f"{tmp_path}/mtd", "/proc/mtd": str(mtd)})
    printed = shell.run(substitute(read_back, {"sysupgrade_size": "5"})).check().text
    assert printed.split()[0] == sha256(b"image").hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_prompts_match_the_output_of_such_a_board(name: str) -> None:
    """Shortened lines of boots of U-Boot 2023.04, a Yocto image and OpenWrt 23.05."""
    board = load_board(name, BOARDS)
    assert board.bootloader.interrupt.when in "Hit any key to stop autoboot:  10 "
    login = "ls1046ardb login: "
    if board.libc == "musl":
        login = "Please press Enter to activate this console.\r\n"
    assert board.linux.login in login
    assert board.linux.prompt in ("root@OpenWrt:/# " if board.libc == "musl" else "root@ls1046ardb:~# ")


def test_guide_lists_all_boards() -> None:
    page = (ROOT / "docs/boards.md").read_text()
    listed = re.findall(r"^\| `([\w-]+)\.yaml` \|", page, re.MULTILINE)
    assert listed[0] == "virt"
    assert sorted(listed) == list(NAMES)
