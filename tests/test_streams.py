"""Are the answers right if a program splits, misaligns or repeats its calls?"""

import pytest

from fixtures.gate.fixtures_answers import RunGroup
from fixtures.probe.protocol import Layer
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.streams import streams

pytestmark = pytest.mark.board


@pytest.mark.parametrize("group", streams(), ids=lambda group: group.id)
def test_answer_is_right_however_input_is_split(layer: Layer, group: VectorGroup, run_group: RunGroup) -> None:
    result = run_group(layer, group)
    assert result.mismatches == []
