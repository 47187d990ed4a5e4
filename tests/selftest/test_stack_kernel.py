"""Modules, /proc/crypto, the device node and facts are read from recorded texts and from this host."""

import os
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.limits import MAX_ALGORITHM_LENGTH, MAX_FACT_LENGTH
from fixtures.outcome import LabError, ProductError
from fixtures.stack.batch import run_batch, split_output
from fixtures.stack.kernel import (
    afalg_reaches_accelerators,
    build_id,
    check_device,
    crypto_drivers,
    load_module,
    loaded_modules,
    parse_crypto,
    parse_modules,
    read_facts,
    read_release,
)

DATA = Path(__file__).parent / "data" / "stack"


def text(name: str) -> str:
    return (DATA / name).read_text()


def write_program(folder: Path, name: str, body: str) -> None:
    """Write a stand-in program into a folder at the front of PATH."""
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def shell(tmp_path: Path) -> LocalShell:
    """Shell of this host that runs the stand-in programs in tmp_path."""
    return LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})


@pytest.mark.parametrize(
    ("release", "reaches"),
    [("6.1.0-56-arm64", True), ("7.1.9", True), ("7.2.0-rc1", False), ("7.10.3", False), ("8.0", False), ("odd", True)],
)
def test_af_alg_reaches_no_accelerator_from_linux_7_2_on(release: str, reaches: bool) -> None:
    assert afalg_reaches_accelerators(release) is reaches


def test_modules_are_parsed() -> None:
    modules = parse_modules(text("modules.txt"))
    assert list(modules) == ["cryptodev", "virtio_crypto", "crypto_engine", "ipv6", "old_driver"]
    assert modules["crypto_engine"].refcnt == 1
    assert (modules["old_driver"].refcnt, modules["old_driver"].state) == (0, "Loading")


def test_malformed_modules_line_is_refused_with_its_number() -> None:
    with pytest.raises(ProductError, match=r"/proc/modules:2: .*found: 'cat: error"):
        parse_modules("cryptodev 36864 0 - Live 0x0\ncat: error\n")


def test_kernel_without_loadable_modules_has_none(tmp_path: Path) -> None:
    assert loaded_modules(LocalShell(replace={"/proc/modules": str(tmp_path / "none")})) == {}


def test_crypto_of_a_real_machine_is_parsed() -> None:
    entry = parse_crypto(text("crypto-x86.txt"))[0]
    assert (entry.name, entry.driver, entry.module) == ("cbc(aes)", "cbc(ecb(aes-fixed-time))", "kernel")
    assert (entry.priority, entry.refcnt, entry.selftest, entry.internal) == (101, 1, "passed", False)
    assert entry.type == "lskcipher"
    assert entry.asynchronous is None  # this type has no such line
    assert (entry.type_fields["blocksize"], entry.type_fields["min keysize"]) == ("16", "16")


def test_drivers_of_an_algorithm_keep_their_order_priority_and_state() -> None:
    """As on a board with CAAM: also internal, untested and tagged-key drivers, which the kernel does not select."""
    entries = [entry for entry in parse_crypto(text("crypto-caam.txt")) if entry.name == "cbc(aes)"]
    assert [(entry.driver, entry.priority) for entry in entries[:4]] == [
        ("cbc-aes-caam-qi", 2000), ("cbc-aes-caam", 3000), ("tk-cbc-aes-caam", 9000), ("cbc-aes-ce", 300),
    ]  # fmt: skip
    assert [entry.driver for entry in entries if entry.internal] == ["__cbc-aes-ce"]
    assert [entry.driver for entry in entries if entry.selftest != "passed"] == ["cbc-aes-new"]


def test_crypto_drivers_are_read_over_the_shell() -> None:
    entries = crypto_drivers(LocalShell(replace={"/proc/crypto": str(DATA / "crypto-virtio.txt")}))
    assert [entry.driver for entry in entries] == ["virtio_crypto_aes_cbc", "cbc(aes-generic)", "ecb(aes-generic)"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("name : a\nno colon here\n", "/proc/crypto:2: expected 'key : value'"),
        ("name : a\ndriver : b\npriority : 1\n\nname : a\npriority : 1\n", "/proc/crypto:5: .*driver ''"),
        ("name : a\ndriver : b\npriority : high\n", "/proc/crypto:1: .*high"),
    ],
)
def test_malformed_crypto_is_refused_with_its_line(broken: str, message: str) -> None:
    with pytest.raises(ProductError, match=message):
        parse_crypto(broken)


def test_module_is_loaded_in_one_batch(shell: LocalShell, tmp_path: Path) -> None:
    write_program(tmp_path, "modprobe", "exit 0")
    write_program(tmp_path, "grep", "exit 0")
    load_module(shell, "cryptodev")
    assert len(shell.commands) == 1


def test_modprobe_failure_shows_the_kernel_log(shell: LocalShell, tmp_path: Path) -> None:
    write_program(
        tmp_path, "modprobe", "echo modprobe: ERROR: could not insert cryptodev: Exec format error >&2; exit 1"
    )
    write_program(tmp_path, "dmesg", "seq 1 30; echo cryptodev: version magic 6.1.0-1 should be 6.1.0-2")
    with pytest.raises(ProductError) as failure:
        load_module(shell, "cryptodev")
    message = str(failure.value)
    assert "modprobe cryptodev failed with exit status 1: modprobe: ERROR: could not insert cryptodev" in message
    assert message.endswith("version magic 6.1.0-1 should be 6.1.0-2")
    assert "\n17\n" in message
    assert "\n16\n" not in message  # the last 15 lines


def test_modprobe_success_without_the_module_is_a_product_failure(shell: LocalShell, tmp_path: Path) -> None:
    write_program(tmp_path, "modprobe", "exit 0")
    with pytest.raises(ProductError, match=r"status 0, but /proc/modules does not list hil_no_such"):
        load_module(shell, "hil-no-such")


def test_device_must_be_a_character_device(tmp_path: Path) -> None:
    check_device(LocalShell(), "/dev/null")
    with pytest.raises(ProductError, match=r"nothing-here is missing: .*No such file"):
        check_device(LocalShell(), str(tmp_path / "nothing-here"))
    (tmp_path / "file").touch()
    with pytest.raises(ProductError, match=r"file is not a character device: -rw"):
        check_device(LocalShell(), str(tmp_path / "file"))


def test_facts_of_this_host_are_read_in_one_batch() -> None:
    shell = LocalShell()
    found = read_facts(shell, "cryptodev")
    assert found["kernel release"] == os.uname().release
    assert found["OpenSSL version"].startswith("OpenSSL ")
    assert found["engines folder"].startswith("/")
    assert read_facts(shell, "cryptodev", "/dev/null")["/dev/null mode"] == "crw-rw-rw- root root"
    shell.commands.pop()
    assert len(shell.commands) == 1


def test_facts_that_a_board_does_not_report_are_unknown(shell: LocalShell, tmp_path: Path) -> None:
    write_program(tmp_path, "openssl", "echo broken; exit 1")
    write_program(tmp_path, "modinfo", "echo modinfo: no such module >&2; exit 1")
    found = read_facts(shell, "cryptodev")
    assert found["OpenSSL version"] == found["engines folder"] == "unknown"
    assert found["cryptodev version"] == found["/dev/crypto mode"] == "unknown"


def test_module_version_is_read_from_the_kernel_log(shell: LocalShell, tmp_path: Path) -> None:
    write_program(tmp_path, "modinfo", "exit 0")
    log = "[    1.2] cryptodev: driver 1.13 loaded.", "[    9.8] cryptodev: driver 1.14 loaded.", "[    9.9] usb 1-1"
    write_program(tmp_path, "dmesg", "\n".join(f"echo '{line}'" for line in log))
    assert read_facts(shell, "cryptodev")["cryptodev version"] == "1.14"


def test_build_id_of_a_file_that_is_not_elf_is_a_product_failure() -> None:
    with pytest.raises(ProductError, match=r"^not an ELF file that can be read: no ELF header in 9 bytes"):
        build_id(b"not an el")


def test_batch_keeps_outputs_and_statuses_apart() -> None:
    parts = run_batch(
        LocalShell(),
        {"whole": "echo one; echo two >&2", "none": "true", "torn": "printf x; exit 3", "absent": "no-such-program"},
    )
    assert (parts["whole"].text, parts["whole"].exit_status) == ("one\ntwo\n", 0)
    assert (parts["none"].text, parts["none"].exit_status) == ("", 0)
    assert (parts["torn"].text, parts["torn"].exit_status) == ("x", 3)
    assert parts["absent"].exit_status == 127


def test_batch_output_cut_short_is_a_lab_error() -> None:
    with pytest.raises(LabError, match=r"no end marker of b in .* bytes"):
        run_batch(LocalShell(replace={"hil b": "true b"}), {"a": "echo 1", "b": "echo 2"})
    assert split_output("\n#hil a 0\nrest") == split_output("\n#hil a 0\n")


def test_superscript_size_of_a_module_is_malformed() -> None:
    """`str.isdigit` accepts it, and `int` does not."""
    with pytest.raises(ProductError, match="/proc/modules:1: expected name, size"):
        parse_modules("cryptodev ² 0 - Live 0x0")


@pytest.mark.parametrize(
    "line",
    [
        "cryptodev 1 ² - Live 0x0",
        "cryptodev -1 0 - Live 0x0",
        f"cryptodev {'1' * 5000} 0 - Live 0x0",
        f"cryptodev 1 {1 << 64} - Live 0x0",
        f"cryptodev {1 << 32} 0 - Live 0x0",
        "cryptodev 1 0 - Alive 0x0",
        "cryptodev 1 0 -",
        "\x1b[2J 1",
    ],
)
def test_impossible_modules_line_is_a_product_failure(line: str) -> None:
    with pytest.raises(ProductError, match=r"^/proc/modules:1: expected name, size") as caught:
        parse_modules(line)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "lines",
    [
        ["priority : ²"],
        ["priority : 1_000"],
        ["priority : 99999999999"],
        ["priority : 4294967295"],
        [f"priority : {'1' * 5000}"],
        ["priority : 1", "refcnt : -1"],
        ["priority : 1", f"refcnt : {1 << 64}"],
        ["priority : 1", "selftest : passed 100 passed"],
        ["priority : 1", "driver : two words"],
        ["priority : 1", "driver : \x1b[2J"],
        ["priority : 1", "driver :"],
        ["priority : 1", f"driver : {'x' * (MAX_ALGORITHM_LENGTH + 1)}"],
    ],
)
def test_impossible_crypto_entry_is_a_product_failure(lines: list[str]) -> None:
    with pytest.raises(ProductError, match=r"^/proc/crypto:1: a block without a usable ") as caught:
        parse_crypto("\n".join(["name : a", "driver : b", *lines]))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_longest_name_of_the_kernel_is_accepted() -> None:
    name = "x" * MAX_ALGORITHM_LENGTH
    assert parse_crypto(f"name : {name}\ndriver : {name}\npriority : -1\n")[0].driver == name


@pytest.mark.parametrize("release", ["9" * 5000, f"6.{'1' * 5000}", "\u0666.\u0661", ""])
def test_release_that_is_no_version_counts_as_old(release: str) -> None:
    assert afalg_reaches_accelerators(release) is True


def test_facts_are_of_limited_length(shell: LocalShell, tmp_path: Path) -> None:
    write_program(tmp_path, "openssl", f"echo {'x' * 5000}; echo 'ENGINESDIR: \"{'y' * 5000}\"'")
    write_program(tmp_path, "uname", f"echo {'z' * 5000}")
    write_program(tmp_path, "modinfo", "exit 1")
    facts = read_facts(shell, "cryptodev")
    limited = [facts[key] for key in ("kernel release", "OpenSSL version", "engines folder")]
    assert [*map(len, limited), len(read_release(shell))] == [MAX_FACT_LENGTH] * 4


@pytest.mark.parametrize(
    ("printed", "error"),
    [
        ("\n#hil two 0\n\n#hil one 0\n", ProductError),
        ("\n#hil one 0\n\n#hil one 0\n\n#hil two 0\n", ProductError),
        ("\n#hil one 0\n\n#hil other 0\n", ProductError),
        (f"\n#hil one {'1' * 5000}\n\n#hil two 0\n", ProductError),
        ("\n#hil one 0\n", LabError),
        ("\n#hil one 655\n", LabError),
        ("", LabError),
    ],
)
def test_end_markers_must_be_those_of_the_commands(tmp_path: Path, printed: str, error: type[Exception]) -> None:
    (tmp_path / "printed").write_text(printed)
    hostile = LocalShell(shell=("sh", "-c", f"cat {tmp_path}/printed"))  # whatever it is asked to run
    with pytest.raises(error):
        run_batch(hostile, {"one": "true", "two": "true"})
