"""Texts that a board prints: /proc, OpenSSL's programs, the dynamic linker and modprobe, counters, end marks."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial

from campaign import ROOT, Target
from hypothesis.strategies import SearchStrategy
from mutation import mutated_text
from replay import SEPARATOR, ReplayShell

from fixtures.lab.board import Board, Counter, Interrupts, load_board
from fixtures.link.clean_shell import parse_exports
from fixtures.outcome import LabError, ProductError
from fixtures.stack.batch import run_batch, split_output
from fixtures.stack.blocked_tasks import parse_blocked_tasks
from fixtures.stack.call_trace import modules_of_fault
from fixtures.stack.engine import engine_path, failed_ioctl, parse_report
from fixtures.stack.kernel import afalg_reaches_accelerators, load_module, parse_crypto, parse_modules, read_facts
from fixtures.stack.openssl_conf import parse_conf
from fixtures.stack.openssl_functions import active_providers
from fixtures.stack.symbols.classify import classify
from fixtures.stack.witness import idle_rate, read_witness
from fixtures.throughput.openssl_speed import measure, parse_cpu_ticks, parse_speed

DATA = ROOT / "tests/selftest/data"
MAX_COUNT = 2**64
"""What a counter of the kernel can hold."""
MAX_PRIORITY = 2**31
"""What cra_priority, an int, can hold."""


def files(pattern: str) -> list[bytes]:
    """Return files of the self-tests' data as seeds."""
    return [file.read_bytes() for file in sorted(DATA.glob(pattern))]


def text_target(name: str, seeds: Callable[[], Sequence[bytes]], run: Callable[[str], str], *words: bytes) -> Target:
    """Return a target whose parser takes text as a shell returns it."""

    def inputs() -> SearchStrategy[bytes]:
        return mutated_text(seeds(), words)

    return Target(name, inputs, lambda data: run(data.decode("utf-8", "backslashreplace")), (ProductError, LabError))


def run_modules(text: str) -> str:
    """Parse /proc/modules."""
    sizes = [value for module in parse_modules(text).values() for value in (module.size, module.refcnt)]
    return "a size or count that no kernel prints" if not all(0 <= size < MAX_COUNT for size in sizes) else ""


def run_crypto(text: str) -> str:
    """Parse /proc/crypto."""
    for entry in parse_crypto(text):
        if abs(entry.priority) > MAX_PRIORITY or not 0 <= entry.refcnt < MAX_COUNT:
            return "a priority or count that no kernel prints"
        if not entry.name or not entry.driver:
            return "an algorithm without a name"
    return ""


INTERRUPTS = Interrupts(name="jr", match="{device}", device="/sys/bus/platform/drivers/caam_jr/*", per_operation=1.0)
ANY_INTERRUPT = Interrupts(name="jr", match="jr|virtio", per_operation=1.0)
COUNTER = Counter(name="dequeued", path="/sys/kernel/debug/caam/*/rq_dequeued", per_operation=1.0)


def run_witness(data: bytes) -> str:
    """Read each kind of witness, and the idle rate of one."""
    for witness in (ANY_INTERRUPT, INTERRUPTS, COUNTER):
        try:
            reading = read_witness(ReplayShell(data), witness)
        except ProductError:
            continue
        if not 0 <= reading.value < MAX_COUNT * 4096 or not 0 <= reading.uptime < 1e9:
            return "a counter or uptime that no kernel prints"
    rate = idle_rate(ReplayShell(data), COUNTER)
    return "" if math.isfinite(rate) and rate >= 0 else "an impossible idle rate"


def witnesses() -> SearchStrategy[bytes]:
    """Return mutated outputs: one reading of interrupts, and the two readings of the idle rate."""
    interrupts = files("stack/interrupts-*.txt")
    names = (b"", b"1710000.jr\n1720000.jr\n")
    seeds = [b"1234.56 4000.00\n" + each + b"interrupts:\n" + text for text in interrupts for each in names]
    seeds += [SEPARATOR.join((b"1.00 2.00\n12 /a/rq\n30 /b/rq", b"", b"2.00 3.00\n13 /a/rq\n30 /b/rq"))]
    return mutated_text(seeds, (b"CPU0", b"CPU1", b"ERR:", SEPARATOR))


@cache
def _board() -> Board:
    return load_board("virt", ROOT / "boards")


def run_engine(text: str) -> str:
    """Parse two listings of `openssl engine`, and classify their messages."""
    explicit, _, configured = text.partition("\n%%\n")
    report = parse_report(explicit, configured, _board())
    for info in report.driver_info.values():
        failed_ioctl(info.why)
    findings = classify(text, listed=report.listed, openssl="OpenSSL 3.0.22")
    classify(text, listed=False, openssl=text)
    return "" if all(finding.text for finding in findings) else "a finding without text"


def run_facts(data: bytes) -> str:
    """Read the facts of a board, the path of its engine, its blocked tasks, and load a module."""
    found = read_facts(ReplayShell(data), "cryptodev")
    afalg_reaches_accelerators(found["kernel release"])
    if any("\n" in value or not value.strip() for value in found.values()):
        return "a fact of no or several lines"
    text = data.decode("utf-8", "backslashreplace")
    modules_of_fault(text)
    for task in parse_blocked_tasks(text):
        str(task.modules)
    load_module(ReplayShell(data), "cryptodev")
    path = engine_path(ReplayShell(data.split(SEPARATOR)[-1]), "devcrypto")
    return "" if path.startswith("/") and "\0" not in path else "a path of the engine that is none"


def facts() -> SearchStrategy[bytes]:
    """Return mutated outputs of the commands that describe a board."""
    version = b'OpenSSL 3.0.22 25 Aug 2026\nplatform: debian-arm64\nENGINESDIR: "/usr/lib/engines-3"\n'
    described = SEPARATOR.join(
        (b"6.1.0-40-arm64", b"aarch64", b"Debian GNU/Linux 12", b"virt", b"1.14", b"crw-rw-rw- root root", version)
    )
    blocked = b"task: openssl\n[<0>] cryptodev_ioctl+0x1/0x20 [cryptodev]\n[<0>] x+0x1/0x2\ntask: a\n"
    words = (b"task: ", b"Call trace:", b"pc : a+0x1/0x2 [b]", b'ENGINESDIR: "x"', SEPARATOR)
    return mutated_text([described, blocked + SEPARATOR + version], words)


def run_conf(text: str) -> str:
    """Parse openssl.cnf, and the environment of a login."""
    conf = parse_conf(text, "/etc/ssl/openssl.cnf")
    suspects = (*conf.activations, *conf.tls_defaults, *filter(None, (conf.demands_fips, conf.default_properties)))
    if any("\n" in str(setting) for setting in suspects):
        return "a setting of several lines"
    active_providers(text)
    return "" if all(value.isprintable() for value in parse_exports(text).values()) else "a value that is not printable"


CONF = (
    b"openssl_conf = s\n[s]\nproviders = p\nalg_section = a\nssl_conf = t\n[p]\nbase = b\n[b]\nactivate = 1\n"
    b"[a]\ndefault_properties = fips=yes\n[t]\nsystem_default = d\n[d]\nMinProtocol = TLSv1.3\n"
)
EXPORTS = b"export LD_PRELOAD='/lib/x.so'\nexport OPENSSL_CONF=\"/etc/x\"\ndeclare -x OPENSSL_MODULES\n"

SPEED_STAT = b"cpu  1 2 3 4 5 6 7 8 9 10"


def run_speed(text: str) -> str:
    """Parse the output of `openssl speed`, with and without an engine."""
    for engine in (None, "devcrypto"):
        try:
            rate = parse_speed(text, engine=engine, processes=2, block=16384)
        except ProductError:
            continue
        if not 0 < rate < 1e13:
            return "a rate that no board reaches"
    return ""


def run_measure(data: bytes) -> str:
    """Measure as the gate does: /proc/stat, a run, /proc/stat."""
    parse_cpu_ticks(data.split(SEPARATOR)[0].decode("utf-8", "backslashreplace"))
    parts = zip(("before", "run", "after"), data.split(SEPARATOR), strict=False)
    output = b"".join(part + f"\n#hil {name} 0\n".encode() for name, part in parts)
    (found,) = measure(ReplayShell(output), "engine", "devcrypto", "aes-128-cbc", 2, (16384,), repeats=1)
    if not 0 < found.median < 1e13:
        return "a rate that no board reaches"
    return "" if 0 <= found.cpu_seconds < 1e6 else "a CPU time that no run takes"


def measurements() -> SearchStrategy[bytes]:
    """Return mutated measurements."""
    good = [text for text in files("speed/*.txt") if b"multi" not in text] + files("speed/*engine.txt")
    return mutated_text([SEPARATOR.join((SPEED_STAT, text, b"cpu  5 6 7 8 9 10 11 12 13 14")) for text in good])


def run_batches(data: bytes) -> str:
    """Split the output of a batch at its end marks."""
    for part in split_output(data.decode("utf-8", "backslashreplace")):
        if part.exit_status > 255:
            return "an exit status above 255"
    run_batch(ReplayShell(data), {"a": "true", "b": "false"})
    return ""


def batches() -> SearchStrategy[bytes]:
    """Return mutated outputs of a batch."""
    return mutated_text([b"text\n\n#hil a 0\nmore\n#hil b 1\n"], (b"\n#hil a 0\n", b"#hil", b"\n"))


_board_output = partial(Target, allowed=(ProductError, LabError))
TARGETS = (
    text_target("proc-modules", lambda: files("stack/modules.txt"), run_modules),
    text_target("proc-crypto", lambda: files("stack/crypto-*.txt"), run_crypto, b"priority     : x", b"name", b" : "),
    _board_output("witness", witnesses, run_witness),
    text_target(
        "openssl-engine", lambda: files("stack/engine-*.txt"), run_engine, b"[Failure]: ", b"error:12800067:::"
    ),
    text_target("openssl-speed", lambda: files("speed/*.txt"), run_speed, b"+F:1:x:1e9", b"+H:16384", b"Got: "),
    _board_output("measurement", measurements, run_measure),
    _board_output("board-facts", facts, run_facts),
    text_target("openssl-conf", lambda: [CONF, EXPORTS], run_conf, b"[b]", b".include /x", b"export LD_A='", b"\\\n"),
    _board_output("batch", batches, run_batches),
)
