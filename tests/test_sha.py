"""Are the answers of the SHA family right?"""

import pytest

from fixtures.gate.fixtures_answers import RunGroup
from fixtures.probe.protocol import Layer
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.sources import sha

pytestmark = pytest.mark.board


@pytest.mark.parametrize("group", sha().groups, ids=lambda group: group.id)
def test_known_answers(layer: Layer, group: VectorGroup, run_group: RunGroup) -> None:
    result = run_group(layer, group)
    assert result.mismatches == []
