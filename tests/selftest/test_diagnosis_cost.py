"""Does the diagnosis name who leaks memory, fills the log or burns CPU time, and none if layers are not separated?"""

from typing import Any

import pytest
from test_diagnosis import PROMISED, failed_test, promise, software

from fixtures.diagnosis import diagnose
from fixtures.outcome import Evidence
from fixtures.record.kinds import find_mismatch
from fixtures.record.record import Record

CBC, ECB = "AES-128-CBC", "AES-128-ECB"


def memory(layer: str, *, leaks: bool, algorithm: str = CBC, driver: str = PROMISED) -> Record:
    """Return the record of a load at a layer."""
    left = 2048 if leaks else 0
    return {
        "kind": "memory", "layer": layer, "algorithm": algorithm, "driver": driver, "requests": 128, "slab": left,
        "memory": left, "leaks": leaks,
    }  # fmt: skip


def in_software(layer: str, *, leaks: bool) -> Record:
    """Return the record of a load that software served."""
    return memory(layer, leaks=leaks, algorithm=ECB, driver="ecb(aes-generic)")


def log(source: str, lines: int, culprit: str | None, **more: Any) -> Record:
    """Return the record of lines of the kernel's log."""
    return {"kind": "log", "source": source, "lines": lines, "culprit": culprit, **more}


def cpu(**milliseconds: float) -> list[Record]:
    """Return the records of CPU times by layer, that of the board 10 times that of the process."""
    return [
        {"kind": "cpu", "layer": layer, "algorithm": CBC, "block": 16384, "driver": PROMISED,
         "process": value / 1000, "board": value / 100}
        for layer, value in milliseconds.items()
    ]  # fmt: skip


LEAK = failed_test(Evidence("kernel memory", CBC))
LOG = failed_test(Evidence("kernel log"))
CPU = failed_test(Evidence("cpu cost", CBC))
BOTH = [promise(), software(ECB)]
CASES: dict[str, tuple[list[Record], str | None, str]] = {
    "leak at both interfaces, none with software": (
        [memory("cryptodev", leaks=True), in_software("cryptodev", leaks=False), memory("afalg", leaks=True),
         in_software("afalg", leaks=False), *BOTH, LEAK], "driver", "certain"),
    "leak at both interfaces, no software to compare": (
        [memory("cryptodev", leaks=True), memory("afalg", leaks=True), promise(), LEAK], "driver", "likely"),
    "leak at cryptodev, with software, too": (
        [memory("cryptodev", leaks=True), in_software("cryptodev", leaks=True), memory("afalg", leaks=False),
         *BOTH, LEAK], "cryptodev", "certain"),
    "leak at cryptodev, none with software": (
        [memory("cryptodev", leaks=True), in_software("cryptodev", leaks=False), memory("afalg", leaks=False),
         *BOTH, LEAK], None, "unknown"),
    "leak at cryptodev, no software to compare": (
        [memory("cryptodev", leaks=True), memory("afalg", leaks=False), promise(), LEAK], None, "unknown"),
    "leak through AF_ALG, with software, too": (
        [memory("cryptodev", leaks=False), memory("afalg", leaks=True), in_software("afalg", leaks=True),
         *BOTH, LEAK], "kernel", "certain"),
    "leak at both interfaces, with software, too": (
        [memory("cryptodev", leaks=True), in_software("cryptodev", leaks=True), memory("afalg", leaks=True),
         in_software("afalg", leaks=True), *BOTH, LEAK], None, "unknown"),
    "leak where another driver serves": (
        [memory("cryptodev", leaks=True, driver="cbc-aes-ce"), promise(), LEAK], None, "unknown"),
    "driver logs with each request": (
        [log("shim", 128, "driver", requests=128, layer="cryptodev"), log("sched", 200, None, level=4), promise(), LOG],
        "driver", "likely"),
    "cryptodev logs warnings": (
        [log("cryptodev", 900, "cryptodev", level=4), log("wifi", 2000, None, level=4), promise(), LOG],
        "cryptodev", "likely"),
    "another component logs with each request": (
        [log("swiotlb", 128, None, requests=128, layer="afalg"), promise(), LOG], None, "unknown"),
    "CPU time of the driver": (
        [*cpu(openssl=26, engine=150, cryptodev=140, afalg=150), promise(), CPU], "driver", "likely"),
    "CPU time of the engine": (
        [*cpu(openssl=26, engine=150, cryptodev=20, afalg=20), promise(), CPU], "engine", "likely"),
    "CPU time at cryptodev, and not through AF_ALG": (
        [*cpu(openssl=26, engine=150, cryptodev=140, afalg=20), promise(), CPU], None, "unknown"),
    "CPU time of the engine, AF_ALG not measured": (
        [*cpu(openssl=26, engine=150, cryptodev=140), promise(), CPU], None, "unknown"),
    "nothing failed": ([memory("cryptodev", leaks=True), promise()], None, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize(("records", "layer", "confidence"), CASES.values(), ids=CASES)
def test_culprit_of_cost(records: list[Record], layer: str | None, confidence: str) -> None:
    found = diagnose(records)
    assert (found.layer, found.confidence) == (layer, confidence), found.because


@pytest.mark.parametrize("case", CASES)
def test_records_of_cost_fit_their_kinds(case: str) -> None:
    lines = [line for line in CASES[case][0] if line["kind"] in ("memory", "log", "cpu")]
    assert [find_mismatch(line["kind"], line) for line in lines] == [""] * len(lines)
