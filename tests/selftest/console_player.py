"""The board side of a console: sends and receives one byte at a time, over a pty or a TCP server.

`UBootPlayer` behaves as U-Boot does, by its source: common/autoboot.c (the countdown), common/cli_readline.c (the
echo), common/cli_hush.c (`;`, `$?`). The output of Linux is a recording of the virtual board.
"""

import os
import pty
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

LINUX = (Path(__file__).parent / "data/boot/virt-linux.txt").read_text().replace("\n", "\r\n")
"""Output of the virtual board from "Starting kernel" to "virt login: "."""
BANNER = "\r\n\r\nU-Boot 2023.01+dfsg-2+deb12u3 (Jun 22 2026 - 08:38:07 +0000)\r\n\r\nDRAM:  512 MiB\r\n"
RECEIVE_TIMEOUT = 10.0
"""Maximum time to wait for a key or a client, in seconds."""


class LineHungUp(Exception):
    """The line was hung up. It ends every dialogue of a player."""


class Player:
    """Board end of a serial line."""

    def __init__(self, descriptor: int, url: str, close: Callable[[], None]) -> None:
        """Take over a descriptor that is open for reading and writing, and the function that closes it."""
        self.url = url
        self._descriptor = descriptor
        self._close = close
        self._hung_up = threading.Event()

    def hang_up(self) -> None:
        """Close the line, as a console server that is switched off does."""
        if not self._hung_up.is_set():
            self._hung_up.set()
            self._close()

    def send_text(self, text: str | bytes, pause: float = 0.0) -> None:
        """Send one byte at a time. :param pause: seconds between bytes."""
        data = text.encode() if isinstance(text, str) else text
        for position in range(len(data)):
            self.send_bytes(data[position : position + 1])
            if pause:
                time.sleep(pause)

    def send_bytes(self, data: bytes) -> None:
        """Send all bytes, as fast as the host reads them."""
        while data:
            self._check_line()
            data = data[os.write(self._descriptor, data) :]

    def receive_key(self, timeout: float = RECEIVE_TIMEOUT) -> str | None:
        """Return the next byte as a character, None if no byte arrives in time. :param timeout: seconds."""
        deadline = time.monotonic() + timeout
        while True:
            self._check_line()
            left = deadline - time.monotonic()
            # In small steps: select does not notice that another thread has hung up.
            if select.select([self._descriptor], [], [], min(max(left, 0), 0.02))[0]:
                return os.read(self._descriptor, 1).decode("latin-1")
            if left <= 0:
                return None

    def _check_line(self) -> None:
        if self._hung_up.is_set():
            raise LineHungUp

    def receive_line(self, until: str, echo: bool = True) -> str:
        """Receive up to and including a character, and echo it as a terminal does, with a newline for a return."""
        text = ""
        while not text.endswith(until):
            character = self.receive_key()
            if character is None:
                raise AssertionError(f"no key within {RECEIVE_TIMEOUT:g} s; expected {until!r} after {text!r}")
            text += character
            if echo:
                self.send_text("\r\n" if character == "\r" else character)
        return text


@contextmanager
def on_pty() -> Iterator[Player]:
    """Open a serial line whose other end is a device of this host. Its path is not reused after its removal."""
    board, host = pty.openpty()
    tty.setraw(host)
    with TemporaryDirectory() as folder:
        name = Path(folder) / "tty"
        name.symlink_to(os.ttyname(host))

        def close() -> None:
            name.unlink()
            os.close(board)
            os.close(host)

        player = Player(board, str(name), close)
        try:
            yield player
        finally:
            player.hang_up()


class ConsoleServer:
    """Console server with one port."""

    def __init__(self, server: socket.socket) -> None:
        """Take over a listening socket."""
        self.url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        self.players: list[Player] = []
        self._server = server

    def accept(self) -> Player:
        """Wait for a client; return the board end of its connection."""
        connection, _ = self._server.accept()
        self.players.append(Player(connection.fileno(), self.url, connection.close))
        return self.players[-1]

    def close(self) -> None:
        """Stop accepting clients."""
        self._server.close()


@contextmanager
def on_tcp() -> Iterator[ConsoleServer]:
    """Run a console server within the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(RECEIVE_TIMEOUT)
        console_server = ConsoleServer(server)
        try:
            yield console_server
        finally:
            for player in console_server.players:
                player.hang_up()


class UBootPlayer(threading.Thread):
    """Board from power-on: U-Boot, then the kernel that `booti` starts."""

    PROMPT = "=> "

    def __init__(
        self,
        line: Player,
        *,
        commands: Mapping[str, tuple[str, int]] | None = None,
        linux: Callable[[Player], None] | None = None,
        countdown: float = 1.0,
        autoboot: str = "",
        deaf: float = 0.0,
        stages: Sequence[str] = ("Hit any key to stop autoboot:  2 ",),
        stop: str = "",
        prompt: str = PROMPT,
    ) -> None:
        """Prepare the board; `start` powers it on.

        :param commands: start of a command -> its output and exit status. Other commands print nothing and succeed.
        :param countdown: seconds that the autoboot countdown accepts a key; 0: it accepts none.
        :param linux: plays the kernel that `booti` starts; if None, `booti` returns as for an invalid image.
        :param autoboot: output after a countdown that was not stopped.
        :param deaf: seconds from the text of the countdown until keys are read; earlier ones are lost (F23).
        :param stages: texts of the countdowns, each of which a key must stop: firmware of vendors has two.
        :param stop: string that stops a countdown (CONFIG_AUTOBOOT_STOP_STR); empty: any key.
        :param prompt: of U-Boot, as it is printed.
        """
        super().__init__(daemon=True)
        self.ran: list[str] = []
        """The commands that were run, without the queries for their status."""
        self.failure: Exception | None = None
        self._line = line
        self._commands = {
            "version": ("U-Boot 2023.01+dfsg-2\r\n\r\naarch64-linux-gnu-gcc 12.2.0\r\n", 0),
            **(commands or {}),
        }
        self._linux = linux
        self._countdown = countdown
        self._autoboot = autoboot
        self._deaf, self._stages, self._stop_string, self._prompt = deaf, stages, stop, prompt
        self._status = 0

    def run(self) -> None:
        """Play until the line is hung up."""
        try:
            self._line.send_text(BANNER)
            if all(self._count_down(text) for text in self._stages):
                self._line.send_text(self._prompt)
                while self._run_line():
                    self._line.send_text(self._prompt)
            else:
                self._line.send_text(self._autoboot)
        except (LineHungUp, OSError):
            return
        except Exception as error:  # noqa: BLE001 - tests assert that there is none
            self.failure = error

    def _count_down(self, text: str) -> bool:
        """Run an autoboot countdown. Return whether it was interrupted: passwd_abort_key compares the last keys."""
        self._line.send_text(text)
        self._lose_keys(self._deaf)
        keys, deadline = "", time.monotonic() + self._countdown
        while not (keys and keys.endswith(self._stop_string)):
            left = deadline - time.monotonic()
            key = self._line.receive_key(left) if left > 0 else None
            if key is None:
                break
            keys += key
        self._line.send_text("\b\b\b 0 \r\n")
        return bool(keys) and keys.endswith(self._stop_string)

    def _lose_keys(self, duration: float) -> None:
        deadline = time.monotonic() + duration
        while (left := deadline - time.monotonic()) > 0:
            self._line.receive_key(left)

    def _run_line(self) -> bool:
        """Read a line and run its commands. Return False if one of them started the kernel."""
        line = self._receive_command()
        for command in (part.strip() for part in line.split(";")):
            if command == "echo status=$?":
                self._line.send_text(f"status={self._status}\r\n")
            elif command.startswith("booti") and self._linux:
                self.ran.append(command)
                self._linux(self._line)
                return False
            else:
                self.ran.append(command)
                output, self._status = self._run_command(command)
                self._line.send_text(output)
        return True

    def _receive_command(self) -> str:
        """Read a line as common/cli_readline.c does: Ctrl-C discards it."""
        line = ""
        while (key := self._line.receive_key(3600)) != "\r":
            line = "" if key == "\x03" else f"{line}{key}"
            self._line.send_text(f"<INTERRUPT>\r\n{self._prompt}" if key == "\x03" else str(key))
        self._line.send_text("\r\n")
        return line

    def _run_command(self, command: str) -> tuple[str, int]:
        for beginning, result in self._commands.items():
            if command.startswith(beginning):
                return result
        return "", 0


def play_linux(line: Player) -> None:
    """Print the log of the virtual board up to the login; then play a shell that only echoes."""
    line.send_bytes(LINUX.encode())
    line.receive_line("\r")
    line.send_text("\r\nBusyBox v1.35.0 (Debian 1:1.35.0-4+deb12u1+b1) built-in shell (ash)\r\n\r\n/root # ")
