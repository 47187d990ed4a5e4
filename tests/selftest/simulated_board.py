"""Simulated board on a pseudo-terminal: boot text, U-Boot, login and a real shell, over a line that can lose bytes."""

import os
import pty
import queue
import re
import select
import signal
import subprocess
import termios
import threading
import time
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from fixtures.boot import login
from fixtures.link.console import Console

UBOOT = "\r\nU-Boot 2024.01 (Jan 08 2024 - 15:37:48 +0000)\r\n\r\nDRAM:  512 MiB\r\n"
COUNTDOWN = "Hit any key to stop autoboot:  2 "
PROMPT = "=> "
KERNEL = (
    "Booting Linux on physical CPU 0x0000000000 [0x410fd083]",
    "Linux version 6.1.0 (builder@host) (gcc 12.2.0) #1 SMP",
    "Kernel command line: console=ttyS0 panic=-1",
    "random: crng init done",
    "Run /sbin/init as init process",
)
OOPS = (
    "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
    "Mem abort info:",
    "  ESR = 0x0000000096000046",
    "Internal error: Oops: 0000000096000046 [#1] SMP",
    "Modules linked in: cryptodev(O)",
    "pc : sysrq_handle_crash+0x20/0x30",
    "Call trace:",
    " sysrq_handle_crash+0x20/0x30",
    " __handle_sysrq+0xb0/0x1d0",
    "---[ end trace 0000000000000000 ]---",
)
PANIC = (
    "Kernel panic - not syncing: sysrq triggered crash",
    "SMP: stopping secondary CPUs",
    "Rebooting in 1 seconds..",
)
LOCKUP = ("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:123]",)
HUNG_TASK = ("INFO: task openssl:421 blocked for more than 120 seconds.",)
STALL = ("rcu: INFO: rcu_preempt self-detected stall on CPU",)
BUG = ("kernel BUG at crypto/algapi.c:261!",)


@dataclass
class Line:
    """Properties and faults of the serial line. Each can be changed while the line is in use."""

    baud: int = 0
    """Line speed in bits per second, ten bits per byte; 0: no limit."""
    one_by_one: bool = False
    """Whether the line delivers one byte at a time."""
    lose_out: int = 0
    """One of this many bytes from the board is lost; 0: none."""
    lose_in: int = 0
    """One of this many bytes to the board is lost; 0: none."""
    message_every: int = 0
    """A kernel message is inserted after this many bytes from the board, at any position; 0: none."""
    message_within: list[bytes] = field(default_factory=list)
    """Texts whose first occurrence is interrupted by a kernel message after the second byte."""
    swallow: bytes = b""
    """Text at whose first occurrence the line starts to lose all output of the board, for 0.3 s; empty: none."""
    timestamps: bool = True
    """Whether kernel messages start with a timestamp."""


class PowerLost(Exception):
    """The board was reset or powered off; raised in the thread that boots it."""


class SimulatedBoard:
    """Simulated board that exists within a `with` block. `url` is its console. It is powered off at first.

    :param shell: the command line of the shell behind the login, with a prompt that ends in "# ".
    :param echo: whether the terminal of the shell echoes.
    :param controlling: whether the shell has a controlling terminal, which Ctrl-C needs.
    """

    def __init__(
        self,
        line: Line | None = None,
        *,
        shell: Sequence[str] = ("sh", "-i"),
        echo: bool = True,
        controlling: bool = True,
    ) -> None:
        """Open the pseudo-terminal of the console."""
        self.line = line or Line()
        self.received = bytearray()
        """Every byte received from the host, those that the line then loses included."""
        self.starts = 0
        """Number of times the processor came out of reset."""
        self._shell, self._echo, self._controlling = tuple(shell), echo, controlling
        self._host_side, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.url = os.ttyname(self._slave)
        self._keys: queue.Queue[bytes] = queue.Queue()
        self._terminal: int | None = None  # master side of the pseudo-terminal of the shell
        self._process: subprocess.Popen[bytes] | None = None
        self._epoch = 0  # counts resets and power cuts; output of an older epoch is dropped
        self._hung = False
        self._closed = False
        self._send_lock = threading.Lock()
        self._sent_count = self._received_count = 0
        self._losing_until = 0.0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start to read the console."""
        self._start(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        """Power the board off and close the console."""
        self._closed = True
        self.off()
        for thread in self._threads:
            thread.join(5)
        os.close(self._slave)
        os.close(self._host_side)

    def on(self, *, bootloader: bool = True) -> None:
        """Power the board on. :param bootloader: start U-Boot first, which takes 0.5 s; if false, the kernel."""
        self._epoch += 1
        self.starts += 1
        self._hung = False
        self._start(self._boot, self._epoch, bootloader)

    def off(self) -> None:
        """Power the board off."""
        self._epoch += 1
        self._end_shell()

    def reset(self) -> None:
        """Reset the board without a command from the host."""
        self.off()
        self.on()

    def hang(self) -> None:
        """Hang: print nothing and ignore input from now on."""
        self._hung = True
        if self._process:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def print_kernel(self, *lines: str) -> None:
        """Print kernel messages."""
        for line in lines:
            self._send(self._message(line))

    def panic(self) -> None:
        """Print an oops and a panic, then reset."""
        self.print_kernel(*OOPS, *PANIC)
        self.reset()

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Call a function in a thread. :param delay: seconds."""
        timer = threading.Timer(delay, function)
        timer.daemon = True
        timer.start()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _message(self, text: str) -> bytes:
        stamp = f"[{time.monotonic() % 99999:12.6f}] " if self.line.timestamps else ""
        return f"{stamp}{text}\r\n".encode()

    # Boot, login and shell

    def _boot(self, epoch: int, bootloader: bool) -> None:
        """Boot, then log in and run shells until the epoch ends."""
        try:
            if bootloader:
                self._start_bootloader(epoch)
            self._start_kernel(epoch)
            while True:
                self._log_in(epoch)
                self._run_shell(epoch)
        except PowerLost:
            return

    def _print(self, epoch: int, text: str) -> None:
        """Print on the console. :raises PowerLost: the epoch has ended."""
        if epoch != self._epoch:
            raise PowerLost
        self._send(text.encode())

    def _read_key(self, epoch: int, timeout: float | None = None) -> str:
        """Return the next key, "" after `timeout` seconds (None: an hour). :raises PowerLost: the epoch has ended."""
        deadline = time.monotonic() + (timeout or 3600)
        while epoch == self._epoch:
            try:
                return self._keys.get(timeout=0.05).decode("latin-1")
            except queue.Empty:
                if time.monotonic() > deadline:
                    return ""
        raise PowerLost

    def _start_bootloader(self, epoch: int) -> None:
        while not self._keys.empty():
            self._keys.get()
        self._print(epoch, UBOOT + COUNTDOWN)
        if self._read_key(epoch, 0.5):
            self._print(epoch, f"\b\b\b 0 \r\n{PROMPT}")
            while self._run_commands(epoch, self._read_line(epoch)):
                self._print(epoch, PROMPT)

    def _start_kernel(self, epoch: int) -> None:
        self._print(epoch, "\r\nStarting kernel ...\r\n\r\n")
        for number, line in enumerate(KERNEL):
            self._print(epoch, f"[{number * 0.3 if number > 1 else 0:12.6f}] {line}\r\n")

    def _read_line(self, epoch: int) -> str:
        """Read a line as U-Boot does: each character is echoed when it arrives."""
        line = ""
        while (key := self._read_key(epoch)) not in ("\r", "\n"):
            if key == "\x03":
                self._print(epoch, f"<INTERRUPT>\r\n{PROMPT}")
                line = ""
                continue
            line += key
            self._print(epoch, key)
        self._print(epoch, "\r\n")
        return line

    def _run_commands(self, epoch: int, line: str) -> bool:
        """Run a line of U-Boot commands. Return False if it starts the kernel."""
        status = 0
        for command in line.split(";"):
            words = command.split() or [""]
            if words[0] in ("booti", "boot"):
                return False
            if words[0] == "reset":
                self.reset()
            outputs = {
                "version": "U-Boot 2024.01\r\n\r\n",
                "tftpboot": "Bytes transferred = 1\r\n",
                "setenv": "",
                "": "",
            }
            if words[0] == "echo":
                self._print(epoch, " ".join(words[1:]).replace("$?", str(status)) + "\r\n")
                status = 0
            elif words[0] in outputs:
                self._print(epoch, outputs[words[0]])
                status = 0
            else:
                self._print(epoch, f"Unknown command '{words[0]}' - try 'help'\r\n")
                status = 1
        return True

    def _log_in(self, epoch: int) -> None:
        while True:
            self._print(epoch, "\r\nSimulated 1.0 board ttyS0\r\n\r\nboard login: ")
            if self._read_line(epoch) == "root":
                return
            self._print(epoch, "Password: ")
            self._read_line(epoch)
            self._print(epoch, "Login incorrect\r\n")

    def _run_shell(self, epoch: int) -> None:
        terminal, inside = pty.openpty()
        if not self._echo:
            settings = termios.tcgetattr(inside)
            settings[3] &= ~termios.ECHO
            termios.tcsetattr(inside, termios.TCSANOW, settings)
        self._process = subprocess.Popen(
            self._shell, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
            preexec_fn=self._take_terminal if self._controlling else None,
            env={"PATH": os.environ["PATH"], "PS1": "# ", "TERM": "vt100", "HOME": "/"},
        )  # fmt: skip
        os.close(inside)
        self._terminal = terminal
        while epoch == self._epoch and (data := _read(terminal)):
            self._send(data)
        self._end_shell()
        os.close(terminal)
        if epoch != self._epoch:
            raise PowerLost

    @staticmethod
    def _take_terminal() -> None:
        """Make standard input the controlling terminal of this session leader: open(2), O_NOCTTY."""
        os.close(os.open(os.ttyname(0), os.O_RDWR))

    def _end_shell(self) -> None:
        self._terminal = None
        process, self._process = self._process, None
        if process:  # all of its session: an interactive shell gives each job a process group of its own
            for member in _list_session(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            process.wait()

    # The line

    def _listen(self) -> None:
        while not self._closed:
            if not select.select([self._host_side], [], [], 0.1)[0]:
                continue
            data = _read(self._host_side)
            self.received += data
            for start in range(0, len(data), 64):
                piece = data[start : start + 64]
                self._delay(len(piece))
                piece, self._received_count = _drop_bytes(piece, self._received_count, self.line.lose_in)
                if not self._hung:
                    self._receive(piece)

    def _receive(self, data: bytes) -> None:
        """Pass input to the shell, or keep it as keys for the bootloader and the login."""
        terminal = self._terminal
        if terminal is not None:
            os.write(terminal, data)
        else:
            for byte in data:
                self._keys.put(bytes([byte]))

    def _send(self, data: bytes) -> None:
        """Send output of the board over the line, with the faults of the line."""
        with self._send_lock:
            if self._hung or self._closed:
                return
            if self.line.swallow and self.line.swallow in data:
                data = data[: data.index(self.line.swallow)]
                self.line.swallow = b""
                self._losing_until = time.monotonic() + 0.3
            elif time.monotonic() < self._losing_until:
                return
            data = self._insert_kernel_messages(data)
            data, self._sent_count = _drop_bytes(data, self._sent_count, self.line.lose_out)
            step = 1 if self.line.one_by_one else 64 if self.line.baud else len(data) or 1
            for start in range(0, len(data), step):
                self._delay(len(data[start : start + step]))
                _write(self._host_side, data[start : start + step])

    def _insert_kernel_messages(self, data: bytes) -> bytes:
        """Insert messages as `Line.message_within` and `Line.message_every` say."""
        for text in [text for text in self.line.message_within if text in data]:
            self.line.message_within.remove(text)
            at = data.index(text) + 2
            data = data[:at] + self._message("eth0: link is up") + data[at:]
        every = self.line.message_every
        if every:
            parts = [data[start : start + every] for start in range(0, len(data), every)]
            data = parts[0] + b"".join(self._message(f"flood {time.monotonic()}") + part for part in parts[1:])
            data += self._message("flood [at the end]") if len(data) >= every else b""
        return data

    def _delay(self, count: int) -> None:
        """Wait as long as the line takes for a number of bytes."""
        if self.line.baud:
            time.sleep(10 * count / self.line.baud)


def _drop_bytes(data: bytes, before: int, every: int) -> tuple[bytes, int]:
    """Drop each byte whose number is a multiple of `every`. Return the rest, and the number of bytes so far."""
    if not every:
        return data, before
    kept = bytes(byte for number, byte in enumerate(data, before + 1) if number % every)
    return kept, before + len(data)


def power_on_and_log_in(board: "SimulatedBoard", console: Console) -> None:
    """Power a board on and log in on its console."""
    board.on(bootloader=False)
    login.wait_for_kernel(console, 5, "=> ")
    login.log_in(console, "login: ", "root", "# ", 5)


def _list_session(leader: int) -> list[int]:
    """Return the process ids of a session: field 6 of /proc/PID/stat, proc(5)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process ended meanwhile
            if int(path.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(path.parent.name))
    return found


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # EIO: the other side of the pseudo-terminal is closed
        return b""


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def find_marks(text: bytes) -> list[bytes]:
    """Return the marks of the serial shell in the output of a board."""
    return re.findall(rb"<hil:[^>]*>", text)
