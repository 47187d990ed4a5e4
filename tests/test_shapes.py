"""Are the answers right whatever the shape of a request: in place, in fragments, beside others in flight?"""

import pytest

from fixtures.gate.fixtures_answers import RunGroup
from fixtures.probe.protocol import Layer
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.shapes import shapes

pytestmark = pytest.mark.board


@pytest.mark.parametrize("group", shapes(), ids=lambda group: group.id)
def test_answer_is_right_in_every_request_shape(layer: Layer, group: VectorGroup, run_group: RunGroup) -> None:
    result = run_group(layer, group)
    assert result.mismatches == []
