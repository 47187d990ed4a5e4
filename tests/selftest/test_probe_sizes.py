"""Sizes with the real probe and this machine's libcrypto: each defect of a length is found at that length."""

from dataclasses import replace

import pytest
from test_probe_run import MACHINE, ProbeSetup, count_mismatches, engine, probe_setup, program, pytestmark

from fixtures.outcome import LabError
from fixtures.probe.known_answers import describe_mismatches, find_mismatches
from fixtures.probe.protocol import Layer
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.sizes import SizeVectors, wrong_lengths

__all__ = ["MACHINE", "engine", "probe_setup", "program", "pytestmark"]

SEED = 31


def groups_of(algorithm: str) -> list[VectorGroup]:
    vectors = SizeVectors(SEED, algorithm)
    return [vectors.packets(), vectors.records(), vectors.large(), *vectors.windows(("engine",))]


CBC, SHA256 = groups_of("AES-128-CBC"), groups_of("SHA256")


@pytest.mark.parametrize("layer", ["openssl", "engine"])
def test_every_size_is_answered_right(probe_setup: ProbeSetup, layer: Layer) -> None:
    answers = probe_setup.install("right").run_groups(layer, CBC + SHA256)
    assert count_mismatches(CBC + SHA256, answers) == 0
    assert {given.served_by for given in answers} == {"engine hiltest" if layer == "engine" else "software"}


@pytest.mark.parametrize("algorithm", ["AES-256-ECB", "AES-192-CTR", "SHA1", "SHA512"])
def test_every_algorithm_is_answered_right(probe_setup: ProbeSetup, algorithm: str) -> None:
    groups = groups_of(algorithm)
    assert count_mismatches(groups, probe_setup.install().run_groups("openssl", groups)) == 0


def find_wrong(probe_setup: ProbeSetup, mode: str, group: VectorGroup) -> tuple[set[int], str]:
    """Return the wrong lengths of a group with a defect of the engine, and the failure message."""
    (given,) = probe_setup.install(mode).run_groups("engine", [group])
    found = find_mismatches(group, given)
    wrong = {length for vector, answer in found for length in wrong_lengths(vector, answer.output)}
    return wrong, describe_mismatches("engine", group, given, found)


@pytest.mark.parametrize("group", [CBC[0], CBC[3], SHA256[0], SHA256[3]], ids=lambda group: group.id)
def test_window_of_wrong_lengths_is_found_and_nothing_else(probe_setup: ProbeSetup, group: VectorGroup) -> None:
    wrong, text = find_wrong(probe_setup, "window", group)
    assert wrong
    assert all(1408 <= length < 1472 for length in wrong)
    first_lines = text.splitlines()[:2]
    assert first_lines[1].startswith("wrong: ")
    assert " bytes" in first_lines[1]


@pytest.mark.parametrize("group", [CBC[2], SHA256[2]], ids=lambda group: group.id)
def test_data_taken_from_the_beginning_again_is_wrong(probe_setup: ProbeSetup, group: VectorGroup) -> None:
    wrong, text = find_wrong(probe_setup, "repeats", group)
    assert wrong == {(4 << 20) + (64 << 10), 9 << 20}
    assert "wrong: from 4259840 to 9437184 bytes (2 lengths)" in text


def test_error_of_one_length_names_it(probe_setup: ProbeSetup) -> None:
    (given,) = probe_setup.install("refuses").run_groups("engine", [CBC[1]])
    assert {answer.error.partition(":")[0] for answer in given.answers} >= {"16 bytes", "32 bytes"}


def test_aead_at_a_layer_of_openssl_is_an_error(probe_setup: ProbeSetup) -> None:
    group = SizeVectors(SEED, "AES-128-GCM").packets()
    (given,) = probe_setup.install().run_groups("openssl", [group])
    assert "the pattern 'seal' is for cryptodev and AF_ALG" in given.answers[0].error


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("large", "at least one size"),
        ("large 0", "a size is 1 to 16777216 bytes"),
        ("large 16 16777217", "a size is 1 to 16777216 bytes"),
        ("seal 16", "at least one size"),
        ("seal 252 16", "only 251 bytes for associated data"),
    ],
)
def test_impossible_size_is_an_error(probe_setup: ProbeSetup, pattern: str, message: str) -> None:
    vector = replace(CBC[0].vectors[0], pattern=pattern)
    (given,) = probe_setup.install().run_groups("openssl", [replace(CBC[0], vectors=(vector,))])
    assert message in given.answers[0].error


def test_more_sizes_than_a_vector_can_have_are_refused(probe_setup: ProbeSetup) -> None:
    vector = replace(CBC[0].vectors[0], pattern="large" + " 16" * 18)
    with pytest.raises(LabError, match="unexpected text at the end: '16'"):
        probe_setup.install().run_groups("openssl", [replace(CBC[0], vectors=(vector,))])
