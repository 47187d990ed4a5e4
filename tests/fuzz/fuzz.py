"""Fuzz every parser of the suite: `tox -e fuzz`, or `tox -e fuzz -- --seconds 3600 board-file`."""

import argparse
import base64
import faulthandler
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

from campaign import ROOT, ROUND_SIZE, Finding, Result, Target, fuzz

MODULES = (
    "targets_files",
    "targets_probe",
    "targets_record",
    "targets_link",
    "targets_stack",
    "targets_elf",
    "targets_caam",
)
DEFAULT_SECONDS = 300
"""Duration of the whole, in seconds: what CI spends on it."""
MAX_SILENCE = 60
"""Time after which a process that is still at the same input is ended, in seconds: no signal interrupts some calls."""
POLL_INTERVAL = 1.0
"""Seconds between two looks at a process."""
MAX_LITERAL = 500
"""Bytes of an input that is printed as it is."""


def all_targets() -> dict[str, Target]:
    """Return the targets by name."""
    found = [target for module in MODULES for target in importlib.import_module(module).TARGETS]
    return {target.name: target for target in found}


def run_target(name: str, seconds: float, current: Path, sender: "Connection[Result, None]") -> None:
    """Fuzz a target in this process.

    :param current: file that holds the input that is run.
    :param sender: receives the result, and before the end what was found so far.
    """

    def note(result: Result, data: bytes) -> None:
        current.write_bytes(data)
        if result.inputs % ROUND_SIZE == 0:
            sender.send(result)

    faulthandler.enable()
    sender.send(fuzz(all_targets()[name], seconds, progress=note))


def run_isolated(context: ForkServerContext, name: str, seconds: float) -> Result:
    """Fuzz a target in a process of its own. One that crashes or does not end is a hang, and ended with a traceback."""
    result = Result(name)
    with tempfile.TemporaryDirectory(prefix="offload-hil-fuzz-") as folder:
        current = Path(folder) / "input"
        current.touch()
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=run_target, args=(name, seconds, current, sender))
        process.start()
        sender.close()
        while process.is_alive() or receiver.poll():
            try:
                if receiver.poll(POLL_INTERVAL):
                    result = receiver.recv()
            except EOFError:
                break
            if process.is_alive() and time.time() - current.stat().st_mtime > MAX_SILENCE:
                os.kill(process.pid or 0, signal.SIGABRT)
        process.join()
        if process.exitcode:
            result.add(Finding("hang", "its process crashed or was ended: see the traceback", current.read_bytes()))
    return result


def format_table(results: Sequence[Result]) -> str:
    """Return the figures of each target: inputs, places of tracebacks, hangs, accepted nonsense."""
    text = f"{'target':16}{'inputs':>12}{'tracebacks':>12}{'hangs':>12}{'nonsense':>12}\n"
    for result in results:
        kinds = [found.kind for found in result.findings.values()]
        counts = [kinds.count(kind) for kind in ("traceback", "hang", "nonsense")]
        text += f"{result.target:16}{result.inputs:12}{counts[0]:12}{counts[1]:12}{counts[2]:12}\n"
    return text


def format_findings(result: Result) -> str:
    """Return each finding of a target with its smallest input: a literal of Python, or packed."""
    text = ""
    for found in sorted(result.findings.values(), key=lambda each: (each.kind, each.place)):
        text += f"\n{result.target}: {found.kind} ({found.count} inputs): {found.place}\n"
        if len(found.example) <= MAX_LITERAL:
            text += f"input: {found.example!r}\n{found.detail}"
        else:
            packed = base64.b64encode(zlib.compress(found.example)).decode()
            text += f"input, packed by zlib, in base64: {packed}\n{found.detail}"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the targets and return the exit status: 1 if a defect was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="of the whole (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    names = options.targets or list(all_targets())
    share = options.seconds * min(options.workers, len(names)) / len(names)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*MODULES])
    with ThreadPoolExecutor(options.workers) as pool:
        results = list(pool.map(lambda name: run_isolated(context, name, share), names))
    sys.stdout.write("".join(map(format_findings, results)))
    sys.stdout.write(f"\n{format_table(results)}")
    return int(any(result.findings for result in results))


if __name__ == "__main__":
    sys.path += [str(ROOT), str(ROOT / "tests/selftest")]
    sys.exit(main())
