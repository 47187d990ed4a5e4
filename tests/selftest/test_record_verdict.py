"""Verdict, summary and terminal output follow from the records of a run alone."""

import re
from collections.abc import Iterator
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from run_records import complete, with_verdict

from fixtures.record.record import Record, RunRecord
from fixtures.record.summary import Row, Summary, load_summary, summarise
from fixtures.record.terminal import format_rate, render, show
from fixtures.record.verdict import decide

AES = [f"AES-{bits}-{mode}" for mode in ("CBC", "ECB", "CTR") for bits in (128, 192, 256)]
DIGESTS = ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"]
SECTIONS = {"GFSbox": 7, "KeySbox": 21, "VarKey": 128, "VarTxt": 128, "MMT": 10}
FACTS: dict[str, Any] = {
    "U-Boot": "2023.01+dfsg-2+deb12u1",
    "kernel": "6.1.0-40-arm64",
    "OpenSSL": "OpenSSL 3.0.17 1 Jul 2025 (Library: OpenSSL 3.0.17 1 Jul 2025)",
    "cryptodev": "1.14 (stand-in)",
    "engine build-id": "8c1d5b0f3a7e42d98810e5d3b2a6c4f7e9d01234",
    "driver": "virtio_crypto 1.0",
    "harness time in the boot": "0.21 s",
}


def _list_groups() -> Iterator[tuple[str, str, int]]:
    """Yield algorithm, vector group and number of vectors of every group."""
    for name in AES:
        for operation in ("encrypt", "decrypt"):
            sections = {"RFC3686": 3, "SP800-38A": 4} if "CTR" in name else SECTIONS
            yield from ((name, f"{name}-{section}-{operation}", total) for section, total in sections.items())
    for name in DIGESTS:
        yield from ((name, f"{name}-{section}", total) for section, total in (("ShortMsg", 65), ("LongMsg", 64)))


def _kernel_driver(name: str) -> str:
    if "CBC" in name:
        return "virtio_crypto_aes_cbc"
    return f"{name[-3:].lower()}(aes-generic)" if "AES" in name else f"{name.lower()}-generic"


def serving_driver(layer: str, name: str) -> str:
    """Return what serves an algorithm at a layer, as the probe reports it."""
    if layer in ("cryptodev", "afalg"):
        return _kernel_driver(name)
    return "software" if layer == "openssl" else "engine devcrypto"


def good_run(*layers: str) -> list[Record]:
    """Return the records of a good run: all algorithms at these layers, at two layers if none is named."""
    layers = layers or ("openssl", "engine")
    records: list[Record] = [
        {
            "kind": "run",
            "board": "virt",
            "unit": None,
            "image": None,
            "started": "2026-11-22T18:15:00Z",
            "version": "0.1",
        },
        {"kind": "run", "board": "virt", "unit": "virt/0", "image": "virt-5f3c2a91", "started": "", "version": "0.1"},
        *({"kind": "fact", "name": name, "value": value} for name, value in FACTS.items()),
        {"kind": "refused", "source": "CBCMCT128.rsp", "total": 200, "why": "Monte Carlo: not run yet"},
        {"kind": "refused", "source": "SHA1Monte.rsp", "total": 100, "why": "Monte Carlo: not run yet"},
        result("tests/test_boot.py::test_board_boots"),
        result("tests/test_symbols.py::test_every_symbol_resolves"),
        result("tests/test_fast.py::test_calibrated", "skipped", "the board file marks no bound as calibrated"),
    ]
    for name in [*AES, *DIGESTS]:
        records.append({"kind": "algorithm", "algorithm": name, "kernel": "", "driver": _kernel_driver(name)})
        records[-1]["promised"] = "CBC" in name
    for layer in layers:
        for name, group, total in _list_groups():
            line = {"kind": "vectors", "layer": layer, "algorithm": name, "group": group, "total": total, "failed": 0}
            records.append({**line, "seconds": 0.05, "driver": serving_driver(layer, name)})
            records.append(result(f"tests/test_answers.py::test_known_answers[{layer}-{group}]"))
    records += [witness(name, 1012, layer) for layer in layers[1:] for name in AES[:3]]
    records += [witness(name, 0, "openssl") for name in AES[:3]]
    records.append(result("tests/test_offload.py::test_accelerator_did_it[AES-128-CBC]"))
    records += [throughput(block, processes) for processes in (1, 2) for block in (1024, 16384)]
    return records


def result(nodeid: str, outcome: str = "passed", reason: str = "") -> Record:
    return {"kind": "test", "nodeid": nodeid, "outcome": outcome, "seconds": 0.12, "reason": reason}


def witness(algorithm: str, moved: int, layer: str = "engine") -> Record:
    where = {"kind": "witness", "test": f"test_offload.py::test_it[{layer}-{algorithm}]", "layer": layer}
    numbers = {"operations": 1000, "before": 4711, "after": 4711 + moved, "proven": moved >= 500}
    return {**where, "algorithm": algorithm, "name": "virtio-crypto interrupts", **numbers}


def throughput(block: int, processes: int, value: float = 2.31e6) -> Record:
    bounds = {"floor": 1e5 if block < 2000 else 1e6, "ceiling": 4e7, "cpu_seconds": 0.9}
    rates = {"bytes_per_second": value, "low": value * 0.97, "high": value * 1.04}
    where = {"layer": "engine", "algorithm": "aes-128-cbc", "block": block, "processes": processes}
    return {"kind": "throughput", **where, **rates, **bounds}


def summarise_run(records: list[Record]) -> Summary:
    return summarise(with_verdict(records), Path.cwd() / "runs" / "20261122T181500Z-virt")


def write_record(root: Path, records: list[Record]) -> Path:
    """Write records as a run does, and return the folder."""
    with RunRecord.create(root, "virt", version="0.1") as record:
        for fields in records:
            record.write(**fields)
    return record.folder


LAYERS = ("openssl", "engine", "engine-explicit", "cryptodev", "afalg")


def unproven_offload() -> list[Record]:
    """Return a bad run at all layers: wrong answers of the engine, no offload by default, another driver at AF_ALG."""
    records = good_run(*LAYERS)
    for line in records:
        if line["kind"] == "vectors" and line["layer"] == "afalg" and "CBC" in line["algorithm"]:
            line["driver"] = "cbc(aes-generic)"
        if line["kind"] == "vectors" and line["layer"] == "cryptodev" and "CBC" in line["algorithm"]:
            line["driver"] += " (KERNEL_DRIVER_ONLY)"
        if line.get("group") == "AES-192-CBC-VarKey-encrypt" and line["layer"] == "engine-explicit":
            line["failed"] = 3
        if line["kind"] == "witness" and line["layer"] in ("engine", "afalg"):
            line.update(after=line["before"], proven=False)
    return [*records, result("tests/test_offload.py::test_it", "failed", "not proven")]


def bad_run() -> list[Record]:
    """Return a bad run: wrong answers, no offload, rates out of their bounds, and a lab error."""
    records = good_run()
    for line in records:
        if line.get("group") == "AES-192-CBC-VarKey-encrypt" and line["layer"] == "engine":
            line["failed"] = 3
    records = [line for line in records if line["kind"] not in ("witness", "throughput")]
    records += [witness("AES-128-CBC", 12), witness("AES-192-CBC", 1012), witness("AES-256-CBC", 0)]
    records += [throughput(1024, 1), throughput(16384, 1, 4.75e7), throughput(1024, 2, 9e4), throughput(16384, 2)]
    answer = "tests/test_answers.py::test_known_answers[engine-AES-192-CBC-VarKey-encrypt]"
    failures = {
        answer: "3 of 128 answers are wrong; first: CBCVarKey192.rsp:17 COUNT = 2, expected 7c9c0f6f...\nkey 00",
        "tests/test_offload.py::test_accelerator_did_it[AES-128-CBC]": "the witness moved by 12 for 1000 operations",
        "tests/test_offload.py::test_accelerator_did_it[AES-256-CBC]": "the witness moved by 0 for 1000 operations",
        "tests/test_fast.py::test_throughput[aes-128-cbc-16384]": "47.5 MB/s is above the ceiling of 40.0 MB/s",
        "tests/test_fast.py::test_throughput[aes-128-cbc-1024]": "0.090 MB/s is below the floor of 0.100 MB/s",
    }
    records += [result(nodeid, "failed", reason) for nodeid, reason in failures.items()]
    return [
        *records,
        result("tests/test_boot.py::test_reset", "error", "SSH lost: 127.0.0.1:2222 refused\nTraceback"),
    ]


# The verdict


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["passed"], ("good", 0)),
        (["passed", "skipped"], ("good", 0)),
        (["passed", "failed"], ("bad", 1)),
        (["error", "failed", "passed"], ("bad", 1)),
        (["passed", "error"], ("lab", 9)),
        (["error"], ("lab", 9)),
        (["skipped"], ("lab", 9)),
        ([], ("lab", 9)),
    ],
)
def test_failure_outweighs_lab_error_and_lab_error_outweighs_success(
    outcomes: list[str], expected: tuple[str, int]
) -> None:
    verdict = decide(complete([result(f"t.py::test_{number}", outcome) for number, outcome in enumerate(outcomes)]))
    assert (verdict.outcome, verdict.exit_status, verdict.culprit) == (*expected, None)
    assert bool(verdict.why) == (expected[0] != "good")


def test_empty_run_has_a_reason() -> None:
    assert decide(complete([])).why == ["no test passed or failed"]
    assert decide(complete([result("t.py::a", "skipped", "no board")])).why == [
        "no test passed or failed",
        "t.py::a: no board",
    ]


def test_one_test_recorded_twice_keeps_its_worst_outcome() -> None:
    for outcomes in (("failed", "passed"), ("passed", "failed")):
        assert decide(complete([result("t.py::a", outcome) for outcome in outcomes])).outcome == "bad"
    assert decide(complete([result("t.py::a", "failed"), result("t.py::a", "error", "tear-down")])).outcome == "bad"
    assert decide(complete([result("t.py::a", "passed"), result("t.py::a", "error", "tear-down")])).why == [
        "lab: t.py::a: tear-down"
    ]


def test_failures_come_first_and_a_common_reason_is_shown_once() -> None:
    tests = [result("t.py::x", "error", "SSH lost"), result("t.py::y", "error", "SSH lost\nTraceback")]
    tests += [result("t.py::a", "failed", "\n  wrong\nmore"), result("t.py::b", "failed")]
    assert decide(complete(tests)).why == [
        "t.py::a: wrong",
        "t.py::b: no reason given",
        "lab: t.py::x: SSH lost (and 1 more alike)",
    ]


def test_unreadable_line_makes_the_outcome_lab() -> None:
    torn = {"kind": "unreadable", "line": 7, "why": "not JSON", "text": "{"}
    verdict = decide([*complete([result("t.py::a")]), torn])
    assert verdict.outcome == "lab"
    assert verdict.why == ["lab: line 7 of the run record cannot be read: not JSON"]


def harness_error(source: str = "collection", reason: str = "t.py cannot be collected: SyntaxError") -> Record:
    return {"kind": "harness_error", "source": source, "where": "t.py", "reason": reason, "details": "Traceback"}


@pytest.mark.parametrize("source", ["plan", "collection", "record", "report", "thread", "finalizer"])
def test_error_of_the_suite_makes_the_outcome_lab(source: str) -> None:
    verdict = decide(complete([result("t.py::a"), harness_error(source)]))
    assert (verdict.outcome, verdict.exit_status) == ("lab", 9)
    assert verdict.why == ["lab: t.py cannot be collected: SyntaxError"]


def test_failed_test_outweighs_an_error_of_the_suite() -> None:
    verdict = decide(complete([harness_error(), result("t.py::a", "failed", "wrong")]))
    assert (verdict.outcome, verdict.exit_status) == ("bad", 1)
    assert verdict.why == ["t.py::a: wrong", "lab: t.py cannot be collected: SyntaxError"]


STOPPED = {"end": "stopped", "why": "pytest (stopped by a plugin)", "exit_status": 2}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], ("unfinished", 2)),
        ([result("t.py::a")], ("unfinished", 2)),
        ([result("t.py::a"), result("t.py::b", "skipped")], ("unfinished", 2)),
        ([result("t.py::a"), result("t.py::b", "error")], ("lab", 9)),
        ([result("t.py::a"), harness_error()], ("lab", 9)),
        ([result("t.py::a", "failed"), harness_error()], ("bad", 1)),
    ],
)
def test_outcome_of_a_stopped_run_depends_on_its_findings(found: list[Record], expected: tuple[str, int]) -> None:
    verdict = decide(complete(found, **STOPPED))
    assert (verdict.outcome, verdict.exit_status) == expected


def test_unfinished_run_names_what_stopped_it() -> None:
    (reason,) = decide(complete([result("t.py::a")], **STOPPED)).why
    assert reason == "interrupted by pytest (stopped by a plugin); what it had found until then is shown"


# The summary


def row(summary: Summary, algorithm: str, layer: str = "engine") -> Row:
    """Return the row of an algorithm at a layer."""
    return next(row for row in summary.rows if (row.algorithm, row.layer) == (algorithm, layer))


def test_summary_of_a_good_run() -> None:
    summary = summarise_run(good_run())
    assert len([line for line in good_run() if line["kind"] == "vectors"]) >= 150
    assert (summary.outcome, summary.exit_status, summary.why) == ("good", 0, ())
    assert (summary.board, summary.unit, summary.image) == ("virt", "virt/0", "virt-5f3c2a91")
    assert summary.started == "2026-11-22T18:15:00Z"
    assert summary.layers == ("openssl", "engine")
    assert len(summary.rows) == 2 * (len(AES) + len(DIGESTS))
    cbc = row(summary, "AES-128-CBC")
    assert (cbc.right, cbc.wrong, cbc.total) == (588, 0, 588)
    assert cbc.offload.text == "proven: virtio_crypto_aes_cbc"
    assert row(summary, "SHA1").offload.text == "software driver sha1-generic"
    assert row(summary, "AES-128-CBC", "openssl").offload.text == "software"
    assert [each.bounds for each in summary.rates] == ["within"] * 4


def test_summary_of_a_bad_run() -> None:
    summary = summarise_run(bad_run())
    wrong = {(row.algorithm, row.layer): row.wrong for row in summary.rows if row.wrong}
    assert wrong == {("AES-192-CBC", "engine"): 3}
    assert row(summary, "AES-128-CBC").offload.state == "not proven"
    assert row(summary, "AES-192-CBC").offload.state == "proven"
    assert [each.bounds for each in summary.rates] == ["within", "above ceiling", "below floor", "within"]
    assert (len(summary.with_outcome("failed")), len(summary.with_outcome("error"))) == (5, 1)
    assert (summary.outcome, summary.exit_status) == ("bad", 1)


def test_summary_of_a_run_through_all_layers() -> None:
    good, bad = summarise_run(good_run(*LAYERS)), summarise_run(unproven_offload())
    assert good.layers == LAYERS
    assert {row(good, "AES-128-CBC", layer).offload.text for layer in LAYERS[1:]} == {"proven: virtio_crypto_aes_cbc"}
    assert {row(good, "SHA1", layer).offload.text for layer in LAYERS[1:]} == {"software driver sha1-generic"}
    assert [row(bad, "AES-128-CBC", layer).offload.text for layer in LAYERS] == [
        "software",
        "not proven: virtio_crypto_aes_cbc",
        "proven: virtio_crypto_aes_cbc",
        "proven: virtio_crypto_aes_cbc",
        "not proven: cbc(aes-generic)",
    ]
    moved = summarise_run([*good_run(), witness("AES-128-CBC", 1012, "openssl")])
    assert row(moved, "AES-128-CBC", "openssl").offload.state == "software"  # one of two witnesses did not move
    assert row(summarise_run([witness("SHA1", 1012, "openssl")]), "SHA1", "openssl").offload.state == "proven"


def test_one_witness_that_did_not_move_makes_offload_not_proven() -> None:
    summary = summarise_run([*good_run(), witness("aes-128-cbc", 0)])
    assert row(summary, "AES-128-CBC").offload.state == "not proven"


def test_offload_without_a_witness_is_not_proven() -> None:
    records = [line for line in good_run() if line["kind"] != "witness"]
    assert row(summarise_run(records), "AES-128-CBC").offload.state == "untested"
    assert row(summarise_run([*records, witness("SHA1", 1000)]), "SHA1").offload.state == "proven"
    assert row(summarise_run([*records, witness("SHA1", 0)]), "SHA1").offload.state == "software"


@pytest.mark.parametrize(
    ("value", "floor", "ceiling", "bounds"),
    [
        (1e6, 1e6, 1e6, "within"),
        (999_999, 1e6, None, "below floor"),
        (1_000_001, None, 1e6, "above ceiling"),
        (1e6, None, None, "no bounds"),
        (0, 1, 2, "below floor"),
    ],
)
def test_rate_is_compared_with_its_bounds(
    value: float, floor: float | None, ceiling: float | None, bounds: str
) -> None:
    summary = summarise_run([{**throughput(1024, 1, value), "floor": floor, "ceiling": ceiling}])
    assert summary.rates[0].bounds == bounds
    assert bounds in render(summary)


def test_killed_run_is_unfinished_and_shows_its_findings(tmp_path: Path) -> None:
    folder = write_record(tmp_path, bad_run())
    with (folder / "record.jsonl").open("a") as file:
        file.write('{"kind": "test", "nod')
    summary = load_summary(folder)
    assert (summary.outcome, summary.exit_status) == ("unfinished", None)
    assert summary.why[0] == "the run ended before its verdict; what it had found is shown"
    assert "3 of 128 answers are wrong" in summary.why[1]
    assert "cannot be read" in summary.why[-1]
    text = render(summary)
    assert "OUTCOME  unfinished, no exit status" in text
    assert "AES-192-CBC                 588    585/588" in text.splitlines()


# The terminal


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize(
    "records",
    [good_run(), bad_run(), good_run(*LAYERS), unproven_offload()],
    ids=["good", "bad", "all-good", "all-bad"],
)
def test_verdict_fits_a_screen(records: list[Record], width: int) -> None:
    lines = render(summarise_run(records), width=width).splitlines()
    assert max(len(line) for line in lines) <= min(width, 120)
    assert 20 <= len(lines) <= 40
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [1, 20, 50])
def test_narrow_terminal_shows_the_verdict(width: int) -> None:
    lines = render(summarise_run(bad_run()), width=width).splitlines()
    assert lines[-1] == "OUTCOME  bad, exit status 1" and max(map(len, lines)) <= max(width, 40)


def test_verdict_of_a_good_run_has_the_expected_lines() -> None:
    text = render(summarise_run(good_run()))
    for line in (
        "RIGHT ANSWERS           openssl   engine",
        "AES-128/192/256-CBC        1764     1764",
        "  virtio_crypto_aes_cbc           proven",
        "AES-128/192/256-CTR          42       42",
        "  ctr(aes-generic)              software",
        "SHA1/224/256/384/512        645      645",
        "  sha*-generic                  software",
        "THROUGHPUT  processes block MB/s  low-high floor ceiling",
        "aes-128-cbc         2 16384 2.31 2.24-2.40  1.00    40.0 within",
        "answers  4215 at openssl, 4215 at engine; 300 vectors not used, see the report",
        "record   runs/20261122T181500Z-virt",
        "OUTCOME  good, exit status 0",
    ):
        assert line in text.splitlines()
    assert "\033" not in text


def test_table_of_five_layers_fits_80_columns() -> None:
    lines = render(summarise_run(unproven_offload())).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("RIGHT ANSWERS"))
    assert lines[start - 1 : start + 14] == [
        "                                            engine-",
        "RIGHT ANSWERS           openssl     engine explicit cryptodev      afalg",
        "AES-128/256-CBC            1176       1176     1176      1176       1176",
        "  virtio_crypto_aes_cbc         not proven   proven    proven not proven",
        "AES-192-CBC                 588        588  585/588       588        588",
        "  virtio_crypto_aes_cbc         not proven   proven    proven not proven",
        "AES-128/192/256-ECB        1764       1764     1764      1764       1764",
        "  ecb(aes-generic)                software software  software   software",
        "AES-128/192/256-CTR          42         42       42        42         42",
        "  ctr(aes-generic)                software software  software   software",
        "SHA1/224/256/384/512        645        645      645       645        645",
        "  sha*-generic                    software software  software   software",
        "at afalg cbc(aes-generic) serves AES-128/256-CBC, AES-192-CBC",
        "",
        "THROUGHPUT  processes block MB/s  low-high floor ceiling",
    ]
    assert "answers  4215 at each of 5 layers; 300 vectors not used, see the report" in lines


def test_key_sizes_with_different_results_have_separate_lines() -> None:
    text = render(summarise_run(bad_run()))
    lines = text.splitlines()
    start = lines.index("AES-128/256-CBC            1176       1176")
    assert lines[start : start + 4] == [
        "AES-128/256-CBC            1176       1176",
        "  virtio_crypto_aes_cbc         not proven",
        "AES-192-CBC                 588    585/588",
        "  virtio_crypto_aes_cbc             proven",
    ]
    assert "- tests/test_answers.py::test_known_answers[engine-AES-192-CBC-VarKey-encrypt]:\n  3 of 128" in text
    assert "  and 3 more in the report" in text
    assert text.endswith("OUTCOME  bad, exit status 1\n")


def test_one_wrong_answer_gives_its_algorithm_a_line_of_its_own() -> None:
    records = good_run()
    next(line for line in records if line.get("algorithm") == "SHA384" and line["kind"] == "vectors")["failed"] = 1
    lines = [line.split() for line in render(summarise_run(records)).splitlines()]
    start = lines.index(["SHA1/224/256/512", "516", "516"])
    assert lines[start + 1] == ["sha*-generic", "software"]
    start = lines.index(["SHA384", "128/129", "129"])
    assert lines[start + 1] == ["sha384-generic", "software"]


def test_key_sizes_that_fail_alike_share_a_line_and_nobody_is_not_shown_as_a_driver() -> None:
    records = good_run(*LAYERS)
    for line in records:
        if line["kind"] == "vectors" and line["layer"] == "afalg" and "CTR" in line["algorithm"]:
            line.update(failed=line["total"], driver="nobody")
    lines = render(summarise_run(records)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("AES-128/192/256-CTR"))
    assert lines[start].split()[1:] == ["42", "42", "42", "42", "0/42"]
    assert lines[start + 1].split()[0] == "ctr(aes-generic)"
    assert not any("nobody" in line for line in lines)


def test_lab_error_and_empty_run_fit_80_columns() -> None:
    text = render(summarise_run([result("t.py::a", "error", "no U-Boot prompt in 30 s " * 8)]))
    assert "OUTCOME  lab trouble, exit status 9" in text
    assert text.count("no U-Boot prompt in 30 s") + text.count("no\n  U-Boot") >= 4
    assert "no test passed or failed" in render(summarise_run([]))
    assert max(map(len, render(summarise_run([])).splitlines())) <= 80


@pytest.mark.parametrize("width", [80, 120])
def test_many_rates_and_long_names_do_not_exceed_the_width(width: int) -> None:
    records = unproven_offload()
    records += [throughput(16 << number, 1, 5e7) for number in range(20)]
    records += [result("t.py::" + "n" * 300, "failed", "r" * 300), {"kind": "fact", "name": "f", "value": "v" * 300}]
    records += [{"kind": "algorithm", "algorithm": "A" * 40, "kernel": "", "driver": "d" * 90, "promised": False}]
    text = render(summarise_run(records), width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "out of bounds" in text


def test_control_characters_and_markup_of_a_board_are_escaped() -> None:
    text = render(summarise_run([result("t.py::a[bold]", "failed", "\033[2J[red]x[/red]\x00 \udcff\u202e")]))
    assert r"t.py::a[bold]: \x1b[2J[red]x[/red]\x00 \udcff\u202e" in text


class Screen(StringIO):
    """Text file that reports to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_colour_is_used_on_a_terminal_unless_no_color_or_ci_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def shown(file: StringIO) -> str:
        show(summarise_run(bad_run()), file, width=80)
        return file.getvalue()

    assert "\033[1;31mbad" in shown(Screen())
    assert re.sub(r"\033\[[\d;]*m| +$", "", shown(Screen()), flags=re.M).split() == shown(StringIO()).split()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\033" not in shown(StringIO())
    for name in ("NO_COLOR", "CI"):
        monkeypatch.setenv(name, "1")
        assert "\033" not in shown(Screen())
        monkeypatch.delenv(name)


def test_text_for_an_ascii_terminal_is_escaped(tmp_path: Path) -> None:
    with TextIOWrapper((tmp_path / "out").open("wb"), encoding="ascii") as file:
        show(summarise_run([result("t.py::a", "failed", "größer")]), file)
    assert rb"gr\xf6\xdfer" in (tmp_path / "out").read_bytes()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0.000"), (1e5, "0.100"), (2.314e6, "2.31"), (4e7, "40.0"), (1079e6, "1079")],
)
def test_rate_is_shown_in_megabytes_per_second(value: float | None, text: str) -> None:
    assert format_rate(value) == text
