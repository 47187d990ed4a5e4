"""Does the probe touch only memory that is its own? Built with AddressSanitizer and UBSan, run on this machine."""

import os
import random
import re
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_probe_run import CBC, CONFIGURATION, CTR, SHA256, SHA512, engine, pytestmark

from fixtures.probe.build import COMPILE_FLAGS, LIBRARIES, SOURCES
from fixtures.probe.repeats import Repeat
from fixtures.probe.wire import Task, encode
from fixtures.vectors.conditions import cpus, lifetimes
from fixtures.vectors.shapes import shapes
from fixtures.vectors.sizes import AEAD, SizeVectors
from fixtures.vectors.sources import load
from fixtures.vectors.streams import streams

__all__ = ["engine", "pytestmark"]

SANITIZERS = ("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
REPEATS = [Repeat("AES-128-CBC", "encrypt", 20, 4096), Repeat("SHA256", "digest", 20, 100)]
SIZES = [SizeVectors(0, "SHA256").records(), SizeVectors(0, "AES-128-CBC").packets()]
SEALED = SizeVectors(0, AEAD).packets()
ENGINE_TASKS: list[Task] = [
    *(group for group in (*streams(), *shapes()) if group.algorithm in ("AES-128-CBC", "SHA256")),
    *lifetimes(), *cpus(),
    CBC, SHA256, *REPEATS, *SIZES,
]  # fmt: skip
MUTATIONS = 60
"""Number of mutated inputs."""


def build_sanitized(sources: Path, program: Path) -> Path:
    """Build the probe for this machine with Debian's gcc: the compiler in ``ziglang`` brings no AddressSanitizer."""
    gcc = shutil.which("gcc")
    assert gcc, "no gcc: the first of the two lines in README.md installs it"
    flags = [flag for flag in COMPILE_FLAGS if flag not in ("-s", "-O2")]
    done = subprocess.run(
        (gcc, *flags, *SANITIZERS, *map(str, sorted(sources.glob("*.c"))), "-o", str(program), *LIBRARIES),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe with sanitizers."""
    return build_sanitized(SOURCES, tmp_path_factory.mktemp("sanitized") / "hil-probe")


@dataclass
class Runner:
    """Runner of a sanitized probe. The sanitizers write into files, so that no report of a child process is lost."""

    program: Path
    folder: Path

    def run(self, *arguments: str, sent: bytes = b"", environment: dict[str, str] | None = None) -> int:
        """Run the probe and return its exit status; its standard output is in `output`."""
        logs = f"log_path={self.folder / 'report'}"
        options = {"ASAN_OPTIONS": f"{logs}:use_sigaltstack=0", "UBSAN_OPTIONS": f"{logs}:print_stacktrace=1"}
        done = subprocess.run(
            (str(self.program), *arguments), input=sent, env=os.environ | options | (environment or {}),
            capture_output=True, timeout=300, check=False,
        )  # fmt: skip
        self.output = done.stdout.decode()
        return done.returncode

    def reports(self) -> str:
        """Return what the sanitizers reported so far."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("report*")))


@pytest.fixture
def runner(sanitized: Path, tmp_path: Path) -> Runner:
    """A sanitized probe in a folder of its own."""
    return Runner(sanitized, tmp_path)


def seal(body: bytes) -> bytes:
    """Append the line with the CRC-32 of the input."""
    return body + b"end %08x\n" % zlib.crc32(body)


@pytest.mark.parametrize(
    "tasks", [list(load().groups), [*streams(), *shapes(), *REPEATS, *SIZES]], ids=["vectors", "streams and repeats"]
)
def test_software_layer_has_no_sanitizer_report(runner: Runner, tasks: Sequence[Task]) -> None:
    watched = ["--watch", "counter:/proc/uptime*", "--watch", "interrupts:", "--watch", "device-interrupts:/dev/n*"]
    assert runner.run("openssl", *watched, sent=encode(tasks)) == 0
    assert runner.reports() == ""
    assert " e " not in re.sub(r"#\w+", "", runner.output)


def configure(folder: Path, path: Path, mode: str) -> dict[str, str]:
    (folder / "openssl.cnf").write_text(CONFIGURATION.format(path=path, mode=mode))
    return {"OPENSSL_CONF": str(folder / "openssl.cnf")}


@pytest.mark.parametrize("mode", ["right", "wrong", "refuses", "nothing", "leaks", "dies-in-child"])
def test_configured_engine_has_no_sanitizer_report(runner: Runner, engine: Path, mode: str) -> None:
    environment = configure(runner.folder, engine, mode)
    assert runner.run("engine", sent=encode(ENGINE_TASKS), environment=environment) == 0
    assert runner.reports() == ""


def test_explicit_engine_has_no_sanitizer_report(runner: Runner, engine: Path) -> None:
    arguments = ("engine-explicit", "--engine", str(engine), "--set", "MODE=right")
    assert runner.run(*arguments, sent=encode([*ENGINE_TASKS, CTR])) == 0
    assert "engine hiltest" in runner.output
    for failing in (("--engine", "no-such-engine"), ("--engine", str(engine), "--set", "NO_SUCH=1"), ()):
        assert runner.run("engine-explicit", *failing, sent=encode([])) == 3
    assert runner.reports() == ""


@pytest.mark.parametrize("mode", ["crashes", "hangs"])
def test_crash_or_hang_in_an_engine_has_no_sanitizer_report(runner: Runner, engine: Path, mode: str) -> None:
    environment = configure(runner.folder, engine, mode)
    assert runner.run("engine", "--timeout", "1", sent=encode([SHA512, CBC]), environment=environment) < 0
    assert re.search(r"@\d+ died SIG(SEGV|ALRM) 1\.\d #", runner.output)
    assert runner.reports() == ""


def test_kernel_layers_without_their_kernel_have_no_sanitizer_report(runner: Runner) -> None:
    sent = encode([*streams(), *shapes(), CBC, SHA256, *REPEATS, *SIZES, SEALED])
    assert runner.run("cryptodev", "--device", "/dev/null", sent=sent) == 0
    assert runner.run("cryptodev", "--device", "/dev/no-such-crypto", sent=sent) == 3
    assert runner.run("afalg", sent=sent) in (0, 3)
    assert runner.run("afalg", "--driver", "no-such-driver", sent=sent) in (0, 3)
    assert runner.reports() == ""


def test_interface_rows_have_no_sanitizer_report(runner: Runner) -> None:
    choices = ("--set", "chained=AES-128-CTR", "--set", "cipher=AES-128-ECB", "--set", "digest=SHA256")
    assert runner.run("interface", "--device", "/dev/null", *choices) == 0
    assert " died " not in runner.output
    assert runner.reports() == ""


@pytest.mark.parametrize(
    "arguments", [(), ("none",), ("openssl", "--set"), ("openssl", "--set", "x"), ("openssl", "--no-such", "1")]
)
def test_bad_command_line_has_no_sanitizer_report(runner: Runner, arguments: Sequence[str]) -> None:
    assert runner.run(*arguments) == 3
    assert runner.reports() == ""


DIGEST = b"group SHA256 digest 1\n"
MALFORMED = [
    b"", b"end", b"end 00000000", b"end 00000001\n", b"\0\0\0\n", b"\n", seal(b"\n"), seal(b" \n"), seal(b"group\n"),
    seal(b"group SHA256 digest\n"), seal(b"group SHA256 digest 99999999999999999999\n"), seal(DIGEST),
    seal(b"repeat SHA256 digest 1\n"), seal(DIGEST + b"0 - - 0\n"), seal(DIGEST + b"0 - - =\n"),
    seal(DIGEST + b"0 - - 0g\n"), seal(DIGEST + b"0 - - 00 split x\n"), seal(DIGEST + b"0 - - 00 sideways\n"),
    seal(DIGEST + b"0 - - 00 split 1 2 3\n"), seal(DIGEST + b"0 - - 00"),
    seal(b"group " + b"A" * 5000 + b" digest 1\n0 - - 00\n"),
]  # fmt: skip


@pytest.mark.parametrize("sent", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_input_has_no_sanitizer_report(runner: Runner, sent: bytes) -> None:
    assert runner.run("openssl", sent=sent) in (0, 2)
    assert runner.reports() == ""


def test_mutated_input_has_no_sanitizer_report(runner: Runner) -> None:
    """Random changes under a correct CRC-32: invalid words, lengths, numbers and patterns."""
    rng = random.Random(16)
    body = encode([streams()[0], CTR, SHA256]).rsplit(b"end ", 1)[0]
    words = [
        b"-",
        b"=",
        b"0",
        b"1",
        b"4294967296",
        b"split 3",
        b"offset 63 63",
        b"pieces 0",
        b"copy 1",
        b"\n",
        b"ff" * 70,
    ]
    for number in range(MUTATIONS):
        changed = body
        for _ in range(rng.randint(1, 3)):
            parts = changed.split(b" ")
            parts[rng.randrange(len(parts))] = rng.choice(words)
            changed = b" ".join(parts)
        assert runner.run("openssl", "--timeout", "5", sent=seal(changed)) in (0, 2), number
        assert runner.reports() == "", (number, seal(changed))


def test_injected_overflow_is_reported(tmp_path: Path) -> None:
    """The sources are changed: the buffers of a stream have no margins."""
    sources = tmp_path / "src"
    shutil.copytree(SOURCES, sources)
    text = (sources / "stream_buffers.c").read_text()
    injected = text.replace("wanted = BUFFER_ALIGNMENT + size + BUFFER_ALIGNMENT", "wanted = BUFFER_ALIGNMENT + size")
    injected = injected.replace("memory + BUFFER_ALIGNMENT;", "memory + BUFFER_ALIGNMENT + 1;")
    assert injected != text
    (sources / "stream_buffers.c").write_text(injected)
    runner = Runner(build_sanitized(sources, tmp_path / "hil-probe"), tmp_path)
    assert runner.run("openssl", sent=encode([*streams(), *shapes()])) != 0
    assert "AddressSanitizer: heap-buffer-overflow" in runner.reports()
