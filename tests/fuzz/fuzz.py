"""Fuzz every parser of the suite: `tox -e fuzz`, or `tox -e fuzz -- --seconds 3600 board-file`."""

import argparse
import base64
import faulthandler
import importlib
import multiprocessing
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from campaign import ROOT, Result, Target, fuzz

MODULES = ("targets_files", "targets_probe", "targets_record", "targets_link", "targets_stack", "targets_elf")
DEFAULT_SECONDS = 300
"""Duration of the whole, in seconds: what CI spends on it."""
GRACE_TIME = 60
"""Time that a target may take longer, in seconds, before its process is ended with a traceback."""
MAX_LITERAL = 500
"""Bytes of an input that is printed as it is."""


def all_targets() -> dict[str, Target]:
    """Return the targets by name."""
    found = [target for module in MODULES for target in importlib.import_module(module).TARGETS]
    return {target.name: target for target in found}


def run_target(name: str, seconds: float) -> Result:
    """Fuzz a target in this process. A call that no signal ends ends the process, with a traceback."""
    faulthandler.dump_traceback_later(seconds + GRACE_TIME, exit=True)
    try:
        return fuzz(all_targets()[name], seconds)
    finally:
        faulthandler.cancel_dump_traceback_later()


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
    with ProcessPoolExecutor(options.workers, mp_context=context, max_tasks_per_child=1) as pool:
        results = list(pool.map(run_target, names, [share] * len(names)))
    sys.stdout.write("".join(map(format_findings, results)))
    sys.stdout.write(f"\n{format_table(results)}")
    return int(any(result.findings for result in results))


if __name__ == "__main__":
    sys.path += [str(ROOT), str(ROOT / "tests/selftest")]
    sys.exit(main())
