"""Are the answers right whatever the size of a message, in one call? `--seed N` repeats the sizes of a run."""

import pytest

from fixtures.gate.fixtures_sizes import RunSizes
from fixtures.gate.size_questions import SizeQuestion

pytestmark = pytest.mark.board


def test_answer_is_right_at_every_size(size_question: SizeQuestion, run_sizes: RunSizes) -> None:
    result = run_sizes(size_question)
    assert result.mismatches == []
