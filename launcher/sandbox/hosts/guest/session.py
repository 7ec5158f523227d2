"""One command or shell of the pure-Python SSH server: a process of its own, its bytes handed through exactly."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from typing import Any

import asyncssh

CHUNK_BYTES = 1 << 17
ACCEPTED = ("LANG", "LC_")


class Session:
    """A process for one SSH session; it lives in a session of its own (setsid(2)), as under sshd."""

    def __init__(self, process: asyncssh.SSHServerProcess[bytes], environment: dict[str, str], home: str) -> None:
        self._process = process
        self._home = home
        self._environment = environment
        self._child: asyncio.subprocess.Process | None = None
        self._terminal = -1

    async def run(self) -> None:
        """Start the command, pump until it ended and its output is out, hand its status through."""
        try:
            if self._process.term_type:
                await self._run_on_terminal()
            else:
                await self._run_on_pipes()
        except (OSError, asyncssh.Error) as error:
            self._complain(error)
        finally:
            if self._terminal >= 0:
                os.close(self._terminal)

    def _complain(self, error: Exception) -> None:
        with contextlib.suppress(OSError):
            self._process.stderr.write(f"{error}\n".encode())
            self._process.exit(255)

    async def _run_on_pipes(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._child = await self._start(stdin=pipe, stdout=pipe, stderr=pipe, limit=CHUNK_BYTES)
        feeding = asyncio.ensure_future(self._feed_pipe())
        await asyncio.gather(
            self._drain(self._child.stdout, self._process.stdout),
            self._drain(self._child.stderr, self._process.stderr),
        )
        await self._finish(feeding)

    async def _run_on_terminal(self) -> None:
        self._terminal, inner = os.openpty()
        self._resize(*self._process.term_size)
        try:
            self._child = await self._start(
                stdin=inner, stdout=inner, stderr=inner, preexec_fn=_take_terminal, TERM=self._process.term_type or ""
            )
        finally:
            os.close(inner)
        os.set_blocking(self._terminal, False)
        feeding = asyncio.ensure_future(self._feed_terminal())
        await self._drain_terminal()
        await self._finish(feeding)

    async def _start(self, **options: Any) -> asyncio.subprocess.Process:
        shell = self._environment.get("SHELL", "/bin/bash")
        command = self._process.command
        argv = [shell, "-c", command] if command else [shell, "-l"]
        asked = {k: v for k, v in self._process.env.items() if k.startswith(ACCEPTED)}
        extra = {"TERM": options.pop("TERM")} if "TERM" in options else {}
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=self._home,
            env={**asked, **self._environment, **extra, **self._facts()},
            start_new_session=True,
            **options,
        )

    def _facts(self) -> dict[str, str]:
        peer, own = self._process.get_extra_info("peername"), self._process.get_extra_info("sockname")
        line = f"{peer[0]} {peer[1]} {own[0]} {own[1]}" if peer and own else ""
        shell = self._environment.get("SHELL", "/bin/bash")
        return {"USER": "ubuntu", "LOGNAME": "ubuntu", "HOME": self._home, "SHELL": shell, "SSH_CONNECTION": line}

    async def _finish(self, feeding: asyncio.Future[None]) -> None:
        assert self._child is not None
        status = await self._child.wait()
        feeding.cancel()
        with contextlib.suppress(OSError):
            if status >= 0:
                self._process.exit(status)
            else:
                self._process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))

    async def _drain(self, source: asyncio.StreamReader | None, target: asyncssh.SSHWriter[bytes]) -> None:
        assert source is not None
        while data := await source.read(CHUNK_BYTES):
            try:
                target.write(data)
                await target.drain()
            except OSError:
                # The caller hung up: the pipe closes, and the command gets SIGPIPE as under sshd.
                if self._child and (transport := getattr(self._child, "_transport", None)):
                    for number in (1, 2):
                        transport.get_pipe_transport(number).close()
                return

    async def _feed_pipe(self) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            while data := await self._read():
                self._child.stdin.write(data)
                await self._child.stdin.drain()
        self._child.stdin.close()

    async def _feed_terminal(self) -> None:
        while data := await self._read():
            await self._write_terminal(data)
        if self._process.channel.get_connection() is None or self._process.is_closing():
            self._signal(signal.SIGHUP)
        else:
            await self._write_terminal(b"\x04")

    async def _write_terminal(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._terminal, data) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)
            except OSError:
                return

    async def _drain_terminal(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._terminal, lambda: ready.done() or ready.set_result(None))
            await ready
            loop.remove_reader(self._terminal)
            try:
                data = os.read(self._terminal, CHUNK_BYTES)
            except OSError:
                # EIO: the last process on the terminal closed it (tty_ioctl(4)).
                return
            if not data:
                return
            with contextlib.suppress(OSError):
                self._process.stdout.write(data)
                await self._process.stdout.drain()

    async def _read(self) -> bytes:
        """The next of the caller's bytes; empty at the end. Signals and window sizes are obeyed on the way."""
        while True:
            try:
                return await self._process.stdin.read(CHUNK_BYTES)
            except asyncssh.TerminalSizeChanged as change:
                self._resize(change.width, change.height, change.pixwidth, change.pixheight)
            except asyncssh.SignalReceived as received:
                self._signal(signal.Signals[f"SIG{received.signal}"])
            except asyncssh.BreakReceived:
                self._signal(signal.SIGINT)
            except asyncssh.SoftEOFReceived:
                return b""

    def _signal(self, number: signal.Signals) -> None:
        if self._child and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def _resize(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._terminal >= 0:
            size = struct.pack("HHHH", height, width, pixwidth, pixheight)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)


def _take_terminal() -> None:
    """In the child, a session leader already: make standard input its controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
