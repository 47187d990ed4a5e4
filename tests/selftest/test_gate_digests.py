"""A board that promises digests, as the LS1046A does, is tested with the operation `digest`."""

import pytest
from gate_run import ROOT
from host_board import HostBoard

from fixtures.lab.board import load_board
from fixtures.vectors.model import operations_of

pytest_plugins = ["host_board"]

LS1046A = load_board("ls1046a", ROOT / "boards")
PROMISED = [name for name, algorithm in LS1046A.algorithms.items() if algorithm.driver]


def test_ls1046a_promises_digests() -> None:
    assert [name for name in PROMISED if operations_of(name) == ("digest",)] == [
        "SHA1", "SHA224", "SHA256", "SHA384", "SHA512",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("algorithm", "operations"),
    [
        ("AES-128-CBC", ("encrypt", "decrypt")),
        ("AES-256-CTR", ("encrypt", "decrypt")),
        ("SHA1", ("digest",)),
        ("SHA512", ("digest",)),
    ],
)
def test_digest_has_one_operation_and_cipher_has_two(algorithm: str, operations: tuple[str, ...]) -> None:
    assert operations_of(algorithm) == operations


def test_operation_time_is_measured_for_every_promised_algorithm(host: HostBoard) -> None:
    """On this host, with the algorithms of the LS1046A's board file, at the layer that needs no hardware."""
    host.board["extends"] = "ls1046a"
    host.board["throughput"] = []
    run = host.run_gate("tests/test_throughput.py")
    assert run.verdict["outcome"] == "partial", run.text
    assert {(line["algorithm"], line["layer"]) for line in run.records_of("pace")} == {
        (name, "openssl") for name in PROMISED
    }
    assert len(run.tests("passed")) == len(PROMISED)
