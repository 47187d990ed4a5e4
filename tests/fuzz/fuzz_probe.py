"""Fuzz the probe in C with AFL++, AddressSanitizer and UBSan: `tox -e fuzz-probe`, or with a number of seconds."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fixtures import cache
from fixtures.outcome import LabError
from fixtures.probe.build import COMPILE_FLAGS, LIBRARIES, SOURCES
from fixtures.probe.repeats import Repeat
from fixtures.probe.wire import Task, encode
from fixtures.vectors.shapes import shapes
from fixtures.vectors.sizes import AEAD, SizeVectors
from fixtures.vectors.sources import load
from fixtures.vectors.streams import streams
from fixtures.virt.host import prepare

DEFAULT_SECONDS = 600
"""Duration, in seconds."""
RUN_TIMEOUT = 3000
"""Maximum time of a run of the probe, in milliseconds. A longer one is no defect: it can have many operations."""
NEEDED = {
    "afl-fuzz": "afl++",
    "/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.asan-x86_64.a": "libclang-rt-14-dev",
}
"""Program or file -> the package of Debian 12 that has it."""
HARNESS = Path(__file__).with_name("probe_seal.c")
FLAGS = ("-g", "-O1", "-fno-omit-frame-pointer", "-Wl,--wrap=check_seal")
LAYERS = {"openssl": ("openssl",), "cryptodev": ("cryptodev", "--device", "/dev/null")}
"""What is fuzzed -> arguments of the probe. Of the kernel's layers, the input is parsed and every call fails."""
MAX_SEED = 2000
"""Bytes of a seed: AFL++ is slow with long ones."""
FIGURES = ("execs_done", "execs_per_sec", "edges_found", "bitmap_cvg", "corpus_count", "saved_crashes", "saved_hangs")


def build_instrumented(folder: Path) -> None:
    """Build the probe with the instrumentation of AFL++ and with sanitizers."""
    flags = [flag for flag in COMPILE_FLAGS if flag not in ("-s", "-O2") and not flag.startswith("-W")]
    command = ["afl-clang-fast", *flags, *FLAGS, f"-I{SOURCES}", *map(str, sorted(SOURCES.glob("*.c"))), str(HARNESS)]
    environment = {**os.environ, "AFL_USE_ASAN": "1", "AFL_USE_UBSAN": "1", "AFL_QUIET": "1"}
    done = subprocess.run(
        [*command, "-o", str(folder / "hil-probe"), *LIBRARIES],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"building the probe for AFL++ failed, exit status {done.returncode}:\n{done.stderr[-2000:]}")


def write_seeds(folder: Path) -> None:
    """Write inputs that the self-tests send, without their last line: one group, stream pattern or repeat each."""
    tasks: list[Task] = [Repeat("AES-128-CBC", "encrypt", 3, 64), Repeat("SHA256", "digest", 3, 100)]
    tasks += load().groups + streams() + shapes()
    tasks += [SizeVectors(0, "SHA256").records(), SizeVectors(0, AEAD).packets()]
    for number, task in enumerate(tasks):
        data = encode([task]).rpartition(b"end ")[0]
        if len(data) <= MAX_SEED:
            (folder / f"{number:03}").write_bytes(data)


def fuzz_layers(program: Path, folder: Path, seconds: int) -> dict[str, dict[str, str]]:
    """Run an afl-fuzz for each layer, all at once; return what each counted."""
    (folder / "seeds").mkdir()
    write_seeds(folder / "seeds")
    names = ("AFL_NO_UI", "AFL_SKIP_CPUFREQ", "AFL_NO_AFFINITY", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES")
    environment = {**os.environ, **dict.fromkeys(names, "1")}
    options = ["-i", str(folder / "seeds"), "-m", "none", "-t", str(RUN_TIMEOUT), "-V", str(seconds)]
    running = {}
    for layer, arguments in LAYERS.items():
        command = ["afl-fuzz", *options, "-o", str(folder / layer), "--", str(program), *arguments]
        with (folder / f"{layer}.log").open("wb") as log:
            running[layer] = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    for layer, process in running.items():
        if process.wait():
            raise LabError(f"afl-fuzz ended with exit status {process.returncode}; see {folder / layer}.log")
    return {layer: read_figures(folder / layer / "default/fuzzer_stats") for layer in LAYERS}


def read_figures(file: Path) -> dict[str, str]:
    """Return name -> value of a file of statistics that afl-fuzz wrote."""
    pairs = (line.partition(":") for line in file.read_text().splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the probe and return the exit status: 1 if an input crashed it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=DEFAULT_SECONDS, help="default: %(default)s")
    seconds = parser.parse_args(arguments).seconds
    prepare(print_line, NEEDED)
    key = cache.compute_key([SOURCES, Path(__file__), HARNESS])
    program = cache.get_or_build("fuzz-probe", key, build_instrumented) / "hil-probe"
    folder = cache.home() / "fuzz/probe"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    figures = fuzz_layers(program, folder, seconds)
    for layer, found in figures.items():
        print_line(f"{layer:10}" + "".join(f"  {name} {found[name]}" for name in FIGURES))
    crashes = sorted(folder.glob("*/default/crashes/id*"))
    for crash in crashes:
        print_line(f"crash: {crash}")
    return int(bool(crashes))


def print_line(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
