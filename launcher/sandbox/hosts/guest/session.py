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
END_OF_TRANSMISSION = b"\x04"


class Session:
    """A process for one SSH session; it lives in a session of its own (setsid(2)), as under sshd."""

    def __init__(self, process: asyncssh.SSHServerProcess[bytes], environment: dict[str, str], home: str) -> None:
        self._process = process
        self._home = home
        self._environment = {"SHELL": "/bin/bash", **environment}
        self._child: asyncio.subprocess.Process | None = None
        self._terminal = -1
        self._lost = False

    async def run(self) -> None:
        """Start the command, pump until it ended and its output is out, hand its status through."""
        try:
            if self._process.term_type:
                await self._run_on_terminal(self._process.term_type)
            else:
                await self._run_on_pipes()
        except (OSError, asyncssh.Error) as error:
            with contextlib.suppress(OSError):
                self._process.stderr.write(f"{error}\n".encode())
                self._process.exit(255)

    async def _run_on_pipes(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._child = child = await self._start({}, stdin=pipe, stdout=pipe, stderr=pipe, limit=CHUNK_BYTES)
        feeding = asyncio.ensure_future(self._feed_pipe(child.stdin))
        await asyncio.gather(
            self._drain(child.stdout, self._process.stdout),
            self._drain(child.stderr, self._process.stderr),
        )
        await self._finish(child, feeding)

    async def _run_on_terminal(self, kind: str) -> None:
        self._terminal, inner = os.openpty()
        self._resize(*self._process.term_size)
        try:
            self._child = child = await self._start(
                {"TERM": kind}, stdin=inner, stdout=inner, stderr=inner, preexec_fn=_take_terminal
            )
        finally:
            os.close(inner)
        reader = asyncio.StreamReader(CHUNK_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._terminal, "rb", buffering=0)
        )
        feeding = asyncio.ensure_future(self._feed_terminal(transport))
        # The last process on the terminal closing it reads as EIO (tty_ioctl(4)).
        with contextlib.suppress(OSError):
            await self._drain(reader, self._process.stdout)
        await self._finish(child, feeding)
        transport.close()

    async def _start(self, extra: dict[str, str], **options: Any) -> asyncio.subprocess.Process:
        shell, command = self._environment["SHELL"], self._process.command
        argv = [shell, "-c", command] if command else [shell, "-l"]
        asked = {name: value for name, value in self._process.env.items() if name.startswith(ACCEPTED)}
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
        return {"USER": "ubuntu", "LOGNAME": "ubuntu", "HOME": self._home, "SSH_CONNECTION": line}

    async def _finish(self, child: asyncio.subprocess.Process, feeding: asyncio.Future[None]) -> None:
        status = await child.wait()
        feeding.cancel()
        with contextlib.suppress(OSError):
            if status >= 0:
                self._process.exit(status)
            else:
                self._process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))

    async def _drain(self, source: asyncio.StreamReader | None, target: asyncssh.SSHWriter[bytes]) -> None:
        while source and (data := await source.read(CHUNK_BYTES)):
            # Once the caller hung up the output goes nowhere, but the command must not stand still on a full pipe.
            with contextlib.suppress(OSError):
                target.write(data)
                await target.drain()

    async def _feed_pipe(self, target: asyncio.StreamWriter | None) -> None:
        if target is None:
            return
        with contextlib.suppress(OSError):
            while data := await self._read():
                target.write(data)
                await target.drain()
        target.close()

    async def _feed_terminal(self, transport: asyncio.ReadTransport) -> None:
        while data := await self._read():
            await self._type(data)
        if self._lost or self._process.is_closing():
            self._signal(signal.SIGHUP)
            transport.close()
        else:
            await self._type(END_OF_TRANSMISSION)

    async def _type(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._terminal, data) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)
            except OSError:
                return

    async def _read(self) -> bytes:
        """The next of the caller's bytes; empty at the end. Signals and window sizes are obeyed on the way."""
        while True:
            try:
                return await self._process.stdin.read(CHUNK_BYTES)
            except asyncssh.TerminalSizeChanged as change:
                self._resize(change.width, change.height, change.pixwidth, change.pixheight)
            except asyncssh.SignalReceived as received:
                self._signal(getattr(signal, f"SIG{received.signal}", signal.SIGTERM))
            except asyncssh.BreakReceived:
                self._signal(signal.SIGINT)
            except (asyncssh.Error, OSError):
                self._lost = True
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
