"""Are the answers right however the bytes come?"""

from collections.abc import Callable

import pytest

from fixtures.probe.protocol import Layer
from fixtures.vectors.model import VectorGroup
from fixtures.vectors.streams import streams


@pytest.mark.parametrize("group", streams(), ids=lambda group: group.id)
def test_whatever_way(layer: Layer, group: VectorGroup, known_answers: Callable[[Layer, VectorGroup], None]) -> None:
    known_answers(layer, group)
