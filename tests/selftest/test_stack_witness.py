"""Witnesses: reading the counters, and what they prove. The counters are files of this host."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.lab.board import Counter, Interrupts
from fixtures.limits import MAX_DEVICE_NAME, MAX_WITNESS_DEVICES
from fixtures.outcome import ProductError
from fixtures.stack.witness import (
    Reading,
    compute_proof,
    idle_rate,
    parse_uptime,
    prove,
    read_witness,
    sum_counters,
    sum_interrupts,
    watch_option,
)

DATA = Path(__file__).parent / "data" / "stack"


def text(name: str) -> str:
    return (DATA / f"interrupts-{name}.txt").read_text()


@pytest.mark.parametrize(
    ("board", "pattern", "total"),
    [
        ("ls1046a", r"\.jr$", 263 + 12 + 4 + 981 + 77),
        ("ls1046a", r"1710000\.jr", 279),
        ("ls1046a", r"1740000\.jr", 0),
        ("ls1046a", r"fsl-jr", None),
        ("ls1046a-cpu1-off", r"\.jr$", 263 + 4 + 77),
        ("arm64-virtio", r"virtio3-virtqueues", 158),
        ("arm64-virtio", r"virtio2-virtqueues", None),
        ("x86-virtio", r"Local timer", 96577 + 126239),
        ("x86-virtio", r"virtio3-rx", 2122 + 0),
    ],
)
def test_matching_interrupt_lines_are_added_up(board: str, pattern: str, total: int | None) -> None:
    assert sum_interrupts(text(board), [re.compile(pattern)]) == total


def test_counts_labels_and_error_lines_are_not_matched() -> None:
    assert sum_interrupts(text("ls1046a"), [re.compile("Err|263|IPI0:")]) is None


def test_line_that_several_patterns_match_counts_once() -> None:
    patterns = [re.compile("virtio3-virtqueues"), re.compile("virtio33?-virtqueues")]
    assert sum_interrupts(text("arm64-virtio"), patterns) == 158 + 5000


def test_text_without_an_interrupts_heading_is_refused() -> None:
    with pytest.raises(ProductError, match="/proc/interrupts:1: expected a heading of CPU0"):
        sum_interrupts("cat: /proc/interrupts: Permission denied\n", [re.compile("x")])


@pytest.mark.parametrize(
    "printed",
    [
        "CPUx\n 1: 5 dev\n",
        f"CPU{'1' * 5000}\n",
        f"CPU0\n 1: {'1' * 5000} dev\n",
        f"CPU0\n 1: {1 << 64} dev\n",
        "\x1b[2J\n",
        "",
    ],
)
def test_impossible_interrupts_are_a_product_failure(printed: str) -> None:
    with pytest.raises(ProductError, match=r"^/proc/interrupts:\d: expected ") as caught:
        sum_interrupts(printed, [re.compile("dev")])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_interrupts_of_many_cpus_are_read_in_linear_time() -> None:
    cpus, started = 100_000, time.monotonic()
    printed = " ".join(f"CPU{number % 9999}" for number in range(cpus)) + "\n 1:" + " 1" * cpus + " dev\n"
    assert sum_interrupts(printed, [re.compile("dev$")]) == cpus
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("value", ["-1", "²", "1_0", "1" * 5000, str(1 << 64), "inf"])
def test_impossible_counter_is_a_product_failure(value: str) -> None:
    with pytest.raises(ProductError, match="/a/count: expected a decimal number, found") as caught:
        sum_counters(f"{value} /a/count\n")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("printed", ["", "inf nan\n", "1.0\n", "-1.00 2.00\n", f"{'1' * 5000}.00 1.00", "cat: no\n"])
def test_impossible_uptime_is_a_product_failure(printed: str) -> None:
    with pytest.raises(ProductError, match=r"^/proc/uptime:1: expected two numbers of seconds"):
        parse_uptime(printed)


def test_number_of_devices_is_limited(tmp_path: Path) -> None:
    (tmp_path / "devices").mkdir()
    for number in range(MAX_WITNESS_DEVICES + 1):
        (tmp_path / f"devices/{number}.jr").touch()
    witness = Interrupts(
        kind="interrupts", name="rings", match="{device}$", device=f"{tmp_path}/devices/*", per_operation=1
    )
    with pytest.raises(
        ProductError, match=rf"{MAX_WITNESS_DEVICES + 1} devices match .*, the limit is {MAX_WITNESS_DEVICES}\."
    ):
        read_witness(LocalShell(), witness)


@pytest.mark.parametrize(
    "name",
    ["$(head -c 3000000 /dev/zero | tr '\\0' x)", f"$(printf '%0{MAX_DEVICE_NAME + 1}d' 1)", "$(printf 'a\\033')"],
)
def test_device_name_that_the_kernel_cannot_have_is_a_product_failure(name: str) -> None:
    witness = Interrupts(kind="interrupts", name="rings", match="{device}$", device="/dev/null", per_operation=1)
    with pytest.raises(ProductError, match=rf"expected names of at most {MAX_DEVICE_NAME} .* found: '") as caught:
        read_witness(LocalShell(replace={'"${f##*/}"': f'"{name}"'}), witness)
    assert len(str(caught.value)) < 500


def test_sum_of_more_than_64_bits_is_a_product_failure() -> None:
    most = (1 << 64) - 1
    assert sum_counters(f"{most} /a\n") == most
    with pytest.raises(ProductError, match=r"^/b: expected counts whose sum has 64 bits"):
        sum_counters(f"{most} /a\n1 /b\n")
    with pytest.raises(ProductError, match=r"^/proc/interrupts: expected counts whose sum has 64 bits"):
        sum_interrupts(f"CPU0 CPU1\n 1: {most} 1 dev\n", [re.compile("dev$")])


def test_counters_are_added_up() -> None:
    assert sum_counters("12 /a/rq_dequeued\n30 /b/rq_dequeued\n") == 42
    assert sum_counters("") is None
    with pytest.raises(ProductError, match="/b/rq_dequeued: expected a decimal number, found 'nothing'"):
        sum_counters("12 /a/rq_dequeued\n /b/rq_dequeued\n")
    with pytest.raises(ProductError, match="found '0x1f'"):
        sum_counters("0x1f /a/fault_addr\n")


@pytest.fixture
def counter(tmp_path: Path) -> Counter:
    for ring in ("a b", "c$d"):  # a shell must not split or expand what the glob matches
        (tmp_path / ring).mkdir()
        (tmp_path / ring / "dequeued").write_text("100\n")
    return Counter(kind="counter", name="jobs", path=f"{tmp_path}/[ac]*/dequeued", per_operation=0.9)


def readings(before: str, after: str, seconds: float = 0.5) -> tuple[str, str]:
    """Return what the probe reports of a witness: the clock, and the lines of its counter."""
    return f"10.00 5.00\n{before}", f"{10 + seconds:.2f} 5.00\n{after}"


@pytest.mark.parametrize(("amount", "proven"), [(100, True), (90, True), (89, False), (0, False)])
def test_counter_proves_offload_from_its_threshold_on(counter: Counter, amount: int, proven: bool) -> None:
    proof = prove(counter, 100, 0, readings("100 /a\n100 /b", f"{100 + amount} /a\n100 /b"))
    assert (proof.before, proof.after, proof.idle) == (200, 200 + amount, 0)
    assert (proof.movement, proof.operations, proof.threshold, proof.proven) == (amount, 100, 90, proven)
    assert ("does not prove" in str(proof)) is not proven


@pytest.fixture
def noise(tmp_path: Path, counter: Counter) -> Iterator[None]:  # noqa: ARG001 - it makes the file
    """Move the counter from a thread, by 100 per second of the clock however busy this host is."""
    file, new, stop = tmp_path / "c$d" / "dequeued", tmp_path / "new", threading.Event()
    started = time.monotonic()

    def count() -> None:
        while not stop.wait(0.005):
            new.write_text(f"{100 + int((time.monotonic() - started) * 100)}\n")
            new.replace(file)

    thread = threading.Thread(target=count)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("noise")
def test_idle_movement_is_measured_and_subtracted(counter: Counter) -> None:
    rate = idle_rate(LocalShell(), counter)
    assert rate == pytest.approx(100, rel=0.2)
    proof = prove(counter, 100, rate, readings("100 /a", "300 /a", seconds=2))
    assert proof.after - proof.before >= proof.threshold  # so that without the subtraction this would be proof
    assert not proof.proven, str(proof)


def test_movement_is_compared_with_the_threshold() -> None:
    witness = Counter(kind="counter", name="jobs", path="/x", per_operation=0.5)
    proof = compute_proof(witness, 100, 5.0, Reading(1010, 12.0), Reading(1080, 16.0))
    assert (proof.idle, proof.seconds, proof.movement, proof.threshold, proof.proven) == (5.0, 4.0, 50.0, 50.0, True)
    assert not compute_proof(witness, 101, 5.0, Reading(1010, 12.0), Reading(1080, 16.0)).proven


@pytest.mark.parametrize("after", [Reading(5, 3.0), Reading(20, 1.0)])
def test_counter_or_clock_that_goes_backwards_is_refused(after: Reading) -> None:
    witness = Counter(kind="counter", name="jobs", path="/x", per_operation=0.5)
    with pytest.raises(ProductError, match=r"witness 'jobs' or the clock went backwards: from 10 at 2\.00 s"):
        compute_proof(witness, 1, 0.0, Reading(10, 2.0), after)


def test_proof_needs_an_operation(counter: Counter) -> None:
    with pytest.raises(ValueError, match="0 operations"):
        prove(counter, 0, 0, readings("1 /a", "1 /a"))


@pytest.mark.parametrize(
    ("match", "kind"),
    [
        ("{device}$", "device-interrupts"),
        ("^.*{device}-virt", "interrupts"),
        ("({device})?virt", "interrupts"),
        ("{device}|jr", "interrupts"),
        ("{device}{0,9}", "interrupts"),
    ],
)
def test_probe_leaves_out_lines_of_other_devices_only_if_none_can_match(match: str, kind: str) -> None:
    witness = Interrupts(name="rings", match=match, device="/sys/x/*.jr", per_operation=1)
    assert watch_option(witness) == f"{kind}:/sys/x/*.jr"


def test_probe_watches_files_and_all_interrupts() -> None:
    assert watch_option(Counter(name="jobs", path="/sys/*/ctl/count", per_operation=1)) == "counter:/sys/*/ctl/count"
    assert watch_option(Interrupts(name="jr", match="jr", per_operation=1)) == "interrupts:"


def make_virtio_witness(tmp_path: Path, *devices: str) -> tuple[Interrupts, LocalShell]:
    """Return a witness for devices in a folder, and a shell that reads recorded interrupts."""
    for device in devices:
        (tmp_path / device).mkdir()
    witness = Interrupts(
        kind="interrupts",
        name="virtio-crypto interrupts",
        match="{device}-virtqueues",
        device=f"{tmp_path}/virtio*",
        per_operation=0.5,
    )
    return witness, LocalShell(replace={"/proc/interrupts": str(DATA / "interrupts-arm64-virtio.txt")})


@pytest.mark.parametrize(("devices", "total"), [(["virtio3"], 158), (["virtio3", "virtio33"], 5158)])
def test_interrupts_are_those_of_the_devices_present(tmp_path: Path, devices: list[str], total: int) -> None:
    witness, shell = make_virtio_witness(tmp_path, *devices)
    reading = read_witness(shell, witness)
    assert reading.value == total
    assert reading.uptime > 0
    assert idle_rate(shell, witness) == 0  # the file does not move
    lines = "\n".join([*devices, "interrupts:", text("arm64-virtio")])
    proof = prove(witness, 1, 0, readings(lines, lines))
    assert (proof.before, proof.after, proof.proven) == (total, total, False)


def test_absent_witness_is_a_product_failure_that_names_what_was_looked_for(tmp_path: Path) -> None:
    witness, shell = make_virtio_witness(tmp_path)
    with pytest.raises(ProductError, match=r"promised in boards/virt\.yaml, .*nothing matches .*/virtio\*"):
        read_witness(shell, witness, board_file="boards/virt.yaml")
    witness, _ = make_virtio_witness(tmp_path, "virtio9")
    with pytest.raises(ProductError, match=r"no line of /proc/interrupts matches '\{device\}-virt.* = virtio9"):
        prove(witness, 1, 0, readings("virtio9\ninterrupts:\nCPU0", "virtio9\ninterrupts:\nCPU0"))
    with pytest.raises(ProductError, match=r"'virtio-crypto interrupts', .*nothing matches .*/virtio\*"):
        prove(witness, 1, 0, readings("interrupts:\nCPU0", "interrupts:\nCPU0"))
    shell = LocalShell()
    fixed = Interrupts(kind="interrupts", name="rings", match=r"1710000\.jr", per_operation=0.5)
    with pytest.raises(ProductError, match=r"'rings', promised in the board file, .*matches '1710000"):
        read_witness(shell, fixed)
    absent = Counter(kind="counter", name="jobs", path=f"{tmp_path}/*/rq_dequeued", per_operation=0.9)
    with pytest.raises(ProductError, match=r"no file .*/rq_dequeued. Check that debugfs is mounted"):
        read_witness(shell, absent)


def test_interrupts_of_this_host_are_read() -> None:
    witness = Interrupts(kind="interrupts", name="any", match=".", per_operation=0.5)
    reading = read_witness(LocalShell(), witness)
    assert reading.value > 0


def test_superscript_is_not_a_number() -> None:
    """`str.isdigit` accepts it, and `int` does not."""
    with pytest.raises(ProductError, match="expected a decimal number, found '²'"):
        sum_counters("² /sys/kernel/debug/counter")
