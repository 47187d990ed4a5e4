"""Where answers were wrong: are they wrong again, at which layers, and with the kernel's software?"""

import pytest

from fixtures.gate.fixtures_followup import FollowUp

pytestmark = pytest.mark.board


def test_no_answer_was_wrong_that_more_answers_would_explain(follow_up: FollowUp) -> None:
    assert follow_up() == []
