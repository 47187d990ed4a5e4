"""Are the answers of AES right?"""

import pytest

from fixtures.gate.fixtures_answers import RunGroup
from fixtures.probe.protocol import Layer
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.sources import aes

pytestmark = pytest.mark.board


@pytest.mark.parametrize("group", aes().groups, ids=lambda group: group.id)
def test_known_answers(layer: Layer, group: VectorGroup, run_group: RunGroup) -> None:
    result = run_group(layer, group)  # all vectors of the group in one batch
    assert result.mismatches == []
