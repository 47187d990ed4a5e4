"""The real probe on this machine, with its libcrypto: answers, what served them, and every kind of failure."""

import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.lab.board import load_board
from fixtures.lab.board_files import list_boards
from fixtures.outcome import LabError, ProductError, UsageError
from fixtures.probe.build import SOURCES, build
from fixtures.probe.protocol import VECTOR_TIMEOUT, Engine, GroupAnswers, Layer, Probe, ProbeCrash, install
from fixtures.probe.repeats import Repeat
from fixtures.probe.wire import encode
from fixtures.stack.witness import parse_uptime, sum_interrupts
from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.sources import load

MACHINE = platform.machine()
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or MACHINE not in ("x86_64", "aarch64"),
    reason=f"the probe is run on this machine, which is no 64-bit Linux on x86 or ARM but {sys.platform} {MACHINE}",
)

BOARDS = Path(__file__).parents[2] / "boards"

CONFIGURATION = """
openssl_conf = start
[start]
engines = engines
[engines]
one = one
[one]
engine_id = hiltest
dynamic_path = {path}
MODE = {mode}
init = 1
default_algorithms = ALL
"""


def find_group(group_id: str) -> VectorGroup:
    return next(group for group in load().groups if group.id == group_id)


CBC = find_group("AES-128-CBC-VarTxt-encrypt")
CBC_DECRYPT = find_group("AES-128-CBC-MMT-decrypt")
CTR = find_group("AES-256-CTR-RFC3686-encrypt")
SHA256 = find_group("SHA256-ShortMsg")
SHA512 = find_group("SHA512-LongMsg")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a probe for this machine."""
    return build(MACHINE, "glibc", tmp_path_factory.getbasetemp() / "probe").read_bytes()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the test engine for this machine. Its libcrypto symbols are left to the program that loads it."""
    folder = tmp_path_factory.getbasetemp() / "engine"  # shared by all test files that use it
    folder.mkdir(exist_ok=True)
    made = folder / "hiltest.so"
    if made.exists():
        return made
    flags = ("-target", f"{MACHINE}-linux-gnu.2.28", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror")
    environment = os.environ | {"ZIG_LOCAL_CACHE_DIR": str(folder), "ZIG_GLOBAL_CACHE_DIR": str(folder)}
    source = Path(__file__).with_name("probe_engine.c")
    command = (sys.executable, "-m", "ziglang", "cc", *flags, str(source), "-o", str(made))
    subprocess.run(command, check=True, env=environment, timeout=120)
    return made


@dataclass
class ProbeSetup:
    """The probe and the test engine in a folder."""

    program: bytes
    engine: Path
    folder: Path

    def install(
        self, mode: str = "right", *, configuration: str = CONFIGURATION, explicit: Engine | None = None
    ) -> Probe:
        """Install the probe, and an openssl.cnf that configures the test engine in a mode; return the probe."""
        (self.folder / "openssl.cnf").write_text(configuration.format(path=self.engine, mode=mode))
        shell = LocalShell(environment={"OPENSSL_CONF": str(self.folder / "openssl.cnf")})
        return install(shell, self.program, str(self.folder / "hil-probe"), engine=explicit)


@pytest.fixture
def probe_setup(program: bytes, engine: Path, tmp_path: Path) -> ProbeSetup:
    """Return a folder for a probe and its configuration."""
    return ProbeSetup(program, engine, tmp_path)


def count_mismatches(groups: Sequence[VectorGroup], answers: Sequence[GroupAnswers]) -> int:
    """Return the number of wrong or failed answers. :raises ValueError: an answer is missing."""
    pairs = [
        (vector, answer)
        for group, given in zip(groups, answers, strict=True)
        for vector, answer in zip(group.vectors, given.answers, strict=True)
    ]
    return sum(answer.output != vector.output or bool(answer.error) for vector, answer in pairs)


@pytest.mark.parametrize("layer", ["openssl", "engine"])
def test_every_vector_is_answered_right(probe_setup: ProbeSetup, layer: Layer) -> None:
    groups = load().groups
    answers = probe_setup.install("nothing").run_groups(layer, groups)
    assert count_mismatches(groups, answers) == 0
    assert {given.served_by for given in answers} == {"software"}
    assert all(given.seconds > 0 for given in answers)


def test_flipped_bit_in_an_expected_answer_is_a_mismatch(probe_setup: ProbeSetup) -> None:
    last = CBC.vectors[-1]
    bad = replace(CBC, vectors=(*CBC.vectors[:-1], replace(last, output=bytes([last.output[0] ^ 1]) + last.output[1:])))
    assert count_mismatches([bad], probe_setup.install().run_groups("openssl", [bad])) == 1


def test_opened_layer_reports_libcrypto_and_its_file(probe_setup: ProbeSetup) -> None:
    open_layer = probe_setup.install().open_layer("engine")
    assert open_layer.layer == "engine"
    assert open_layer.version.startswith("OpenSSL ")
    assert open_layer.library.startswith("/") and Path(open_layer.library).name.startswith("libcrypto.so")
    assert open_layer.notes == ()


def test_probe_uses_the_libcrypto_of_the_openssl_program(probe_setup: ProbeSetup) -> None:
    bin_folder, library = probe_setup.folder / "bin", probe_setup.folder / "lib"
    bin_folder.mkdir()
    library.mkdir()
    other = library / "libcrypto.so.1.1"
    other.symlink_to(probe_setup.install().open_layer("openssl").library)
    openssl = bin_folder / "openssl"
    openssl.write_bytes(b"\x7fELF...\0libssl.so.1.1\0libcrypto.so.1.1\0libc.so.6\0")
    openssl.chmod(0o755)
    shell = LocalShell(environment={"PATH": f"{bin_folder}:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(library)})
    path = str(probe_setup.folder / "hil-probe")
    assert Probe(shell, path).open_layer("openssl").library == str(other)
    openssl.write_bytes(b"a script, or linked statically")
    assert Probe(shell, path).open_layer("openssl").library != str(other)


def test_software_layer_ignores_openssl_cnf(probe_setup: ProbeSetup) -> None:
    answers = probe_setup.install("wrong").run_groups("openssl", [CBC, SHA256])
    assert count_mismatches([CBC, SHA256], answers) == 0
    assert [given.served_by for given in answers] == ["software", "software"]


def test_engine_layer_uses_the_configured_engine(probe_setup: ProbeSetup) -> None:
    groups = [CBC, CBC_DECRYPT, SHA256, CTR, SHA512]
    answers = probe_setup.install("right").run_groups("engine", groups)
    assert count_mismatches(groups, answers) == 0
    assert [given.served_by for given in answers] == ["engine hiltest"] * 3 + ["software"] * 2


def test_wrong_answers_of_an_engine_are_passed_on(probe_setup: ProbeSetup) -> None:
    answers = probe_setup.install("wrong").run_groups("engine", [CBC, SHA256, CTR])
    assert [count_mismatches([group], [given]) for group, given in zip([CBC, SHA256, CTR], answers, strict=True)] == [
        len(CBC.vectors),
        len(SHA256.vectors),
        0,
    ]


def test_engine_without_algorithms_is_reported_as_software(probe_setup: ProbeSetup) -> None:
    answers = probe_setup.install("nothing").run_groups("engine", [CBC, SHA256])
    assert count_mismatches([CBC, SHA256], answers) == 0
    assert [given.served_by for given in answers] == ["software", "software"]


def test_engine_that_cannot_be_loaded_is_reported_as_software_with_a_note(probe_setup: ProbeSetup) -> None:
    probe = probe_setup.install(configuration=CONFIGURATION.replace("{path}", "/nowhere/hiltest.so"))
    assert [given.served_by for given in probe.run_groups("engine", [CBC])] == ["software"]
    assert any("/nowhere/hiltest.so" in note for note in probe.open_layer("engine").notes)


def test_explicit_engine_needs_no_openssl_cnf(probe_setup: ProbeSetup) -> None:
    probe = probe_setup.install(explicit=Engine(str(probe_setup.engine), {"MODE": "wrong"}), configuration="")
    cbc, sha = probe.run_groups("engine-explicit", [CBC, SHA256])
    assert (cbc.served_by, sha.served_by) == ("engine hiltest", "engine hiltest")
    assert count_mismatches([CBC], [cbc]) == len(CBC.vectors)


def test_explicit_engine_does_not_fall_back_to_software(probe_setup: ProbeSetup) -> None:
    probe = probe_setup.install(explicit=Engine(str(probe_setup.engine)))
    (ctr,) = probe.run_groups("engine-explicit", [CTR])
    assert ctr.served_by == "nobody"
    assert all(answer.error.startswith("EVP_CipherInit_ex: error:") for answer in ctr.answers)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (Engine("no-such-engine"), "no-such-engine"),
        (Engine("/nowhere/x.so"), "/nowhere/x.so"),
        (Engine("PATH", {"NO_SUCH": "1"}), r"ENGINE_ctrl_cmd_string\(NO_SUCH, 1\): error:.*invalid cmd name"),
    ],
)
def test_unusable_explicit_engine_is_a_product_failure(probe_setup: ProbeSetup, named: Engine, message: str) -> None:
    explicit = replace(named, id=str(probe_setup.engine)) if named.id == "PATH" else named
    with pytest.raises(ProductError, match=f"layer engine-explicit cannot be opened: .*{message}"):
        probe_setup.install(explicit=explicit).open_layer("engine-explicit")


def test_explicit_layer_without_an_engine_is_a_usage_error(probe_setup: ProbeSetup) -> None:
    with pytest.raises(UsageError, match="engine"):
        probe_setup.install().open_layer("engine-explicit")


def test_failed_call_is_an_answer_and_the_run_continues(probe_setup: ProbeSetup) -> None:
    cut = replace(CTR.vectors[0], input=b"123")
    bad_key = replace(CTR.vectors[0], key=b"short")
    groups = [
        VectorGroup(
            "AES-128-CBC", "encrypt", "Cut", "here", (replace(CBC.vectors[0], input=cut.input), CBC.vectors[1])
        ),
        VectorGroup("AES-256-CTR", "encrypt", "Short", "here", (bad_key, CTR.vectors[0])),
        VectorGroup("NO-SUCH", "digest", "None", "here", SHA256.vectors[:2]),
        SHA256,
    ]
    answers = probe_setup.install().run_groups("openssl", groups)
    errors = [[answer.error for answer in given.answers] for given in answers]
    assert errors[0][0].startswith("EVP_CipherFinal_ex: error:") and "wrong final block length" in errors[0][0]
    assert errors[1][0] == "the vector has a key of 5 bytes and an IV of 16, AES-256-CTR takes 32 and 16"
    assert errors[2] == ["EVP_get_digestbyname: libcrypto knows no NO-SUCH"] * 2
    assert errors[0][1] == errors[1][1] == "" and count_mismatches([SHA256], answers[3:]) == 0


def test_refused_operations_are_answers_with_errors(probe_setup: ProbeSetup) -> None:
    cbc, sha = probe_setup.install("refuses").run_groups("engine", [CBC, SHA256])
    assert all(answer.error.startswith("EVP_CipherUpdate: ") for answer in cbc.answers)
    assert all(answer.error.startswith("EVP_DigestFinal_ex: ") for answer in sha.answers)


def test_crash_in_the_engine_is_reported_with_its_place(probe_setup: ProbeSetup) -> None:
    with pytest.raises(ProbeCrash) as caught:
        probe_setup.install("crashes").run_groups("engine", [SHA512, CBC, SHA256])
    message = str(caught.value)
    assert (
        "layer engine: the probe was ended by SIGSEGV at AES-128-CBC-VarTxt-encrypt, COUNT = 5 (CBCVarTxt128" in message
    )
    kept = caught.value.kept
    assert count_mismatches([SHA512], kept[:1]) == 0
    assert [answer.output for answer in kept[1].answers] == [vector.output for vector in CBC.vectors[:5]]


def test_crash_at_exit_is_reported_and_keeps_all_answers(probe_setup: ProbeSetup) -> None:
    with pytest.raises(ProbeCrash, match="ended by SIGABRT after its last answer, as the process ended") as caught:
        probe_setup.install("crashes-at-exit").run_groups("engine", [CBC])
    assert count_mismatches([CBC], caught.value.kept) == 0


def test_vector_that_hangs_ends_at_the_timeout(probe_setup: ProbeSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = probe_setup.install("hangs")
    monkeypatch.setattr("fixtures.probe.protocol.VECTOR_TIMEOUT", 1)
    with pytest.raises(ProbeCrash, match=r"no answer within 1 s at .*, COUNT = 1 \(CBC.*answers kept: 1"):
        probe.run_groups("engine", [CBC])
    assert VECTOR_TIMEOUT > 1


def test_kill_from_outside_is_a_crash(probe_setup: ProbeSetup) -> None:
    probe = probe_setup.install()
    path = str(probe_setup.folder / "hil-probe")
    shell = LocalShell(replace={path: f"sh -c 'kill -9 $$' {path}"})
    with pytest.raises(ProbeCrash, match="ended by SIGKILL at AES-128-CBC-VarTxt-encrypt or later; answers kept: 0"):
        Probe(shell, path).run_groups("engine", [CBC])
    assert count_mismatches([CBC], probe.run_groups("engine", [CBC])) == 0


def test_repeat_reports_count_time_and_server(probe_setup: ProbeSetup) -> None:
    probe = probe_setup.install("right")
    cipher = probe.repeat("engine", "AES-128-CBC", "encrypt", 256, 4096)
    digest = probe.repeat("engine", "SHA256", "digest", 10, 100_000)
    ctr = probe.repeat("engine", "AES-128-CTR", "decrypt", 7, 5)
    assert (cipher.operations, digest.operations, ctr.operations) == (256, 10, 7)
    assert (cipher.served_by, digest.served_by, ctr.served_by) == ("engine hiltest", "engine hiltest", "software")
    assert 0 < cipher.seconds < 5 and 0 < cipher.cpu_seconds <= cipher.seconds * 1.5


def test_repeat_that_stops_early_is_a_product_failure(probe_setup: ProbeSetup) -> None:
    with pytest.raises(ProductError, match=r"AES-128-CBC encrypt of 16 bytes: stopped after 0, .*EVP_CipherUpdate"):
        probe_setup.install("refuses").repeat("engine", "AES-128-CBC", "encrypt", 5, 16)
    with pytest.raises(ProductError, match="no multiple of the block size of 16 bytes"):
        probe_setup.install().repeat("openssl", "AES-128-CBC", "encrypt", 5, 15)


def test_counters_are_read_before_and_after_each_repeat(probe_setup: ProbeSetup) -> None:
    for name in ("one", "two"):
        (probe_setup.folder / f"{name}.count").write_text(f"{len(name)}\nmore\n")
    probe = probe_setup.install()
    tasks = [Repeat("AES-128-CBC", "encrypt", 2, size) for size in (16, 64)]
    watched = [f"counter:{probe_setup.folder}/*.count", f"counter:{probe_setup.folder}/none", "interrupts:"]
    repeats = probe.watch("openssl", tasks, [*watched, "device-interrupts:/dev/null*"])
    assert [repeated.operations for repeated in repeats] == [2, 2]
    for before, after in (reading for repeated in repeats for reading in repeated.readings):
        assert parse_uptime(before.splitlines()[0]) <= parse_uptime(after.splitlines()[0])
    counters, none, interrupts, filtered = (before.split("\n")[1:] for before, _ in repeats[0].readings)
    assert sorted(counters) == [f"3 {probe_setup.folder}/{name}.count" for name in ("one", "two")]
    assert none == []
    assert interrupts[:2] == ["interrupts:", "CPU0"]
    own = Path("/proc/interrupts").read_text().splitlines()[1:]
    assert [line.partition(":")[0].strip() for line in interrupts[2:]] == [
        line.partition(":")[0].strip() for line in own
    ]
    assert (sum_interrupts("\n".join(interrupts[1:]), [re.compile(".")]) or 0) > 0
    assert filtered == ["null", "interrupts:", "CPU0"]


def test_reading_that_is_missing_is_a_product_failure(probe_setup: ProbeSetup) -> None:
    probe = probe_setup.install()
    with pytest.raises(ProductError, match="'interrupts' is not KIND:GLOB"):
        probe.watch("openssl", [Repeat("SHA256", "digest", 1, 16)], ["interrupts"])
    shell = LocalShell(replace={" --watch interrupts:": ""})
    with pytest.raises(ProductError, match="0 of 1 counters were read"):
        probe.on(shell).watch("openssl", [Repeat("SHA256", "digest", 1, 16)], ["interrupts:"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "line 0: the input is cut off"),
        (b"end 00000001\n", "line 1: the input was damaged on its way: 00000000 is the CRC-32"),
        (b"end 00000000", "line 0: the input was damaged"),
        (None, "line 3: the input is cut off"),
    ],
)
def test_damaged_input_is_refused_before_anything_runs(
    probe_setup: ProbeSetup, text: bytes | None, message: str
) -> None:
    probe_setup.install()
    sent = b"\n".join(encode([CBC]).splitlines()[:3]) + b"\n" if text is None else text
    result = LocalShell().run(f"{probe_setup.folder}/hil-probe openssl", stdin=sent)
    assert result.exit_status == 2
    assert f"malformed {message.removeprefix('line ').replace(':', '', 1)}" in result.text
    assert "group" not in result.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("grup AES-128-CBC encrypt 0", "1 'grup' is neither group nor repeat"),
        ("group AES-128-CBC encode 0", "1 the operation is 'encode'"),
        ("group AES-128-CBC encrypt", "1 the count of vectors is missing"),
        ("group AES-128-CBC encrypt -1", "1 the count of vectors is '-1'"),
        ("group SHA256 digest 2\n0 - - -", "2 the group ends before its vector 1"),
        ("group SHA256 digest 1\n1 - - -", "2 expected vector 0, found 1"),
        ("group SHA256 digest 1\n0 - - abc", "2 the input has an odd number"),
        ("group SHA256 digest 1\n0 - - 0g", "2 the input has '0g'"),
        ("group SHA256 digest 1\n0 - - =", "2 the input is '='"),
        ("group SHA256 digest 1\n0 - - 00 00", "2 unknown stream pattern '00'"),
        ("group SHA256 digest 1\n0 - - 00 split x", "2 the pattern's number is 'x'"),
        ("group SHA256 digest 1\n0 - - 00 split 1 2 3", "2 unexpected text at the end: '3'"),
        ("group SHA256 digest 1\n0 - -", "2 the input is missing"),
    ],
)
def test_malformed_input_is_refused_with_its_line(probe_setup: ProbeSetup, lines: str, message: str) -> None:
    probe_setup.install()
    body = f"{lines}\n".encode()
    result = LocalShell().run(f"{probe_setup.folder}/hil-probe openssl", stdin=body + b"end %08x\n" % zlib.crc32(body))
    assert result.exit_status == 2
    assert f"malformed {message}" in result.text


def test_program_for_another_machine_is_a_lab_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"the probe does not run on the board, exit status (126|127)"):
        install(LocalShell(), b"\x7fELFnot for this machine", str(tmp_path / "hil-probe"))


def test_missing_libcrypto_is_a_product_failure(probe_setup: ProbeSetup) -> None:
    with pytest.raises(ProductError, match=r"cannot be opened: dlopen: /nowhere/libcrypto\.so"):
        install(LocalShell(), probe_setup.program, str(probe_setup.folder / "p"), libcrypto="/nowhere/libcrypto.so")


def test_library_without_openssl_functions_is_a_product_failure(probe_setup: ProbeSetup) -> None:
    with pytest.raises(ProductError, match="dlsym: no OpenSSL_version in this libcrypto"):
        install(LocalShell(), probe_setup.program, str(probe_setup.folder / "p"), libcrypto="libc.so.6")


def test_one_command_serves_many_groups(probe_setup: ProbeSetup) -> None:
    probe_setup.install()
    shell = LocalShell()
    probe = Probe(shell, str(probe_setup.folder / "hil-probe"))
    started = time.monotonic()
    probe.run_groups("openssl", [CBC, SHA256, CTR])
    assert len(shell.commands) == 1
    assert time.monotonic() - started < 2


def test_empty_messages_and_long_answers_arrive_whole(probe_setup: ProbeSetup) -> None:
    empty = Vector("Len = 0", 1, b"", b"", b"", bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709"))
    zeros = Vector("long", 1, bytes(16), bytes(16), bytes(100_000), b"")
    groups = [
        VectorGroup("SHA1", "digest", "Empty", "here", (empty,)),
        VectorGroup("AES-128-CTR", "encrypt", "Long", "here", (zeros, replace(zeros, input=b""))),
    ]
    sha, ctr = probe_setup.install().run_groups("openssl", groups)
    assert sha.answers[0].output == empty.output
    assert (len(ctr.answers[0].output), ctr.answers[1].output) == (100_000, b"")
    result = LocalShell().run(f"{probe_setup.folder}/hil-probe openssl", stdin=encode(groups))
    assert max(len(line) for line in result.text.splitlines()) < 500


# The layers below OpenSSL


def has_socket_family(family: str) -> bool:
    """Return whether this machine's kernel has sockets of a family."""
    try:
        socket.socket(getattr(socket, family), socket.SOCK_SEQPACKET).close()
    except OSError:
        return False
    return True


HAS_AFALG = has_socket_family("AF_ALG")


def test_kernel_names_in_the_probe_match_the_board_files() -> None:
    table = re.findall(r'\{"([A-Z0-9-]+)", "([^"]+)", \d+', (SOURCES / "kernel_algorithm.c").read_text())
    promised = {
        (name, algorithm.kernel)
        for board in list_boards(BOARDS)
        for name, algorithm in load_board(board, BOARDS).algorithms.items()
    }
    assert promised and promised <= set(table)
    assert {group.algorithm for group in load().groups} <= {name for name, _ in table}


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("/nowhere/crypto", r"open\(/nowhere/crypto\): ENOENT, there is no such device node: is the module"),
        ("/etc", r"open\(/etc\): EISDIR, "),
    ],
)
def test_missing_cryptodev_device_is_a_product_failure(probe_setup: ProbeSetup, device: str, message: str) -> None:
    probe = install(LocalShell(), probe_setup.program, str(probe_setup.folder / "p"), device=device)
    with pytest.raises(ProductError, match=f"layer cryptodev cannot be opened: {message}"):
        probe.run_groups("cryptodev", [CBC])


def test_foreign_device_is_an_error_of_each_vector(probe_setup: ProbeSetup) -> None:
    probe = install(LocalShell(), probe_setup.program, str(probe_setup.folder / "p"), device="/dev/null")
    cbc, sha = probe.run_groups("cryptodev", [CBC, SHA256])
    errors = {answer.error for given in (cbc, sha) for answer in given.answers}
    assert errors == {"ioctl(CIOCGSESSION): ENOTTY, this device is not cryptodev's"}
    assert (cbc.served_by, sha.served_by) == ("nobody", "nobody")
    with pytest.raises(ProductError, match=r"stopped after 0, served by nobody: ioctl\(CIOCGSESSION\): ENOTTY"):
        probe.repeat("cryptodev", "AES-128-CBC", "encrypt", 5, 16)


@pytest.mark.skipif(HAS_AFALG, reason="this machine's kernel has AF_ALG")
def test_kernel_without_af_alg_is_a_product_failure(probe_setup: ProbeSetup) -> None:
    message = r"layer afalg cannot be opened: socket\(AF_ALG\): EAFNOSUPPORT, this kernel has no such sockets: CONFIG_"
    with pytest.raises(ProductError, match=message):
        probe_setup.install().run_groups("afalg", [CBC])


@pytest.mark.skipif(not HAS_AFALG, reason="this machine's kernel has no AF_ALG")
def test_af_alg_answers_every_vector_right(probe_setup: ProbeSetup) -> None:
    groups = load().groups
    answers = probe_setup.install().run_groups("afalg", groups)
    assert count_mismatches(groups, answers) == 0
    assert not {given.served_by for given in answers} & {"nobody", "software"}


@pytest.mark.skipif(not HAS_AFALG, reason="this machine's kernel has no AF_ALG")
def test_missing_driver_is_an_error_of_each_vector(probe_setup: ProbeSetup) -> None:
    (cbc,) = probe_setup.install().run_groups("afalg", [CBC], driver="cbc-aes-nowhere")
    assert re.match(r"bind\(skcipher, cbc-aes-nowhere\): ENOENT, Linux .* has no such driver", cbc.answers[0].error)


def test_driver_name_at_another_layer_is_a_usage_error(probe_setup: ProbeSetup) -> None:
    with pytest.raises(UsageError, match="layer cryptodev cannot select the driver cbc-aes-caam"):
        probe_setup.install().run_groups("cryptodev", [CBC], driver="cbc-aes-caam")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder below which every user may open files, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_probe_as_another_user_has_that_user_s_rights(probe_setup: ProbeSetup, open_folder: Path) -> None:
    """A device that only its owner may open. Only root can become another user."""
    probe = probe_setup.install("nothing")
    with pytest.raises(ProductError, match="the board has no user 'no-such-user'"):
        probe.as_user("no-such-user").open_layer("openssl")
    if os.geteuid() != 0:
        with pytest.raises(ProductError, match=r"(initgroups|setgid|setuid): EPERM"):
            probe.as_user("root").open_layer("openssl")
        return
    open_folder.chmod(0o755)
    device = open_folder / "device"
    device.touch(mode=0o600)
    closed = Probe(LocalShell(), probe.path, device=str(device))
    assert closed.open_layer("cryptodev").layer == "cryptodev"
    with pytest.raises(ProductError, match=r"open\(.*/device\): EACCES") as caught:
        closed.as_user("nobody").open_layer("cryptodev")
    assert [each.kind for each in caught.value.evidence] == ["device refused"]
    device.chmod(0o666)
    assert closed.as_user("nobody").open_layer("cryptodev").layer == "cryptodev"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root of a process")
def test_probe_in_another_root_gets_software_where_openssl_has_no_configuration(
    probe_setup: ProbeSetup, tmp_path: Path
) -> None:
    answers = probe_setup.install().in_root(str(tmp_path)).run_groups("openssl", [CBC, SHA256])
    assert count_mismatches([CBC, SHA256], answers) == 0
    with pytest.raises(ProductError, match="chroot: ENOENT"):
        probe_setup.install().in_root(f"{tmp_path}/none").open_layer("openssl")
