"""Is the driver the culprit of what a fault of the accelerator causes, and the layer above it of its own faults?

cryptodev and AF_ALG share no code above the driver.
"""

from typing import Any

import pytest
from test_diagnosis import (
    CBC,
    CTR,
    LAYERS,
    NONE,
    PROMISED,
    answers,
    failed_test,
    interface_row,
    promise,
    proofs,
    software,
)

from fixtures.diagnosis import diagnose
from fixtures.outcome import Evidence
from fixtures.record.record import Record


def blocked(module: str) -> Record:
    """Return the record of a task that is blocked in a module."""
    return {"kind": "blocked", "task": "hil-probe", "stack": "", "modules": [module], "promised": [PROMISED]}


OTHER_CBC = "AES-192-CBC"
NOBODY: Any = dict.fromkeys(NONE, "nobody")
BOTH_PROMISED = [promise(), promise(algorithm=OTHER_CBC)]
HMAC_ROW = interface_row(driver=True, row="session-hmac")
HMAC_THROUGH_AFALG: Any = {"driver": True, "layer": "afalg", "row": "afalg-hmac"}
STUCK_ROW = interface_row(driver=True, ended=False)
CASES: dict[str, tuple[list[Record], str | None, str]] = {
    "rare errors of a driver hit one algorithm at cryptodev and another through AF_ALG": (
        [*answers(CBC, "cryptodev"), *answers(OTHER_CBC, "afalg"), *BOTH_PROMISED], "driver", "likely"),
    "the driver is wrong for one key size, and explains another one at the engine": (
        [*answers(CBC, *LAYERS[1:]), *answers(OTHER_CBC, "engine"), *answers(CTR), *BOTH_PROMISED],
        "driver", "certain"),
    "the engine is wrong with a driver that is right below": (
        [*answers(CBC, "engine", "engine-explicit"), *answers(OTHER_CBC), *BOTH_PROMISED], "engine", "likely"),
    "the driver is wrong for one algorithm, and the engine for one of another driver": (
        [*answers(CBC, *LAYERS[1:]), promise(), *answers(CTR, "engine", "engine-explicit"), software(CTR)],
        "driver", "likely"),
    "wrong at every layer, software included, with the accelerator": (
        [*answers(CBC, *LAYERS), promise()], None, "unknown"),
    "wrong through AF_ALG alone, with the accelerator": ([*answers(CBC, "afalg"), promise()], None, "unknown"),
    "wrong through AF_ALG alone, with the accelerator and with software": (
        [*answers(CBC, "afalg"), promise(), *answers(CTR, "afalg"), software(CTR)], "kernel", "likely"),
    "a row is wrong, and so is one through AF_ALG": (
        [*answers(CBC), HMAC_ROW, interface_row(**HMAC_THROUGH_AFALG)], "driver", "likely"),
    "a row is wrong, and that through AF_ALG is right": (
        [*answers(CBC), HMAC_ROW, interface_row(passed=True, **HMAC_THROUGH_AFALG)], None, "unknown"),
    "a row is wrong through AF_ALG alone": ([*answers(CBC), interface_row(**HMAC_THROUGH_AFALG)], None, "unknown"),
    "a call does not return, and AF_ALG waits too": (
        [STUCK_ROW, blocked("cryptodev"), blocked("algif_skcipher"), promise()], "driver", "likely"),
    "a call does not return, and the driver's own module waits": (
        [STUCK_ROW, blocked("virtio_crypto"), promise()], "driver", "likely"),
    "a call does not return, and nothing else waits": (
        [STUCK_ROW, blocked("cryptodev"), promise()], None, "unknown"),
    "the driver failed its self-test, and no other one serves in its place": (
        [*answers(CBC, *NONE, **NOBODY),
         promise([f"{PROMISED} 150 unknown"], offered=False, failed_ioctl="CIOCGSESSION", driver=None)],
        "driver", "certain"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fault_of_an_accelerator_is_separated_from_those_above_it(case: str) -> None:
    records, layer, confidence = CASES[case]
    found = diagnose([*records, failed_test()])
    assert (found.layer, found.confidence) == (layer, confidence), found
    assert found.because


@pytest.mark.parametrize(
    ("module", "layer"), [("cryptodev", None), ("algif_hash", "driver"), ("virtio_crypto", "driver"), ("ext4", None)]
)
def test_hung_task_is_a_task_that_waits_not_a_crash_of_its_module(module: str, layer: str | None) -> None:
    hung = failed_test(Evidence("kernel fault", "hung task", modules=(module,), detail="hung task"))
    assert diagnose([promise(), hung]).layer == layer


def test_witness_that_stands_still_while_another_moves_is_named() -> None:
    jobs = [{**record, "name": "requests"} for record in proofs(*NONE)]
    interrupts = [{**record, "name": "interrupts"} for record in proofs()]
    found = diagnose([*jobs, *interrupts, promise(), failed_test()])
    assert (found.layer, found.confidence) == ("driver", "likely")
    assert "requests does not move while interrupts does: one of them is wrong" in found.because[0]


def sized(unproven: dict[int, tuple[str, ...]], **more: Any) -> list[Record]:
    """Return proofs of AES-128-CBC by size: size -> the layers at which offload is not proven."""
    return [{**record, "block": size} for size, layers in unproven.items() for record in proofs(*layers, **more)]


ENGINES = ("engine", "engine-explicit")
SIZED: dict[str, tuple[list[Record], str | None, str]] = {
    "from a size on, with the promised driver at cryptodev and AF_ALG": (
        [*sized({16: (), 1024: (), 65536: NONE}), promise()], "driver", "likely"),
    "from a size on, and the threshold was searched at each layer": (
        [*sized({16: (), 1024: (), 65536: NONE}), *sized({4080: (), 4096: ("engine",)}, layers=("engine",)), promise()],
        "driver", "likely"),
    "below a size, at the engine alone": (
        [*sized({16: ENGINES, 1024: ENGINES, 65536: ()}), promise()], "engine", "likely"),
    "below a size, with openssl.cnf alone": ([*sized({16: ("engine",), 65536: ()}), promise()], "engine", "likely"),
    "from a size on, and AF_ALG was not tested": (
        [*sized({16: (), 65536: NONE[:3]}, layers=NONE[:3]), promise()], None, "unknown"),
    "from a size on, at cryptodev and above, with the promised driver at both": (
        [*sized({16: (), 65536: NONE[:3]}), promise()], None, "unknown"),
    "from a size on, at AF_ALG alone, with the promised driver at both": (
        [*sized({16: (), 65536: ("afalg",)}), promise()], None, "unknown"),
    "from a size on, and another driver serves through AF_ALG": (
        [*sized({16: (), 65536: NONE}, afalg="cbc-aes-ce"), promise()], None, "unknown"),
    "at every size": ([*sized({16: NONE, 65536: NONE}), promise()], "driver", "likely"),
    "from different sizes on, at the engine and at cryptodev": (
        [*sized({16: (), 1024: ENGINES, 65536: NONE}), promise()], None, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("case", SIZED)
def test_offload_is_compared_at_the_same_size(case: str) -> None:
    records, layer, confidence = SIZED[case]
    found = diagnose([*records, failed_test()])
    assert (found.layer, found.confidence) == (layer, confidence), found
    assert found.because


def test_sizes_without_offload_are_reasons() -> None:
    above = diagnose([*sized({16: (), 1024: NONE, 65536: NONE}), promise(), failed_test()])
    assert above.because[0].startswith("operations of 1024 bytes and more: offload is not proven at engine, ")
    assert f"where {PROMISED} serves, and proven for other sizes" in above.because[0]
    below = diagnose([*sized({16: ENGINES, 1024: ENGINES, 65536: ()}), promise(), failed_test()])
    assert below.because[0].startswith("operations of 1024 bytes and less: offload is proven at cryptodev, and not at")
    window = diagnose([*sized({16: (), 1024: NONE, 4096: NONE, 65536: ()}), promise(), failed_test()])
    assert window.because[0].startswith("operations of 1024, 4096 bytes: ")
