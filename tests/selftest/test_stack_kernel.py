"""Modules, /proc/crypto, the device node, facts: read from real texts, and from a real machine."""

import os
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.outcome import LabError, ProductError
from fixtures.stack.batch import run_batch, split_output
from fixtures.stack.kernel import (
    afalg_reaches_accelerators,
    best_driver,
    build_id,
    check_device,
    crypto_drivers,
    facts,
    load_module,
    loaded_modules,
    parse_crypto,
    parse_modules,
)

DATA = Path(__file__).parent / "data" / "stack"


def text(name: str) -> str:
    return (DATA / name).read_text()


def program(folder: Path, name: str, body: str) -> None:
    """A stand-in program for the front of PATH."""
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> LocalShell:
    return LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})


@pytest.mark.parametrize(
    ("release", "reaches"),
    [("6.1.0-56-arm64", True), ("7.1.9", True), ("7.2.0-rc1", False), ("7.10.3", False), ("8.0", False), ("odd", True)],
)
def test_from_which_kernel_on_af_alg_reaches_no_accelerator(release: str, reaches: bool) -> None:
    assert afalg_reaches_accelerators(release) is reaches


def test_modules_of_a_board() -> None:
    modules = parse_modules(text("modules.txt"))
    assert list(modules) == ["cryptodev", "virtio_crypto", "crypto_engine", "ipv6", "old_driver"]
    assert modules["crypto_engine"].refcnt == 1
    assert (modules["old_driver"].refcnt, modules["old_driver"].state) == (0, "Loading")


def test_a_line_that_is_no_module_is_refused_with_its_number() -> None:
    with pytest.raises(ProductError, match=r"/proc/modules:2: .*found: cat: error"):
        parse_modules("cryptodev 36864 0 - Live 0x0\ncat: error\n")


def test_a_kernel_without_loadable_modules_has_none(tmp_path: Path) -> None:
    assert loaded_modules(LocalShell(replace={"/proc/modules": str(tmp_path / "none")})) == {}


def test_crypto_of_a_real_machine() -> None:
    entry = parse_crypto(text("crypto-x86.txt"))[0]
    assert (entry.name, entry.driver, entry.module) == ("cbc(aes)", "cbc(ecb(aes-fixed-time))", "kernel")
    assert (entry.priority, entry.refcnt, entry.selftest, entry.internal) == (101, 1, "passed", False)
    assert entry.type == "lskcipher"
    assert entry.asynchronous is None  # this type has no such line
    assert (entry.others["blocksize"], entry.others["min keysize"]) == ("16", "16")


def test_the_shell_reads_crypto() -> None:
    entries = crypto_drivers(LocalShell(replace={"/proc/crypto": str(DATA / "crypto-virtio.txt")}))
    assert [entry.driver for entry in entries] == ["virtio_crypto_aes_cbc", "cbc(aes-generic)", "ecb(aes-generic)"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("name : a\nno colon here\n", "/proc/crypto:2: expected 'key : value'"),
        ("name : a\ndriver : b\npriority : 1\n\nname : a\npriority : 1\n", "/proc/crypto:5: .*'driver'"),
        ("name : a\ndriver : b\npriority : high\n", "/proc/crypto:1: .*high"),
    ],
)
def test_broken_crypto_is_refused_with_its_line(broken: str, message: str) -> None:
    with pytest.raises(ProductError, match=message):
        parse_crypto(broken)


@pytest.mark.parametrize(
    ("file", "algorithm", "driver"),
    [
        ("crypto-virtio.txt", "cbc(aes)", "virtio_crypto_aes_cbc"),
        ("crypto-caam.txt", "cbc(aes)", "cbc-aes-caam"),  # not the internal, untested and tagged-key ones above it
        ("crypto-caam.txt", "sha256", "sha256-caam"),
        ("crypto-caam.txt", "tk(cbc(aes))", None),
        ("crypto-caam.txt", "xts(aes)", None),
        ("crypto-x86.txt", "ecb(aes)", "ecb(aes-fixed-time)"),
    ],
)
def test_the_driver_that_the_kernel_gives_out(file: str, algorithm: str, driver: str | None) -> None:
    best = best_driver(parse_crypto(text(file)), algorithm)
    assert (best and best.driver) == driver


def test_of_equal_drivers_the_first_listed_is_given_out() -> None:
    block = "name : a\ndriver : {}\npriority : 5\nselftest : passed\n\n"
    best = best_driver(parse_crypto(block.format("one") + block.format("two")), "a")
    assert best and best.driver == "one"


def test_a_module_that_loads(programs: LocalShell, tmp_path: Path) -> None:
    program(tmp_path, "modprobe", "exit 0")
    program(tmp_path, "grep", "exit 0")
    load_module(programs, "cryptodev")
    assert len(programs.commands) == 1


def test_a_module_that_does_not_load_is_explained_by_the_kernel(programs: LocalShell, tmp_path: Path) -> None:
    program(tmp_path, "modprobe", "echo modprobe: ERROR: could not insert cryptodev: Exec format error >&2; exit 1")
    program(tmp_path, "dmesg", "seq 1 30; echo cryptodev: version magic 6.1.0-1 should be 6.1.0-2")
    with pytest.raises(ProductError) as failure:
        load_module(programs, "cryptodev")
    message = str(failure.value)
    assert "modprobe cryptodev failed with exit status 1: modprobe: ERROR: could not insert cryptodev" in message
    assert message.endswith("version magic 6.1.0-1 should be 6.1.0-2")
    assert "\n17\n" in message
    assert "\n16\n" not in message  # the last 15 lines


def test_modprobe_that_lies(programs: LocalShell, tmp_path: Path) -> None:
    program(tmp_path, "modprobe", "exit 0")
    with pytest.raises(ProductError, match=r"status 0, but /proc/modules does not list hil_no_such"):
        load_module(programs, "hil-no-such")


def test_a_device_node(tmp_path: Path) -> None:
    check_device(LocalShell(), "/dev/null")
    with pytest.raises(ProductError, match=r"nothing-here is missing: .*No such file"):
        check_device(LocalShell(), str(tmp_path / "nothing-here"))
    (tmp_path / "file").touch()
    with pytest.raises(ProductError, match=r"file is not a character device: -rw"):
        check_device(LocalShell(), str(tmp_path / "file"))


def test_facts_of_this_machine() -> None:
    shell = LocalShell()
    found = facts(shell, "cryptodev", Path("/bin/sh").resolve().read_bytes())
    assert found["kernel release"] == os.uname().release
    assert found["OpenSSL version"].startswith("OpenSSL ")
    assert found["engines folder"].startswith("/")
    assert len(found["engine build-id"]) == 40
    assert len(shell.commands) == 1


def test_facts_that_a_board_does_not_tell(programs: LocalShell, tmp_path: Path) -> None:
    program(tmp_path, "openssl", "echo broken; exit 1")
    program(tmp_path, "modinfo", "echo modinfo: no such module >&2; exit 1")
    found = facts(programs, "cryptodev")
    assert found["OpenSSL version"] == found["engines folder"] == "unknown"
    assert found["cryptodev version"] == found["engine build-id"] == "unknown"


def test_a_module_without_a_version_has_told_it_to_the_log(programs: LocalShell, tmp_path: Path) -> None:
    program(tmp_path, "modinfo", "exit 0")
    log = "[    1.2] cryptodev: driver 1.13 loaded.", "[    9.8] cryptodev: driver 1.14 loaded.", "[    9.9] usb 1-1"
    program(tmp_path, "dmesg", "\n".join(f"echo '{line}'" for line in log))
    assert facts(programs, "cryptodev")["cryptodev version"] == "1.14"


def test_no_build_id_in_what_is_no_elf_file() -> None:
    with pytest.raises(ProductError, match=r"not a readable ELF file \(9 bytes"):
        build_id(b"not an el")


def test_one_trip_keeps_answers_and_statuses_apart() -> None:
    parts = run_batch(
        LocalShell(),
        {"whole": "echo one; echo two >&2", "none": "true", "torn": "printf x; exit 3", "absent": "no-such-program"},
    )
    assert (parts["whole"].text, parts["whole"].exit_status) == ("one\ntwo\n", 0)
    assert (parts["none"].text, parts["none"].exit_status) == ("", 0)
    assert (parts["torn"].text, parts["torn"].exit_status) == ("x", 3)
    assert parts["absent"].exit_status == 127


def test_an_answer_that_was_cut_short_is_the_labs_fault() -> None:
    with pytest.raises(LabError, match=r"no mark of b in the .* bytes"):
        run_batch(LocalShell(replace={"hil b": "true b"}), {"a": "echo 1", "b": "echo 2"})
    assert split_output("\n#hil a 0\nrest") == split_output("\n#hil a 0\n")
