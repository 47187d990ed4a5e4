"""Does the diagnosis name the right layer, and none if the evidence does not decide?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.diagnosis import diagnose
from fixtures.diagnosis.evidence import Observations, RegisteredDriver
from fixtures.gate import outcomes
from fixtures.gate.recorder import EVIDENCE
from fixtures.limits import MAX_EVIDENCE_LENGTH
from fixtures.outcome import Evidence
from fixtures.record.record import Record
from fixtures.record.summary import summarise
from fixtures.record.terminal import render
from fixtures.record.verdict import decide
from fixtures.stack.call_trace import modules_of_fault, modules_of_trace

PROMISED, SOFT = "virtio_crypto_aes_cbc", "ctr(aes-generic)"
LAYERS = ("openssl", "engine", "engine-explicit", "cryptodev", "afalg")
CANDIDATES = [f"{PROMISED} 150 passed", "cbc(aes-generic) 100 passed"]


def answers(algorithm: str, *wrong: str, layers: tuple[str, ...] = LAYERS, **drivers: str) -> list[Record]:
    """Return the results of vectors of an algorithm at `layers`: wrong answers at the layers `wrong`."""
    usual = SOFT if algorithm == "AES-128-CTR" else PROMISED
    return [
        {
            "kind": "vectors", "layer": layer, "algorithm": algorithm, "group": "g", "total": 8,
            "failed": 3 if layer in wrong else 0, "seconds": 0.1,
            "driver": drivers.get(layer, usual if layer in ("cryptodev", "afalg") else "engine devcrypto"),
        }
        for layer in layers
    ]  # fmt: skip


def repeated(layer: str, failed: int, driver: str = PROMISED) -> Record:
    """Return the result of a vector group of AES-128-CBC that was run again at a layer."""
    return {
        "kind": "repeated", "layer": layer, "algorithm": "AES-128-CBC", "group": "g", "total": 60, "failed": failed,
        "driver": driver,
    }  # fmt: skip


def proofs(*unproven: str, layers: tuple[str, ...] = LAYERS[1:], **drivers: str) -> list[Record]:
    """Return the readings of a witness of AES-128-CBC at `layers`: it did not move at the layers `unproven`."""
    return [
        {
            "kind": "witness", "layer": layer, "algorithm": "AES-128-CBC", "proven": layer not in unproven,
            "driver": drivers.get(layer, PROMISED if layer in ("cryptodev", "afalg") else "engine devcrypto"),
        }
        for layer in layers
    ]  # fmt: skip


def promise(candidates: list[str] = CANDIDATES, **more: Any) -> Record:
    """Return the record of AES-128-CBC: the driver that the board file promises, and those that the kernel has."""
    return {
        "kind": "algorithm", "algorithm": "AES-128-CBC", "kernel": "cbc(aes)", "driver": PROMISED, "promised": True,
        "promise": PROMISED, "candidates": candidates, **more,
    }  # fmt: skip


def software(algorithm: str) -> Record:
    """Return the record of an algorithm for which the board file promises no driver."""
    return {
        "kind": "algorithm", "algorithm": algorithm, "kernel": "", "driver": SOFT, "promised": False, "promise": None,
        "candidates": [],
    }  # fmt: skip


def interface_row(*, driver: bool, passed: bool = False, lacks: str = "", **more: Any) -> Record:
    """Return the result of one row of the interface table, of cryptodev unless `more` says otherwise."""
    return {
        "kind": "interface", "layer": "cryptodev", "row": "crypt-1MiB", "caller": "native", "passed": passed,
        "seen": "crypt=0", "lacks": lacks, "expected": {}, "driver": driver, **more,
    }  # fmt: skip


def failed_test(*evidence: Evidence, reason: str = "wrong") -> Record:
    """Return the record of a failed test with its evidence."""
    return {
        "kind": "test", "nodeid": "t.py::t", "outcome": "failed", "seconds": 0.1, "reason": reason,
        "evidence": [each.to_record() for each in evidence],
    }  # fmt: skip


CBC, CTR = "AES-128-CBC", "AES-128-CTR"
NONE = LAYERS[1:]
CASES: dict[str, tuple[list[Record], str | None, str]] = {
    "wrong at cryptodev and AF_ALG, right with another driver": (
        [*answers(CBC, *LAYERS[1:]), *answers(CTR)], "driver", "certain"),
    "right in one call, wrong in stream patterns at the engine": (
        [*answers(CBC), *answers(CBC, "engine", "engine-explicit"), *answers(CTR)], "engine", "likely"),
    "right in one call, wrong in stream patterns from cryptodev up": (
        [*answers(CBC), *answers(CBC, *LAYERS[1:4]), *answers(CBC), software(CBC)], "cryptodev", "certain"),
    "wrong at cryptodev and AF_ALG, no other driver to compare": (answers(CBC, *LAYERS[1:]), "driver", "likely"),
    "wrong from cryptodev up, right at AF_ALG, with software": (
        [*answers(CBC, *LAYERS[1:4]), software(CBC)], "cryptodev", "certain"),
    "wrong from cryptodev up, right at AF_ALG, with a driver of unknown kind": (
        answers(CBC, *LAYERS[1:4]), None, "unknown"),
    "wrong at cryptodev, right with another driver": (
        answers(CBC, "cryptodev", afalg="cbc-aes-ce"), None, "unknown"),
    "wrong at cryptodev with the accelerator, right there with software": (
        [*answers(CBC, *LAYERS[1:4]), promise(), *answers(CTR), software(CTR)], None, "unknown"),
    "wrong at cryptodev with the accelerator, and no software to compare": (
        [*answers(CBC, *LAYERS[1:4]), promise()], None, "unknown"),
    "wrong at cryptodev with the accelerator and with software": (
        [*answers(CBC, *LAYERS[1:4]), promise(), *answers(CTR, *LAYERS[1:4]), software(CTR)], "cryptodev", "certain"),
    "wrong at cryptodev, AF_ALG not tested": (answers(CBC, "cryptodev", layers=LAYERS[:4]), None, "unknown"),
    "wrong at cryptodev, right there by chance for another algorithm": (
        [*answers(CTR, *LAYERS[1:4]), software(CTR), *answers(CBC, "engine")], "cryptodev", "certain"),
    "one answer wrong at the engine, and none at cryptodev": (
        [{**record, "failed": min(record["failed"], 1)} for record in answers(CBC, "engine")], None, "unknown"),
    "one answer wrong at the engine, and again and again": (
        [*({**record, "failed": min(record["failed"], 1)} for record in answers(CBC, "engine")),
         repeated("engine", 10), repeated("cryptodev", 0)], "engine", "likely"),
    "wrong through AF_ALG alone, with software too": (
        [*answers(CBC, "afalg"), promise(), repeated("afalg-software", 20, "cbc(aes-generic)")], "kernel", "likely"),
    "wrong through AF_ALG alone, right with software": (
        [*answers(CBC, "afalg"), promise(), repeated("afalg-software", 0, "cbc(aes-generic)")], None, "unknown"),
    "wrong at the engine, cryptodev right with other vectors": (
        [*answers(CBC, layers=LAYERS[:4]),
         *({**record, "group": "other"} for record in answers(CBC, "engine", layers=LAYERS[:2]))], None, "unknown"),
    "wrong at the engine alone": (answers(CBC, "engine", "engine-explicit"), "engine", "likely"),
    "wrong at the engine, no layer below tested": (answers(CBC, "engine", layers=LAYERS[:2]), None, "unknown"),
    "no driver answers at AF_ALG alone": (answers(CBC, "afalg", afalg="nobody"), "kernel", "likely"),
    "wrong at every layer, software included": (answers(CBC, *LAYERS), None, "unknown"),
    "wrong in OpenSSL's software alone": (answers(CBC, "openssl"), "openssl", "likely"),
    "the default configuration alone does not offload": (proofs("engine"), "engine", "likely"),
    "no engine offloads, cryptodev does": (proofs("engine", "engine-explicit"), "engine", "likely"),
    "offload at cryptodev, not through AF_ALG": (proofs("afalg"), "kernel", "likely"),
    "another driver has the higher priority": (
        [*proofs(*NONE, cryptodev="cbc-aes-ce"), promise([*CANDIDATES, "cbc-aes-ce 300 passed"])], "kernel", "certain"),
    "the promised driver is not registered": (
        [*proofs(*NONE, cryptodev="cbc(aes-generic)"), promise(CANDIDATES[1:])], "driver", "certain"),
    "the promised driver failed its self-test": (
        [*proofs(*NONE, cryptodev="cbc(aes-generic)"), promise([f"{PROMISED} 150 unknown"])], "driver", "certain"),
    "the promised driver serves and nothing moves": ([*proofs(*NONE), promise()], "driver", "likely"),
    "no offload, and /proc/crypto was not read": (proofs(*NONE, cryptodev="cbc-aes-ce"), None, "unknown"),
    "the engine does not offer what cryptodev does": (
        [*answers(CBC), promise(offered=False)], "engine", "certain"),
    "two layers fail independently": ([*answers(CBC, "engine"), *proofs("afalg")], None, "unknown"),
    "no test ran at single layers": ([], None, "unknown"),
    "a row that no driver affects is wrong": ([*answers(CBC), interface_row(driver=False)], "cryptodev", "certain"),
    "a row that no driver affects is wrong, and so is the engine": (
        [*answers(CBC, "engine"), interface_row(driver=False)], "cryptodev", "likely"),
    "a row that a driver may affect is wrong, vectors are right": (
        [*answers(CBC), interface_row(driver=True)], None, "unknown"),
    "a row that a driver may affect is wrong, no vectors": ([interface_row(driver=True)], None, "unknown"),
    "a row that a driver may affect is wrong with software, vectors are right": (
        [*answers(CBC), interface_row(driver=True, software=True)], "cryptodev", "likely"),
    "a row that a driver may affect is wrong, and so are vectors through AF_ALG with the accelerator": (
        [*answers(CBC, "afalg"), promise(), interface_row(driver=True)], "driver", "likely"),
    "a row that a driver may affect is wrong, its vectors too": (
        [*answers(CBC, *LAYERS[1:]), *answers(CTR), interface_row(driver=True)], "driver", "certain"),
    "a row that a driver may affect is wrong, and vectors at the engine": (
        [*answers(CBC), *answers(CTR, "engine"), interface_row(driver=True)], None, "unknown"),
    "an algorithm that a row needs is missing": (
        [interface_row(driver=True, lacks="21/0:ENOENT")], None, "unknown"),
    "the rows are right": ([*answers(CBC, "engine"), interface_row(driver=False, passed=True)], "engine", "likely"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_diagnosis_names_the_culprit(case: str) -> None:
    records, layer, confidence = CASES[case]
    found = diagnose([*records, failed_test()])
    assert (found.layer, found.confidence) == (layer, confidence), found
    assert found.because


@pytest.mark.parametrize(
    ("evidence", "layer"),
    [
        (Evidence("module does not load", "cryptodev", foreign_kernel=True), "cryptodev"),
        (Evidence("device missing", "/dev/crypto"), "cryptodev"),
        (Evidence("engine missing", "/usr/lib/engines-3/devcrypto.so"), "engine"),
        (Evidence("loader message", "engine", origin="engine"), "engine"),
        (Evidence("loader message", "image", origin="image"), "engine"),
        (Evidence("loader message", "kernel module cryptodev", origin="kernel module"), "cryptodev"),
        (Evidence("loader message", "OpenSSL 3.0.1: its own version check", origin="openssl"), "openssl"),
        (Evidence("loader message", "unknown"), None),
        (Evidence("openssl function", "random-bytes", origin="openssl", detail="it fails"), "openssl"),
        (Evidence("openssl function", "random-bytes", origin="engine", detail="it fails"), "engine"),
        (Evidence("openssl function", "TLS-handshake", origin="unknown", detail="it fails"), None),
        (Evidence("device refused", "cryptodev", detail="EACCES"), "cryptodev"),
        (Evidence("environment differs", "login-shell", detail="it differs"), "engine"),
        (Evidence("user without offload", "engine", detail="no offload"), None),
        (Evidence("crash without device", "engine", detail="SIGABRT"), "engine"),
        (Evidence("af_alg unavailable", "afalg"), "kernel"),
        (Evidence("below floor"), None),
        (Evidence("bad random generator", "rng-caam", detail="it repeats itself"), "driver"),
    ],
)
def test_loader_evidence_names_the_layer(evidence: Evidence, layer: str | None) -> None:
    assert diagnose([failed_test(evidence)]).layer == layer


RUNS = Path(__file__).parent / "data/diagnosis"
"""Folder of lines from run records of virtual boards with an injected fault, named after the fault."""


def test_failure_of_openssl_itself_explains_that_of_the_engine() -> None:
    """Where OpenSSL gives no algorithm, the engine gives none either, and cryptodev below it works."""
    openssl = failed_test(Evidence("openssl function", "fips", origin="openssl", detail="fips=yes"))
    engine = failed_test(Evidence("loader message", "engine", origin="engine"))
    wrong = answers("AES-128-CBC", "engine", "engine-explicit")
    found = diagnose([*wrong, *proofs("engine", "engine-explicit"), promise(), engine, openssl])
    assert (found.layer, found.confidence, found.because) == ("openssl", "certain", ("fips=yes",))


def test_user_without_offload_is_the_engine_where_root_has_it() -> None:
    user = failed_test(Evidence("user without offload", "engine", detail="the user nobody gets no offload"))
    assert diagnose([*proofs(), user]).layer == "engine"


def read_run(name: str) -> list[Record]:
    """Return the lines of a recorded run."""
    return [json.loads(line) for line in (RUNS / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "layer", "confidence", "because"),
    [
        ("kernel-no-afalg", "kernel", "certain", "EAFNOSUPPORT"),
        ("kernel-no-ctr", "kernel", "likely", "/proc/crypto has no ctr(aes)"),
        ("driver-unbound", "driver", "certain", "virtio_crypto_aes_cbc is not in /proc/crypto"),
        ("cryptodev-no-hash-copy", "cryptodev", "likely", "CIOCCPHASH failed"),
        ("cryptodev-few-wrong", None, "unknown", "may be right by chance"),
        ("driver-interrupts-lost", "driver", "likely", "openssl is blocked in its module virtio_crypto"),
        ("driver-few-wrong", "driver", "likely", "at cryptodev and through AF_ALG"),
        ("caam-one-in-1000", "driver", "certain", "at cryptodev and through AF_ALG"),
        ("caam-iv-overwritten", "driver", "certain", "wrong answers of cbc-aes-caam"),
        ("caam-selftest-ctr", "driver", "certain", "ctr-aes-caam did not pass the kernel's self-test"),
        ("caam-interrupt-lost", "driver", "likely", "hil-probe is blocked in algif_skcipher"),
        ("caam-ring-stops", "driver", "likely", "hil-probe is blocked in algif_skcipher"),
    ],
)
def test_recorded_run_has_the_known_culprit(name: str, layer: str | None, confidence: str, because: str) -> None:
    found = diagnose(read_run(name))
    assert (found.layer, found.confidence) == (layer, confidence), found
    assert because in "; ".join(found.because)


SENTENCES = ("reason", "why", "because", "details", "detail", "stack")
"""Fields of the record that hold sentences, or kernel output that is also recorded in typed fields."""


def replace_sentences(value: Any) -> Any:
    """Return a value of a record with every sentence replaced by other words."""
    if isinstance(value, list):
        return [replace_sentences(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: "lorem ipsum" if name in SENTENCES else replace_sentences(each) for name, each in value.items()}


@pytest.mark.parametrize("name", sorted(path.stem for path in RUNS.glob("*.jsonl")))
def test_culprit_does_not_depend_on_the_wording_of_messages(name: str) -> None:
    records = read_run(name)
    found, other = diagnose(records), diagnose(replace_sentences(records))
    assert replace_sentences(records) != records
    assert (other.layer, other.confidence) == (found.layer, found.confidence)


@pytest.mark.parametrize("evidence", [
    Evidence("module does not load", "cryptodev", detail="modprobe cryptodev failed"),
    Evidence("device missing", "/dev/crypto", detail="/dev/crypto is missing"),
    Evidence("engine missing", "devcrypto.so", detail="devcrypto.so is missing"),
    Evidence("loader message", "engine", origin="engine", detail="missing symbol"),
    Evidence("kernel fault", modules=("cryptodev",), detail="kernel oops"),
])  # fmt: skip
def test_culprit_does_not_depend_on_the_detail_of_evidence(evidence: Evidence) -> None:
    record = failed_test(evidence)
    found, other = diagnose([record]), diagnose([replace_sentences(record)])
    assert (other.layer, other.confidence) == (found.layer, found.confidence)
    assert found.layer


def change_run(name: str, which: Callable[[Record], bool], **new: Any) -> list[Record]:
    """Return the lines of a recorded run, with new values in the lines that `which` selects."""
    records = read_run(name)
    assert any(which(record) for record in records)
    return [{**record, **new} if which(record) else record for record in records]


def is_vectors_record_at(*layers: str) -> Callable[[Record], bool]:
    """Return a predicate for the records of vectors at these layers."""
    return lambda record: record["kind"] == "vectors" and record["layer"] in layers


CONTRADICTIONS: dict[str, list[Record]] = {
    "no driver in /proc/crypto and none for the engine, and right answers below": change_run(
        "kernel-no-ctr", is_vectors_record_at("cryptodev", "afalg"), failed=0, driver="ctr(aes-ce)"),
    "no AF_ALG, and right answers through it": [*read_run("kernel-no-afalg"), *answers(CTR)],
    "the driver is missing, and in /proc/crypto": change_run(
        "driver-unbound", lambda record: record["kind"] == "algorithm", candidates=CANDIDATES[::-1]),
    "the ioctl fails, and the answers of cryptodev are wrong": change_run(
        "cryptodev-no-hash-copy", is_vectors_record_at("cryptodev", "afalg"), failed=1),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictory_evidence_has_no_culprit(case: str) -> None:
    found = diagnose(CONTRADICTIONS[case])
    assert (found.layer, found.confidence) == (None, "unknown"), found


def test_single_wrong_answers_have_no_culprit() -> None:
    """One wrong answer of 500 may be chance, at two layers too; three at each of two layers are not."""
    assert diagnose([*answers_of_500(1, "engine"), failed_test()]).layer is None
    assert diagnose([*answers_of_500(1, *LAYERS[1:3]), failed_test()]).layer is None
    assert diagnose([*answers_of_500(3, *LAYERS[1:3]), failed_test()]).layer == "engine"


def answers_of_500(wrong: int, *layers: str) -> list[Record]:
    """Return the results of 500 vectors of AES-128-CBC, with a number of wrong answers at some layers."""
    return [{**record, "total": 500, "failed": wrong if record["failed"] else 0} for record in answers(CBC, *layers)]


def times(**milliseconds: float) -> list[Record]:
    """Return the records of a run below a floor: time per operation at each layer, and a failed test."""
    records = [
        {"kind": "pace", "layer": layer.replace("_", "-"), "algorithm": CBC, "seconds": value / 1000}
        for layer, value in milliseconds.items()
    ]
    return [*records, failed_test(Evidence("below floor"))]


@pytest.mark.parametrize(
    ("records", "layer"),
    [
        (times(openssl=3.5, engine=353, engine_explicit=351, cryptodev=352, afalg=352), "driver"),  # recorded
        (times(openssl=6.8, engine=366, engine_explicit=367, cryptodev=352, afalg=3.2), "cryptodev"),  # recorded
        (times(openssl=3.5, engine=353, engine_explicit=351, cryptodev=4, afalg=3), "engine"),
        (times(openssl=3.5, engine=5, engine_explicit=5, cryptodev=4, afalg=300), "kernel"),
        (times(openssl=353, engine=353, engine_explicit=351, cryptodev=352, afalg=352), None),  # the whole board
        (times(openssl=3.5, engine=353), None),  # no layer below tested
        (times(openssl=3.5, engine=5, engine_explicit=5, cryptodev=4, afalg=3), None),  # nothing is slow
        ([*times(openssl=3.5, engine=353, cryptodev=352, afalg=352)[:-1], failed_test()], None),  # no bound is broken
    ],
)
def test_slow_layer_is_the_culprit(records: list[Record], layer: str | None) -> None:
    found = diagnose(records)
    assert (found.layer, found.confidence) == (layer, "likely" if layer else "unknown"), found


def blocked_task(*stack: str, promised: str = PROMISED) -> list[Record]:
    """Return the records of a command that timed out, with the kernel stack of its task."""
    lines = "\n".join(f"[<0>] {line}" for line in stack)
    return [
        {
            "kind": "blocked",
            "task": "openssl",
            "stack": lines,
            "modules": list(modules_of_trace(lines)),
            "promised": [promised],
        },
        failed_test(Evidence("command timeout")),
    ]


WAITING = "cipher_run+0x1c/0x80 [cryptodev]"


@pytest.mark.parametrize(
    ("records", "layer", "because"),
    [
        (blocked_task("ctrl_vq+0x9c/0x100 [virtio_crypto]", WAITING), "driver", "in its module virtio_crypto"),
        (blocked_task("jr_enqueue+0x9c/0x100 [caam_jr]", promised="cbc-aes-caam"), "driver", "in its module caam_jr"),
        (blocked_task(WAITING), None, "which may wait for itself or for a driver"),
        (blocked_task("do_wait+0x1/0x2"), None, "not tested"),
        (
            blocked_task("ctrl_vq+0x9c/0x100 [virtio_crypto]", promised="cbc-aes-caam"),
            None,
            "which may wait for itself or",
        ),
    ],
)
def test_blocked_task_names_the_module_it_waits_in(records: list[Record], layer: str | None, because: str) -> None:
    found = diagnose(records)
    assert (found.layer, found.confidence) == (layer, "likely" if layer else "unknown"), found
    assert because in "; ".join(found.because)


OOPS = """kernel oops, seen on the console: Unable to handle kernel NULL pointer dereference; console socket://x:
  | [   20.5] Modules linked in: sha512_generic cryptodev(OE) virtio_crypto
  | [   20.5] pc : {pc}
  | [   20.6] Call trace:
  | [   20.6]  memcpy+0x10/0x20
  | [   20.6]  {caller}
  | [   20.6]  cryptodev_ioctl+0x348/0x910 [cryptodev]
"""


def kernel_fault(console_output: str) -> Record:
    """Return the record of a test during which the kernel faulted with this console output."""
    return failed_test(Evidence("kernel fault", modules=modules_of_fault(console_output), detail="kernel oops"))


IN_DRIVER, IN_CRYPTODEV = "virtio_crypto_done+0x1/0x2 [virtio_crypto]", "session_close+0x6c/0x150 [cryptodev]"


@pytest.mark.parametrize("module", ["cbc", "aes_generic", "aes_ce_blk", "sha256_generic", "authenc"])
def test_module_of_software_is_not_the_driver(module: str) -> None:
    promised = promise(["cbc-aes-caam 3000 passed"], promise="cbc-aes-caam")
    fault = failed_test(Evidence("kernel fault", modules=(module,), detail="kernel oops"))
    assert diagnose([promised, fault]).layer is None


@pytest.mark.parametrize(
    ("module", "driver"),
    [("caam_jr", "cbc-aes-caam"), ("caam", "sha256-caam"), ("crypto_safexcel", "safexcel-cbc-aes")],
)
def test_module_of_the_promised_driver_is_the_driver(module: str, driver: str) -> None:
    fault = failed_test(Evidence("kernel fault", modules=(module,), detail="kernel oops"))
    found = diagnose([promise([f"{driver} 3000 passed"], promise=driver), fault])
    assert found.layer == "driver" and f"in its module {module}" in found.because[0]


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
def test_kernel_fault_names_its_module(pc: str, caller: str, layer: str | None) -> None:
    found = diagnose([promise(), kernel_fault(OOPS.format(pc=pc, caller=caller))])
    assert (found.layer, found.confidence) == (layer, "likely" if layer else "unknown"), found
    assert "kernel fault in its module" in found.because[0]


def test_kernel_fault_without_modules_has_no_culprit() -> None:
    text = OOPS.format(pc="memcpy+0x10/0x20", caller="vfs_ioctl+0x1/0x2").replace(" [cryptodev]", "")
    assert diagnose([promise(), kernel_fault(text)]).layer is None


def test_run_without_failure_has_no_culprit() -> None:
    found = diagnose([*answers(CBC), *proofs(), promise()])
    assert (found.layer, found.because) == (None, ())


def test_verdict_and_terminal_name_the_culprit() -> None:
    records = [*answers(CBC, "engine", "engine-explicit"), *answers(CTR), failed_test()]
    verdict = decide(records, diagnose(records))
    assert (verdict.outcome, verdict.culprit, verdict.confidence) == ("bad", "engine", "likely")
    line = {
        "kind": "verdict", "outcome": "bad", "exit_status": 1, "culprit": verdict.culprit, "why": verdict.why,
        "confidence": verdict.confidence, "because": verdict.because,
    }  # fmt: skip
    text = render(summarise([*records, line], Path("runs/x")))
    assert "CULPRIT  engine (likely), because wrong answers at engine, engine-explicit," in text
    assert "right ones at cryptodev below (AES-128-CBC)" in text


@pytest.mark.parametrize("entry", ["x", "x y passed", f"x {'1' * 5000} passed", "x ² passed", "", "x 100 passed\n"])
def test_entry_that_is_no_driver_is_ignored(entry: str) -> None:
    run = Observations.from_records([promise([entry, *CANDIDATES])])
    assert run.registered_drivers("AES-128-CBC") == {
        PROMISED: RegisteredDriver(150, "passed"),
        "cbc(aes-generic)": RegisteredDriver(100, "passed"),
    }


def test_long_texts_of_evidence_are_cut_in_the_record() -> None:
    report = pytest.TestReport("t.py::t", ("t.py", 1, "t"), {}, "failed", "x", "call")
    outcomes._attach(report, [Evidence("device missing", "s" * 5000, detail="d" * 1_000_000)])
    (stored,) = getattr(report, EVIDENCE)
    assert (len(stored["subject"]), len(stored["detail"])) == (MAX_EVIDENCE_LENGTH, MAX_EVIDENCE_LENGTH)
