"""Accepts the connections of every host's listeners on one thread, and hands each to a thread of its own."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable


class Switchboard:
    """Listeners and who answers them; a handler gets the connected socket and the peer's address."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._changes: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._running = True
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="sandbox-switchboard", daemon=True)
        self._thread.start()

    def answer(self, listener: socket.socket, handler: Callable[[socket.socket, str], None]) -> None:
        """Accept on `listener`, which must be listening, from now on."""
        listener.setblocking(False)

        def add() -> None:
            self._selector.register(listener, selectors.EVENT_READ, (listener, handler))

        self._change(add)

    def hang_up(self, listener: socket.socket) -> None:
        """Close `listener`; when this returns it is closed."""
        done = threading.Event()

        def remove() -> None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(listener)
            listener.close()
            done.set()

        self._change(remove)
        done.wait()

    def close(self) -> None:
        """Stop accepting anything."""
        self._running = False
        self._change(lambda: None)
        self._thread.join()
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _change(self, change: Callable[[], None]) -> None:
        with self._lock:
            self._changes.append(change)
        self._wake.send(b"\0")

    def _serve(self) -> None:
        while self._running:
            for key, _ in self._selector.select():
                if key.fileobj is not self._woken:
                    self._accept(key)
            self._apply_changes()

    def _apply_changes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        with self._lock:
            changes, self._changes = self._changes, []
        for change in changes:
            change()

    def _accept(self, key: selectors.SelectorKey) -> None:
        listener, handler = key.data
        try:
            line, peer = listener.accept()
        except OSError:
            # The peer hung up between the event and the call, or descriptors ran out: the next event tries again.
            return
        line.setblocking(True)
        threading.Thread(target=handler, args=(line, str(peer[0])), daemon=True).start()
