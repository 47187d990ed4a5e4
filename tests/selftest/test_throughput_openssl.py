"""`openssl speed`: real output of three releases, output that must be refused, and real runs on this host.

The outputs with the engine in data/speed are those of OpenSSL 3.0.22 with its devcrypto engine over a stand-in for
/dev/crypto.
"""

import os
import re
from pathlib import Path

import pytest
from local_shell import LocalShell

from fixtures.limits import MAX_RATE
from fixtures.outcome import LabError, ProductError
from fixtures.throughput.openssl_speed import measure, parse_cpu_ticks, parse_speed, speed_command

DATA = Path(__file__).parent / "data" / "speed"
RELEASES = ("1.1.1w", "3.0.22", "3.5.7")


def text(name: str) -> str:
    return (DATA / f"openssl-{name}.txt").read_text()


@pytest.mark.parametrize(
    ("release", "rate"), [("1.1.1w", 2887027712.0), ("3.0.22", 2945305600.0), ("3.5.7", 2875957248.0)]
)
def test_rate_of_two_processes_in_software_is_parsed(release: str, rate: float) -> None:
    assert parse_speed(text(f"{release}-multi2"), engine=None, processes=2, block=1024) == rate


def test_rate_of_two_processes_with_the_engine_is_parsed() -> None:
    rate = parse_speed(text("3.0.22-engine"), engine="devcrypto", processes=2, block=1024)
    assert rate == float(re.findall(r"(?m)^\+F:\d+:AES-128-CBC:(\S+)$", text("3.0.22-engine"))[0])


@pytest.mark.parametrize("release", RELEASES)
def test_software_rate_without_the_engine_is_refused(release: str) -> None:
    output = text(f"{release}-engine-absent")
    assert parse_speed(output, engine=None, processes=1, block=1024) > 0  # openssl prints a rate all the same
    with pytest.raises(ProductError, match="the engine nope was set in 0 of 1 processes"):
        parse_speed(output, engine="nope", processes=1, block=1024)


def test_engine_must_be_set_in_every_process() -> None:
    output = text("3.0.22-engine").replace('Engine "devcrypto" set.\n', "", 1)
    with pytest.raises(ProductError, match="set in 1 of 2 processes"):
        parse_speed(output, engine="devcrypto", processes=2, block=1024)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("3.0.22-children-died", "calls to the kernel failed"),
        ("3.0.22-operations-fail", r"30 calls to the kernel failed, the first: .*e_devcrypto\.c:280:calling ioctl\(\)"),
        ("3.0.22-child-killed", "expected a result above 0 and .* from each of 2 children; found 0: "),
    ],
)
def test_output_of_a_failed_run_is_refused(name: str, message: str) -> None:
    with pytest.raises(ProductError, match=message):
        parse_speed(text(name), engine="devcrypto", processes=2, block=1024)


def test_failed_calls_are_recognised_in_the_format_of_1_1_1() -> None:
    line = "139:error:02010005:system library:ioctl:Input/output error:crypto/engine/eng_devcrypto.c:283:\n"
    with pytest.raises(ProductError, match="1 calls to the kernel failed"):
        parse_speed(line + text("1.1.1w-multi2"), engine=None, processes=2, block=1024)


def test_missing_openssl_cnf_is_no_failed_call() -> None:
    line = "139:error:02001002:system library:fopen:No such file or directory:bss_file.c:69:fopen('openssl.cnf','r')\n"
    assert parse_speed(line + text("1.1.1w-multi2"), engine=None, processes=2, block=1024) > 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Got: +F:25:AES-128-CBC:1464829952.00 from 1\n", "", r"found 0: '1480475648\.00'"),
        ("1464829952.00 from 1", "0.00 from 1", "1: '0.00'"),
        ("1464829952.00 from 1", "nan from 1", "1: 'nan'"),
        ("1464829952.00 from 1", "inf from 1", "1: 'inf'"),
        ("1464829952.00 from 1", "+R:7 from 1", "1: '[+]R:7'"),
        ("1464829952.00 from 1", "1e300 from 1", "1: '1e300'"),
        ("1464829952.00 from 1", "-1464829952.00 from 1", "1: '-1464829952.00'"),
        ("1464829952.00 from 1", "1_0.0 from 1", "1: '1_0.0'"),
        ("1464829952.00 from 1", f"{MAX_RATE + 1:.2f} from 1", r"at most 1e\+13 bytes/s .*, 1: '10000000000001\.00'"),
        ("1464829952.00 from 1", f"{'1' * 5000} from 1", r"1: '1{40}'… \(5000 characters\)"),
        ("1464829952.00 from 1", f"1464829952.00 from {'1' * 5000}", r"found 0: '1480475648\.00'"),
        ("\n+F:25:", "\nGot: +F:25:AES-128-CBC:1464829952.00 from 1\n+F:25:", "each of 2 children"),
        ("1464829952.00 from 1", "1464829952.00 from 2", r"found 0: '1480475648\.00', 2: '1464829952\.00'"),
        ("\n+F:25:AES-128-CBC:2945305600.00", "\n+F:25:AES-128-CBC:2945305700.00", "the sum of the children"),
        ("\n+F:25:AES-128-CBC:2945305600.00", "", r"the sum of the children; found \[\]"),
        ("+H:1024 from 0", "+H:16 from 0", r"blocks of 1024 bytes only; the children report \['1024', '16'\]"),
    ],
)
def test_malformed_output_is_refused(old: str, new: str, message: str) -> None:
    output = text("3.0.22-multi2")
    assert old in output
    with pytest.raises(ProductError, match=message):
        parse_speed(output.replace(old, new), engine=None, processes=2, block=1024)


def test_more_children_than_processes_are_refused() -> None:
    with pytest.raises(ProductError, match="from each of 1 children"):
        parse_speed(text("3.0.22-multi2"), engine=None, processes=1, block=1024)


def test_software_is_measured_without_a_configuration_file() -> None:
    options = "-elapsed -mr -multi 2 -seconds 1 -bytes $b -evp aes-128-cbc"
    plain = speed_command("engine", "devcrypto", "aes-128-cbc", 2, 1)
    assert plain == f"openssl speed -engine devcrypto {options}"
    in_software = speed_command("openssl", "devcrypto", "aes-128-cbc", 2, 1)
    assert in_software == f"OPENSSL_CONF=/dev/null openssl speed {options}"


def test_cpu_time_leaves_out_idle_iowait_and_steal() -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice
    assert parse_cpu_ticks("cpu  8611 1 3952 158634 509 2 93 16 0 0") == 8611 + 1 + 3952 + 2 + 93
    for broken in ("cpu0 1 2 3 4 5 6 7", "cpu 1 2 3", "", "cat: /proc/stat: No such file"):
        with pytest.raises(ProductError, match="/proc/stat:1"):
            parse_cpu_ticks(broken)


def test_real_measurement_takes_one_batch() -> None:
    shell = LocalShell()
    small, large = measure(shell, "openssl", "devcrypto", "aes-128-cbc", 2, (16, 1024), repeats=2)
    assert len(shell.commands) == 1
    assert (small.block, large.block, large.processes, large.layer) == (16, 1024, 2, "openssl")
    assert len(large.samples) == 2
    assert large.low == min(large.samples) <= large.median <= max(large.samples) == large.high
    assert min(large.low, small.low) > 1e6
    assert 0.1 < large.cpu_seconds < 10 * (os.cpu_count() or 1)


def test_real_digest_is_measured() -> None:
    assert measure(LocalShell(), "openssl", "", "sha256", 1, (1024,), repeats=1)[0].median > 1e6


@pytest.mark.parametrize(
    ("layer", "algorithm", "message"),
    [
        ("openssl", "aes-128-nope", "exit status 1 from: .*-bytes 16 -evp aes-128-nope"),
        ("engine", "aes-128-cbc", r"(?s)the engine no-such was set in 0 of 1 processes.*Invalid engine"),
    ],
)
def test_real_run_without_a_measurement_is_refused(layer: str, algorithm: str, message: str) -> None:
    with pytest.raises(ProductError, match=message):
        measure(LocalShell(), layer, "no-such", algorithm, 1, (16,), repeats=1)  # type: ignore[arg-type]


def test_run_that_hangs_ends_at_its_timeout(tmp_path: Path) -> None:
    (tmp_path / "openssl").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "openssl").chmod(0o755)

    class ImpatientShell(LocalShell):
        def run(self, command: str, *, stdin: bytes = b"", timeout: float = 30.0):  # type: ignore[no-untyped-def]
            assert timeout < 60
            return super().run(command, stdin=stdin, timeout=timeout / 50)

    shell = ImpatientShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    with pytest.raises(ProductError, match="did not end within"):
        measure(shell, "openssl", "", "x", 1, (16,), repeats=1)


def test_line_of_a_child_does_not_split_a_result(tmp_path: Path) -> None:
    """A result is flushed in two pieces, and a child writes a line between them."""
    (tmp_path / "openssl").write_text(
        "#!/bin/sh\nprintf 'Got: +H:1024 from 0\\nGot: +F:25:X:1'; echo +R:1:X:1 >&2\n"
        "printf '0.00 from 0\\n+F:25:X:10.00\\n'\n"
    )
    (tmp_path / "openssl").chmod(0o755)
    shell = LocalShell(environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert measure(shell, "openssl", "", "x", 1, (1024,), repeats=1)[0].median == 10


def test_output_cut_short_is_a_lab_error() -> None:
    shell = LocalShell(replace={"hil after 0": "exit"})
    with pytest.raises(LabError, match="no end marker of after in"):
        measure(shell, "openssl", "", "sha256", 1, (16,), repeats=1)


def test_superscript_ticks_are_malformed() -> None:
    """`str.isdigit` accepts them, and `int` does not."""
    for number in ("²", "-1", "1" * 5000, str(1 << 64)):
        with pytest.raises(ProductError, match="/proc/stat:1: expected cpu") as caught:
            parse_cpu_ticks(f"cpu {number} 2 3 4 5 6 7")
        assert len(str(caught.value)) < 300


def test_cpu_time_that_goes_backwards_is_a_product_failure(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu 100 0 0 0 0 0 0\n")
    (tmp_path / "openssl").write_text(
        f"#!/bin/sh\necho 'cpu 99 0 0 0 0 0 0' >{stat}\n"
        "printf 'Got: +H:1024 from 0\\nGot: +F:25:X:10.00 from 0\\n+F:25:X:10.00\\n'\n"
    )
    (tmp_path / "openssl").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    shell = LocalShell(replace={"/proc/stat": str(stat)}, environment={"PATH": path})
    with pytest.raises(ProductError, match="/proc/stat went backwards"):
        measure(shell, "openssl", "", "x", 1, (1024,), repeats=1)
