"""The board files of this repository: what each promises is held against what such boards print."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.boot.image import substitute
from fixtures.lab.board import Board, Counter, Interrupts, boards, load_board
from fixtures.outcome import UsageError
from fixtures.stack.witness import sum_interrupts

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "boards"
TEXTS = Path(__file__).parent / "data/stack"
NAMES = boards(BOARDS)
CAAM = tuple(name for name in NAMES if name != "virt")

# cra_name -> cra_driver_name, of drivers/crypto/caam: caamalg.c, driver_algs[], and caamhash.c, driver_hash[].
DRIVERS = {
    "cbc(aes)": "cbc-aes-caam",
    "ecb(aes)": "ecb-aes-caam",
    "ctr(aes)": "ctr-aes-caam",
    **{f"sha{bits}": f"sha{bits}-caam" for bits in (1, 224, 256, 384, 512)},
}
FILES = {"kernel", "dtb", "initrd", "itb", "initramfs", "sdcard", "sysupgrade", "firmware"}
"""What a folder for --image can hold, as boards/README.md lists it."""


def wrong_promises(board: Board) -> list[str]:
    """The algorithms whose kernel name is not that of OpenSSL's name, or whose driver is not CAAM's."""
    wrong = []
    for name, algorithm in board.algorithms.items():
        mode = re.fullmatch(r"AES-\d+-(\w+)", name)
        kernel = f"{mode[1].lower()}(aes)" if mode else name.lower()
        if algorithm.kernel != kernel or algorithm.driver not in (None, DRIVERS[kernel]):
            wrong.append(name)
    return wrong


def commands(board: Board) -> dict[str, tuple[str, ...]]:
    """All command lines of a board file by where they stand."""
    lines = {f"boot.{way}": way_lines for way, way_lines in board.boot.items()}
    for way, flash in board.flash.items():
        lines[f"flash.{way}"] = (*flash.write, *flash.read_back, *flash.boot)
    return lines


@pytest.mark.parametrize("name", CAAM)
def test_each_driver_is_one_that_caam_registers(name: str) -> None:
    assert wrong_promises(load_board(name, BOARDS)) == []


def test_a_driver_that_caam_does_not_register_is_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"extends: {BOARDS}/ls1046a.yaml\nalgorithms: {{AES-128-CBC: {{driver: cbc-aes-caam-qi}}}}\n")
    assert wrong_promises(load_board(str(path), BOARDS)) == ["AES-128-CBC"]


@pytest.mark.parametrize("name", NAMES)
def test_every_placeholder_is_a_file_of_the_image(name: str) -> None:
    board = load_board(name, BOARDS)
    values = {"server": "10.0.0.1", **{file: file for file in FILES}, **{f"{file}_size": "1f" for file in FILES}}
    for where, lines in commands(board).items():
        filled = [substitute(line, values) for line in lines]
        assert not [line for line in filled if re.search(r"(?<!\$)\{", line)], where
    for way, flash in board.flash.items():
        used = " ".join(flash.write)
        assert flash.image in FILES, way
        assert f"{{{flash.image}}}" in used, way


def test_a_placeholder_that_no_file_has_is_found() -> None:
    with pytest.raises(UsageError, match=r"unknown placeholder \{kernle\}"):
        substitute("tftpboot {kernle}", dict.fromkeys(FILES, ""))


@pytest.mark.parametrize("name", NAMES)
def test_a_flash_way_ends_by_printing_a_checksum(name: str) -> None:
    for way, flash in load_board(name, BOARDS).flash.items():
        by_uboot = flash.at == "u-boot" or flash.restarts
        assert ("crc32" if by_uboot else "sha256sum") in flash.read_back[-1], way


SET_BY_A_WRITE = re.compile(r"\$\{(filesize|blocks|end|from|to|size|ramdisk)\}")
"""What tftpboot or a line of a board file sets."""


@pytest.mark.parametrize("name", NAMES)
def test_reading_back_and_booting_need_nothing_that_writing_sets(name: str) -> None:
    """They are also run where nothing was written, because the image is there already, and after a power cycle."""
    for way, flash in load_board(name, BOARDS).flash.items():
        for lines in (flash.read_back, flash.boot):
            known: set[str] = set()
            for command in ";".join(lines).split(";"):
                assert set(SET_BY_A_WRITE.findall(command)) <= known | set(re.findall(r"setexpr (\w+)", command)), way
                known |= set(re.findall(r"setexpr (\w+)", command))


@pytest.mark.parametrize("name", ["ls1046a", "ls1043a", "openwrt-ls1046a"])
def test_the_job_rings_are_found_in_an_ls1046as_interrupts(name: str) -> None:
    """With the device names that the board's driver folder would have; a ring of another SoC is not counted."""
    (rings,) = [witness for witness in load_board(name, BOARDS).witnesses if isinstance(witness, Interrupts)]
    text = (TEXTS / "interrupts-ls1046a.txt").read_text()
    names = [f"17{ring}0000.jr" for ring in range(1, 5)]
    expected = sum(sum(map(int, line.split()[1:5])) for line in text.splitlines() if line.endswith(tuple(names)))
    assert expected > 0
    assert sum_interrupts(text, [rings.pattern(ring) for ring in names]) == expected
    assert sum_interrupts(text, [rings.pattern("31430000.jr")]) is None


@pytest.mark.parametrize("name", CAAM)
def test_a_counter_and_interrupts_bear_witness(name: str) -> None:
    kinds = [type(witness) for witness in load_board(name, BOARDS).witnesses]
    assert kinds == [Counter, Interrupts]


@pytest.mark.parametrize("name", CAAM)
def test_what_nobody_measured_says_so(name: str) -> None:
    assert all(entry.uncalibrated for entry in load_board(name, BOARDS).throughput)
    assert "NOT VERIFIED ON HARDWARE" in (BOARDS / f"{name}.yaml").read_text()


def test_openwrt_asks_no_digests_of_its_engine() -> None:
    board = load_board("openwrt-ls1046a", BOARDS)
    assert (board.libc, board.openssl.settings) == ("musl", {"DIGESTS": "NONE"})
    assert not [name for name in board.algorithms if name.startswith("SHA")]


def test_linux_reads_back_what_it_wrote(tmp_path: Path) -> None:
    """The Linux way, run here on a file in the place of the memory: the hash is the image's, and no other's."""
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
    told = shell.run(substitute(read_back, values)).check().text.split()[0]
    assert told == sha256(image.read_bytes()).hexdigest()
    disk.write_bytes(b"\x01" + disk.read_bytes()[1:])
    assert shell.run(substitute(read_back, values)).check().text.split()[0] != told


def test_openwrt_finds_the_partition_by_its_name(tmp_path: Path) -> None:
    mtd = tmp_path / "mtd"
    mtd.write_text(
        'dev:    size   erasesize  name\nmtd0: 00100000 00040000 "rcw"\nmtd12: 03100000 00040000 "firmware"\n'
    )
    (tmp_path / "mtd12").write_bytes(b"image and more")
    (read_back,) = load_board("openwrt-ls1046a", BOARDS).flash["mtd"].read_back
    shell = LocalShell(replace={"/dev/mtd": f"{tmp_path}/mtd", "/proc/mtd": str(mtd)})
    told = shell.run(substitute(read_back, {"sysupgrade_size": "5"})).check().text
    assert told.split()[0] == sha256(b"image").hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_the_prompts_are_met_by_what_such_a_board_prints(name: str) -> None:
    """Lines of a boot, shortened, of U-Boot 2023.04, of a Yocto image and of OpenWrt 23.05."""
    board = load_board(name, BOARDS)
    assert board.bootloader.interrupt.when in "Hit any key to stop autoboot:  10 "
    login = "ls1046ardb login: "
    if board.libc == "musl":
        login = "Please press Enter to activate this console.\r\n"
    assert board.linux.login in login
    assert board.linux.prompt in ("root@OpenWrt:/# " if board.libc == "musl" else "root@ls1046ardb:~# ")


def test_the_page_about_boards_lists_them_all() -> None:
    page = (BOARDS / "README.md").read_text()
    assert re.findall(r"^\| `([\w-]+)\.yaml` \|", page, re.MULTILINE) == ["virt", *sorted(CAAM, key=page.index)]
    assert set(CAAM) == {name for name in NAMES if f"`{name}.yaml`" in page} - {"virt"}
