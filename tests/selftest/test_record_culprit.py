"""Is the right layer blamed for what was found, and none where it cannot be told?"""

from pathlib import Path
from typing import Any

import pytest

from fixtures.record.culprit import culprit
from fixtures.record.record import Record
from fixtures.record.summary import summarise
from fixtures.record.terminal import render
from fixtures.record.verdict import judge

PROMISED, SOFT = "virtio_crypto_aes_cbc", "ctr(aes-generic)"
LAYERS = ("openssl", "engine", "engine-explicit", "cryptodev", "afalg")
CANDIDATES = [f"{PROMISED} 150 passed", "cbc(aes-generic) 100 passed"]


def answers(algorithm: str, *wrong: str, layers: tuple[str, ...] = LAYERS, **drivers: str) -> list[Record]:
    """Vectors of an algorithm at every layer, wrong ones at those named."""
    usual = SOFT if algorithm == "AES-128-CTR" else PROMISED
    return [
        {
            "kind": "vectors", "layer": layer, "algorithm": algorithm, "group": "g", "total": 8,
            "failed": 3 if layer in wrong else 0, "seconds": 0.1,
            "driver": drivers.get(layer, usual if layer in ("cryptodev", "afalg") else "engine devcrypto"),
        }
        for layer in layers
    ]  # fmt: skip


def proofs(*unproven: str, layers: tuple[str, ...] = LAYERS[1:], **drivers: str) -> list[Record]:
    """A witness of AES-128-CBC at every layer, which kept still at those named."""
    return [
        {
            "kind": "witness", "layer": layer, "algorithm": "AES-128-CBC", "proven": layer not in unproven,
            "driver": drivers.get(layer, PROMISED if layer in ("cryptodev", "afalg") else "engine devcrypto"),
        }
        for layer in layers
    ]  # fmt: skip


def promise(candidates: list[str] = CANDIDATES, **more: Any) -> Record:
    """What the board file promises of AES-128-CBC, and what the kernel has."""
    return {
        "kind": "algorithm", "algorithm": "AES-128-CBC", "kernel": "cbc(aes)", "driver": PROMISED, "promised": True,
        "promise": PROMISED, "candidates": candidates, **more,
    }  # fmt: skip


def row(*, driver: bool, passed: bool = False, seen: str = "crypt=0") -> Record:
    """A question about cryptodev's interface."""
    return {
        "kind": "interface", "layer": "cryptodev", "row": "crypt-1MiB", "caller": "native", "passed": passed,
        "seen": seen, "expected": {}, "driver": driver,
    }  # fmt: skip


def failed(reason: str = "wrong") -> Record:
    """A test that failed."""
    return {"kind": "test", "nodeid": "t.py::t", "outcome": "failed", "seconds": 0.1, "reason": reason}


CBC, CTR = "AES-128-CBC", "AES-128-CTR"
NONE = LAYERS[1:]
CASES: dict[str, tuple[list[Record], str | None, str]] = {
    "wrong below both ways in, right with another driver": (
        [*answers(CBC, *LAYERS[1:]), *answers(CTR)], "driver", "certain"),
    "right in one go, wrong in other ways at the engine": (
        [*answers(CBC), *answers(CBC, "engine", "engine-explicit"), *answers(CTR)], "engine", "likely"),
    "right in one go, wrong in other ways from cryptodev up": (
        [*answers(CBC), *answers(CBC, *LAYERS[1:4]), *answers(CBC)], "cryptodev", "certain"),
    "wrong below both ways in, nothing to compare": (answers(CBC, *LAYERS[1:]), "driver", "likely"),
    "wrong from cryptodev up, right beside it": (answers(CBC, *LAYERS[1:4]), "cryptodev", "certain"),
    "wrong at cryptodev, right with another driver": (
        answers(CBC, "cryptodev", afalg="cbc-aes-ce"), None, "unknown"),
    "wrong at cryptodev, AF_ALG not asked": (answers(CBC, "cryptodev", layers=LAYERS[:4]), None, "unknown"),
    "wrong at the engine alone": (answers(CBC, "engine", "engine-explicit"), "engine", "likely"),
    "wrong at the engine, nothing below was asked": (answers(CBC, "engine", layers=LAYERS[:2]), None, "unknown"),
    "AF_ALG alone does not answer": (answers(CBC, "afalg", afalg="nobody"), "kernel", "likely"),
    "wrong everywhere, software too": (answers(CBC, *LAYERS), None, "unknown"),
    "wrong in OpenSSL's software alone": (answers(CBC, "openssl"), "openssl", "likely"),
    "the default configuration alone does not offload": (proofs("engine"), "engine", "certain"),
    "no engine offloads, cryptodev does": (proofs("engine", "engine-explicit"), "engine", "certain"),
    "offload at cryptodev, not through AF_ALG": (proofs("afalg"), "kernel", "likely"),
    "another driver has the higher priority": (
        [*proofs(*NONE, cryptodev="cbc-aes-ce"), promise([*CANDIDATES, "cbc-aes-ce 300 passed"])], "kernel", "certain"),
    "the promised driver is not there": (
        [*proofs(*NONE, cryptodev="cbc(aes-generic)"), promise(CANDIDATES[1:])], "driver", "certain"),
    "the promised driver failed its self-test": (
        [*proofs(*NONE, cryptodev="cbc(aes-generic)"), promise([f"{PROMISED} 150 unknown"])], "driver", "certain"),
    "the promised driver serves and nothing moves": ([*proofs(*NONE), promise()], "driver", "likely"),
    "no offload, and /proc/crypto was not read": (proofs(*NONE, cryptodev="cbc-aes-ce"), None, "unknown"),
    "the engine does not offer what cryptodev does": (
        [*answers(CBC), promise(offered=False)], "engine", "certain"),
    "two layers by themselves": ([*answers(CBC, "engine"), *proofs("afalg")], None, "unknown"),
    "nothing was asked layer by layer": ([], None, "unknown"),
    "cryptodev answers wrongly by itself": ([*answers(CBC), row(driver=False)], "cryptodev", "certain"),
    "cryptodev answers wrongly, and so does the engine": (
        [*answers(CBC, "engine"), row(driver=False)], None, "unknown"),
    "a row at which a driver has a part, vectors are right": (
        [*answers(CBC), row(driver=True)], "cryptodev", "likely"),
    "a row at which a driver has a part, no vectors": ([row(driver=True)], "cryptodev", "likely"),
    "a row at which a driver has a part, its vectors are wrong too": (
        [*answers(CBC, *LAYERS[1:]), *answers(CTR), row(driver=True)], "driver", "certain"),
    "what a row needs is not there": ([row(driver=True, seen="lacks=21/0:ENOENT")], None, "unknown"),
    "the rows are right": ([*answers(CBC, "engine"), row(driver=False, passed=True)], "engine", "likely"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_layer_to_blame(case: str) -> None:
    records, layer, confidence = CASES[case]
    blame = culprit([*records, failed()])
    assert (blame.layer, blame.confidence) == (layer, confidence), blame
    assert blame.because


@pytest.mark.parametrize(
    ("reason", "layer"),
    [
        ("modprobe cryptodev failed with exit status 1: cannot insert: Exec format error", "cryptodev"),
        ("/dev/crypto is missing: ls: /dev/crypto: No such file", "cryptodev"),
        ("/usr/lib/engines-3/devcrypto.so is missing; the engines folder holds: afalg.so", "engine"),
        ("missing symbol, to blame: engine; built against other headers\nlines", "engine"),
        ("missing library, to blame: image; libfoo.so.1 is not where the linker looks\nlines", "engine"),
        ("openssl version check, to blame: OpenSSL 3.0.1: its own version check; listed\nlines", "openssl"),
        ("12 MB/s is below the floor of 100 MB/s", None),
    ],
)
def test_what_did_not_load(reason: str, layer: str | None) -> None:
    assert culprit([failed(reason)]).layer == layer


OOPS = """kernel oops, seen on the console: Unable to handle kernel NULL pointer dereference; console socket://x:
  | [   20.5] Modules linked in: sha512_generic cryptodev(OE) virtio_crypto
  | [   20.5] pc : {pc}
  | [   20.6] Call trace:
  | [   20.6]  memcpy+0x10/0x20
  | [   20.6]  {caller}
  | [   20.6]  cryptodev_ioctl+0x348/0x910 [cryptodev]
"""
IN_DRIVER, IN_CRYPTODEV = "virtio_crypto_done+0x1/0x2 [virtio_crypto]", "session_close+0x6c/0x150 [cryptodev]"


@pytest.mark.parametrize(
    ("pc", "caller", "layer"),
    [
        (IN_CRYPTODEV, IN_DRIVER, "cryptodev"),
        (IN_DRIVER, IN_CRYPTODEV, "driver"),
        ("memcpy+0x10/0x20", IN_DRIVER, "driver"),
        ("memcpy+0x10/0x20", "vfs_ioctl+0x1/0x2", "cryptodev"),
        ("virtnet_poll+0x1/0x2 [virtio_net]", IN_CRYPTODEV, None),
    ],
)
def test_the_module_of_an_oops(pc: str, caller: str, layer: str | None) -> None:
    blame = culprit([promise(), failed(OOPS.format(pc=pc, caller=caller))])
    assert (blame.layer, blame.confidence) == (layer, "likely" if layer else "unknown"), blame
    assert "the kernel's trouble is in its module" in blame.because[0]


def test_an_oops_without_modules_blames_nobody() -> None:
    text = OOPS.format(pc="memcpy+0x10/0x20", caller="vfs_ioctl+0x1/0x2").replace(" [cryptodev]", "")
    assert culprit([promise(), failed(text)]).layer is None


def test_nobody_is_blamed_where_nothing_failed() -> None:
    blame = culprit([*answers(CBC), *proofs(), promise()])
    assert (blame.layer, blame.because) == (None, ())


def test_the_verdict_and_the_screen_say_it() -> None:
    records = [*answers(CBC, "engine", "engine-explicit"), *answers(CTR), failed()]
    verdict = judge(records)
    assert (verdict.outcome, verdict.culprit, verdict.confidence) == ("bad", "engine", "likely")
    line = {
        "kind": "verdict", "outcome": "bad", "exit_status": 1, "culprit": verdict.culprit, "why": verdict.why,
        "confidence": verdict.confidence, "because": verdict.because,
    }  # fmt: skip
    text = render(summarise([*records, line], Path("runs/x")))
    assert "BLAME    engine (likely): because wrong answers at engine, engine-explicit," in text
    assert "right ones at cryptodev below (AES-128-CBC)" in text
