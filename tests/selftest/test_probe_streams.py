"""Stream patterns with the real probe and this machine's libcrypto: each detects defects that no other shows."""

from collections import Counter
from dataclasses import replace

import pytest
from local_shell import LocalShell
from test_probe_run import MACHINE, ProbeSetup, count_mismatches, engine, probe_setup, program, pytestmark

from fixtures.outcome import LabError
from fixtures.probe.known_answers import describe_mismatches, find_mismatches
from fixtures.probe.protocol import Layer
from fixtures.probe.wire import encode
from fixtures.vectors.conditions import cpus, has_idleness, lifetimes
from fixtures.vectors.model import Vector, VectorGroup
from fixtures.vectors.shapes import SHAPES, shapes
from fixtures.vectors.streams import CIPHERS, DIGESTS, stream_group, streams

__all__ = ["MACHINE", "engine", "probe_setup", "program", "pytestmark"]

GROUPS = (*streams(), *shapes())
CONDITIONS = (*lifetimes(), *cpus(), stream_group("AES-128-CBC", "encrypt", "idleness", [(320, "idle 1")]))
ENGINES = tuple(group for group in GROUPS if group.algorithm in ("AES-128-CBC", "SHA256"))
"""The groups of algorithms that the test engine has."""


def pattern_names(group: VectorGroup) -> set[str]:
    return {vector.pattern.split()[0] for vector in group.vectors}


@pytest.mark.parametrize("layer", ["openssl", "engine"])
def test_every_stream_pattern_is_answered_right(probe_setup: ProbeSetup, layer: Layer) -> None:
    answers = probe_setup.install("right").run_groups(layer, GROUPS)
    assert count_mismatches(GROUPS, answers) == 0
    served = {(group.algorithm, given.served_by) for group, given in zip(GROUPS, answers, strict=True)}
    expected = "engine hiltest" if layer == "engine" else "software"
    assert {by for name, by in served if name in ("AES-128-CBC", "SHA256")} == {expected}


def test_every_algorithm_has_vectors_of_every_pattern() -> None:
    assert len({group.id for group in GROUPS}) == len(GROUPS)
    for algorithm in ("AES-128-CBC", "AES-128-ECB", "AES-128-CTR", *DIGESTS):
        patterns = set().union(*(pattern_names(group) for group in GROUPS if group.algorithm == algorithm))
        common = {"split", "pieces", "update", "bare", "offset", "sources", "copy", "again", "rewind", "many", "fork"}
        common |= {"large", "parallel", "held"}
        of_ciphers = {"destinations", "both", "over", "in-place", "share"}
        assert patterns >= common | ({"at-once"} if algorithm in DIGESTS else of_ciphers)
    assert {group.operation for group in GROUPS if group.algorithm == "AES-128-CBC"} == {"encrypt", "decrypt"}
    assert {name for name, _ in CIPHERS} | set(DIGESTS) == {group.algorithm for group in GROUPS}


def test_every_shape_is_a_group_of_its_own_for_the_layers_that_make_it() -> None:
    of_cbc = {group.name: group for group in shapes() if group.id.startswith("AES-128-CBC") and "encrypt" in group.id}
    assert list(of_cbc) == [shape.name for shape in SHAPES]
    assert of_cbc["in-place"].layers_without == ("afalg",)  # it copies the source
    assert of_cbc["not-in-place"].layers_without == of_cbc["in-flight"].layers_without == ()
    of_sha = {group.name: group for group in shapes() if group.algorithm == "SHA256"}
    assert set(of_sha) == {shape.name for shape in SHAPES if shape.of_digests}
    assert not any(group.layers_without for group in of_sha.values())


def test_ctr_is_split_at_every_length_to_beyond_three_blocks() -> None:
    (group,) = [group for group in GROUPS if group.id == "AES-128-CTR-pieces-encrypt"]
    assert {f"split {n}" for n in range(1, 49)} <= {vector.pattern for vector in group.vectors}


def test_flipped_bit_is_a_mismatch_in_every_pattern(probe_setup: ProbeSetup) -> None:
    def flipped(vector: Vector) -> Vector:
        return replace(vector, output=vector.output[:-1] + bytes([vector.output[-1] ^ 1]) if vector.output else b"\1")

    bad = [replace(group, vectors=tuple(map(flipped, group.vectors))) for group in GROUPS]
    assert count_mismatches(bad, probe_setup.install().run_groups("openssl", bad)) == sum(
        len(group.vectors) for group in GROUPS
    )


OVERRUN = "the layer wrote outside of the 320 bytes of its answer"
ENGINE_DEFECTS = {
    "loses-iv": ({"split", "pieces", "copy", "share", "fork"}, ""),
    "unaligned": ({"sources", "destinations", "both", "over", "offset", "in-place"}, "byte 319 of 320"),
    "overruns": ({"offset", "sources", "destinations", "both", "over", "in-place", "adjacent"}, OVERRUN),
    "spoils-input": ({"offset", "sources", "destinations", "both", "adjacent"}, "the layer changed its input"),
    "forgets-copied": ({"copy"}, ""),
    "keeps-hashing": ({"again", "rewind", "many"}, ""),
    "empty-zeros": ({"update", "bare", "split", "at-once", "copy"}, ""),
    "leaks": ({"many"}, "more descriptors after 32 restarts of one context"),
    "dies-in-child": ({"fork", "share"}, "the forked child was ended by signal 6 (Aborted)"),
}
"""The test engine's mode -> patterns that it breaks, and a text that must be reported."""


@pytest.mark.parametrize("mode", ENGINE_DEFECTS)
def test_engine_defect_is_found_by_its_patterns(probe_setup: ProbeSetup, mode: str) -> None:
    answers = probe_setup.install(mode).run_groups("engine", ENGINES)
    bad: Counter[str] = Counter()
    messages = ""
    for group, given in zip(ENGINES, answers, strict=True):
        found = find_mismatches(group, given)
        bad.update(vector.pattern.split()[0] for vector, _ in found)
        messages += describe_mismatches("engine", group, given, found) + "".join(answer.error for _, answer in found)
    expected, message = ENGINE_DEFECTS[mode]
    assert expected <= set(bad), bad
    assert message in messages
    right = sum(len(group.vectors) for group in ENGINES) - sum(bad.values())
    assert right > 40, bad


def test_unknown_pattern_is_refused(probe_setup: ProbeSetup) -> None:
    (group, *_) = GROUPS
    odd = replace(group, vectors=(replace(group.vectors[0], pattern="sideways 1"),))
    with pytest.raises(LabError, match="unknown stream pattern 'sideways'"):
        probe_setup.install().run_groups("openssl", [odd])


def test_repeated_answer_is_one_byte_on_the_wire(probe_setup: ProbeSetup) -> None:
    (group,) = [group for group in GROUPS if group.id == "SHA256-pieces"]
    probe_setup.install()
    output = LocalShell().run(f"{probe_setup.folder}/hil-probe openssl", stdin=encode([group])).text
    assert output.count(f" {group.vectors[0].output.hex()} #") == 1
    assert output.count(" = #") == len(group.vectors) - 1


def test_mismatch_names_its_pattern_and_shortens_long_values(probe_setup: ProbeSetup) -> None:
    (group,) = [group for group in GROUPS if group.id == "AES-128-CBC-odd-source-encrypt"]
    (given,) = probe_setup.install("wrong").run_groups("engine", [group])
    text = describe_mismatches("engine", group, given, find_mismatches(group, given))
    assert "320 bytes, pattern 'sources 1', fixtures/vectors/shapes.py:1\n" in text
    assert ", byte 319 is the first that differs" in text
    assert max(map(len, text.splitlines())) < 2 * 8192 + 100


@pytest.mark.parametrize("layer", ["openssl", "engine"])
def test_every_condition_is_answered_right(probe_setup: ProbeSetup, layer: Layer) -> None:
    answers = probe_setup.install("right").run_groups(layer, CONDITIONS)
    assert count_mismatches(CONDITIONS, answers) == 0


def test_idle_message_is_passed_after_a_pause(probe_setup: ProbeSetup) -> None:
    group = CONDITIONS[-1]
    (given,) = probe_setup.install().run_groups("openssl", [group])
    assert given.seconds >= 1
    assert given.answers[0].output == group.vectors[0].output == 2 * group.vectors[0].output[:320]


def test_contexts_that_leave_descriptors_are_found_however_they_end(probe_setup: ProbeSetup) -> None:
    groups = lifetimes()
    found = {
        vector.pattern: answer.error
        for group, given in zip(groups, probe_setup.install("leaks").run_groups("engine", groups), strict=True)
        for vector, answer in find_mismatches(group, given)
    }
    assert {pattern.split()[0] for pattern in found} >= {"freed", "dropped", "copied"}
    assert all("more descriptors after" in error for error in found.values())


def test_idleness_exists_for_what_streams_have() -> None:
    assert has_idleness("AES-128-CBC") and has_idleness("SHA256")
    assert not has_idleness("AES-256-XTS")
