"""Waiting for servers that a test starts."""

import subprocess
import time
from collections.abc import Callable

from qemu.qmp import QMPError


def wait_for_server(process: "subprocess.Popen[bytes]", connect: Callable[[], object], timeout: float) -> None:
    """Wait until a server answers.

    :param connect: sends a request; raises OSError or QMPError as long as there is no answer.
    :param timeout: seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            connect()
        except (OSError, QMPError):
            assert process.poll() is None, f"{process.args!r} ended"
            assert time.monotonic() < deadline, f"{process.args!r} did not answer within {timeout:g} s"
            time.sleep(0.02)
        else:
            return
