"""Are the answers of the SHA family right?"""

from collections.abc import Callable

import pytest

from fixtures.probe.protocol import Layer
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.sources import sha


@pytest.mark.parametrize("group", sha().groups, ids=lambda group: group.id)
def test_known_answers(layer: Layer, group: VectorGroup, known_answers: Callable[[Layer, VectorGroup], None]) -> None:
    known_answers(layer, group)
