"""Files of users are read up to a limit, in the memory that their content needs."""

import os
import tracemalloc
from pathlib import Path

import pytest

from fixtures.regular_file import CHUNK, read_regular_file


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_file_at_the_limit_is_read_and_a_larger_one_refused(tmp_path: Path, size: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    assert read_regular_file(file, size) == file.read_bytes()
    if size:
        with pytest.raises(OSError, match=f"larger than {size - 1} bytes, the limit for such a file"):
            read_regular_file(file, size - 1)


def test_small_file_takes_little_memory_whatever_the_limit_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("small")
    tracemalloc.start()
    try:
        read_regular_file(tmp_path / "file", 1 << 30)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_pipe_and_device_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular_file(file, 100)
