"""The links to a board: the console, the protocol over it, and the shell that uses both, without a board."""

import base64
import gzip
import re
import socket
import types
from functools import cache
from pathlib import Path
from typing import Any

from campaign import ROOT, Target
from hypothesis.strategies import SearchStrategy
from mutation import mutated_text
from replay import SEPARATOR

from fixtures.boot.kernel_faults import AFTER_LOGIN
from fixtures.link import flow_control, serial_shell
from fixtures.link.console import Console, ConsoleTimeout
from fixtures.link.serial_protocol import EchoTracker, NoiseFilter, OutputTooLong, Response, checksum
from fixtures.outcome import LabError, ProductError

END = b"\nend of input %d.\n"
WAIT_TIMEOUT = 4.0
"""Time for the console to find text that was sent, in seconds."""
CONSOLE_LIFETIME = 200
"""Inputs of one console."""
OUTPUT = bytes(range(256)) * 4
MAX_OUTPUT = 64 << 20
"""Bytes of output of a command that a real board has, far more than the suite ever fetches."""


class _Line:
    """A console whose other end this process writes to."""

    def __init__(self) -> None:
        self.inputs = 0
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.console = Console(f"socket://127.0.0.1:{server.getsockname()[1]}", 115200, Path("/dev/null"))
            self.board = server.accept()[0]

    def close(self) -> None:
        """Close both ends."""
        self.board.close()
        self.console.close()


_lines: list[_Line] = []


def _open_line() -> _Line:
    if _lines and (_lines[0].inputs >= CONSOLE_LIFETIME or _lines[0].console.is_lost):
        _lines.pop().close()
    if not _lines:
        _lines.append(_Line())
    _lines[0].inputs += 1
    return _lines[0]


def run_console(data: bytes) -> str:
    """Print an input on a console that watches for kernel faults, and wait for what follows it."""
    line = _open_line()
    console = line.console
    console.clear_kernel_fault()
    console.kernel_fault_patterns = AFTER_LOGIN
    end = END % line.inputs
    line.board.settimeout(WAIT_TIMEOUT)
    line.board.sendall(data + end)
    for _ in range(2):  # the second time without the kernel fault
        try:
            console.expect(re.escape(end.decode().strip()), WAIT_TIMEOUT, "the end of the input")
            return "the console was lost" if console.is_lost else ""
        except ConsoleTimeout:
            return "text that was printed is not found in time"
        except ProductError:
            console.clear_kernel_fault()
            line.board.sendall(end)
    return "a kernel fault that was cleared remains"


def consoles() -> SearchStrategy[bytes]:
    """Return mutated output of a console: a boot, an oops, prompts."""
    boot = (ROOT / "tests/selftest/data/boot/virt-linux.txt").read_bytes()
    oops = (
        b"[   12.345678] Internal error: Oops: 96000004 [#1] SMP\r\n[   12.345679] Call trace:\r\n f+0x1/0x2 [caam]\r\n"
    )
    words = (
        b"[    1.000000] ",
        b"\033]0;x\007",
        b"BUG: ",
        b"U-Boot 2026.01",
        b"Oops",
        b"\r\n",
        b"login: ",
        b"\0",
        b"=> ",
    )
    return mutated_text([b"\r\n".join(boot.splitlines()[-12:]), oops, b"virt login: \r\n# "], words)


def _marks(data: bytes, request_id: str) -> bytes:
    """Return a stream in which each line that begins with @ is a mark of the protocol, with both of its halves."""

    def mark(found: re.Match[bytes]) -> bytes:
        words = request_id.encode() + b":" + found[1]
        return b"<hil:%s=%s>" % (words, words)

    return re.sub(rb"^@([^\n\r]*)", mark, data, flags=re.MULTILINE)


def _response(output: bytes, form: str = "plain") -> bytes:
    block = base64.encodebytes(output)
    return f"@begin\n@status:0:{form}:{len(output)}\n@block:0:{checksum(output)}\n".encode() + block + b"@end\n"


@cache
def _responses() -> tuple[bytes, ...]:
    packed = gzip.compress(bytes(1000), mtime=0)
    bomb = gzip.compress(bytes(50_000_000), mtime=0)
    return _response(OUTPUT), _response(packed, "gzip"), _response(bomb, "gzip"), _response(b""), b"@damaged:17\n"


WORDS = (
    b"@end", b"@begin", b"@status:0:plain:99999999999999", b"@status:0:gzip:10", b"@block:99999999999:0", b"@damaged",
    b"@hello:0:gzip", b"@lacks:x", b"<hil:", b"=", b"[ 1.0] x\n", b"\x1b[", b"\x1b",
)  # fmt: skip


def run_protocol(data: bytes) -> str:
    """Parse a response of the agent, in one piece and in small ones."""
    stream = _marks(data, "a")
    size = max(1, len(stream) // 50)
    contents = []
    for pieces in ([stream], [stream[start : start + size] for start in range(0, len(stream), size)]):
        response, noise, echo = Response({"a"}), NoiseFilter(), EchoTracker("!YQ==\r@00\r")
        for piece in pieces:
            clean = noise.feed(piece)
            echo.feed(clean)
            response.feed(clean)
        contents.append(response.content() if response.is_complete else None)
        if contents[-1] is not None and len(contents[-1]) > MAX_OUTPUT:
            return "an output larger than any command's"
    return "" if contents[0] == contents[1] else "another output if it comes in pieces"


class _Agent:
    """A console with an agent that answers the loading as it must, and the requests as the input says.

    Its time is simulated: waiting for output that does not come ends at once.
    """

    url, baud, kernel_fault = "fuzzed", 115200, None

    def __init__(self, data: bytes) -> None:
        """:param data: answers to requests, with SEPARATOR between them; the last one is repeated."""
        self.now = 0.0
        self.position = 0
        self._answers = data.split(SEPARATOR)
        self._typed = ""
        self._output = b""

    def type_keys(self, keys: str) -> None:
        """Echo the keys, and answer a whole request."""
        self._output += keys.encode()
        self._typed += keys
        if "go;while" in self._typed and self._typed.endswith("2>/dev/null\r"):
            self._typed, self._output = "", self._output + b"\r\nhil.go\r\n"
        elif self._typed.endswith("\r.\r"):
            self._typed = ""
            own = checksum(serial_shell._AGENT.encode())
            self._output += _marks(f"\n@hello:{own}:gzip\n".encode(), "0")
        elif found := re.search(r"!\r(.*)@\w+\r\r$", self._typed, re.DOTALL):
            self._typed = ""
            request = base64.b64decode(found[1].replace("\r", ""))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            self._output += b"\n" + _marks(answer, request.split()[1].decode())

    def read(self, timeout: float) -> bytes:
        """Return the output so far; without any, let the time pass."""
        if not self._output:
            self.now += timeout
        data, self._output = self._output, b""
        self.position += len(data)
        return data

    def timeout_error(self, what: str, timeout: float) -> ConsoleTimeout:
        """Return the error of a console."""
        return ConsoleTimeout(f"{what} did not come within {timeout:g} s")

    def report_kernel_fault(self, name: str, what: str) -> None:
        """Take note of nothing."""


def run_shell(data: bytes) -> str:
    """Run a command with a time limit of 30 s over an agent that answers with the input."""
    agent: Any = _Agent(data)
    clock: Any = types.SimpleNamespace(monotonic=lambda: agent.now)
    for module in (serial_shell, flow_control):
        vars(module)["time"] = clock
    shell = serial_shell.SerialShell(agent)
    started = agent.now
    try:
        result = shell.run("true", stdin=b"input", timeout=30.0)
    finally:
        duration = agent.now - started
    if len(result.output) > MAX_OUTPUT:
        return "an output larger than any command's"
    return "a command that took far longer than its time limit" if duration > 300 else ""


def shells() -> SearchStrategy[bytes]:
    """Return mutated answers to the upload of the input and to the command."""
    stored = b"@end\n" + SEPARATOR
    late = stored + b"@begin\n" + SEPARATOR + _response(OUTPUT)
    in_parts = stored + b"@begin\n@status:0:plain:1024\n@end" + SEPARATOR + _response(OUTPUT)
    return mutated_text([*(stored + answer for answer in _responses()), late, in_parts], WORDS)


REFUSED = (ProductError, LabError, OutputTooLong)
"""The shell makes a ProductError of OutputTooLong, with the command."""

TARGETS = (
    Target("console", consoles, run_console, (ProductError, LabError)),
    Target("serial-protocol", lambda: mutated_text(_responses(), WORDS), run_protocol, REFUSED),
    Target("serial-shell", shells, run_shell, (ProductError, LabError)),
)
