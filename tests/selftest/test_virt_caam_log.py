"""The model's log."""

import io

from fixtures.virt.caam.log import Log


def test_last_line_of_a_log_states_its_limit() -> None:
    stream = io.StringIO()
    log = Log(stream, limit=50)
    for number in range(1000):
        log(f"job {number}")
    lines = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    assert lines == ["job 0", "job 1", "job 2", "this log ends here: it has reached its limit of 50 characters"]
