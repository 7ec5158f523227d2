"""What goes out on a channel: as much at once as the far side's window takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from launcher.sync.ssh.lean import paramiko
from launcher.sync.ssh.packets import Burst

if TYPE_CHECKING:
    from launcher.sync.ssh.transport import Transport

BURST_PACKETS = 9
"""Sent under one lock: 256 KiB and a little, cheap, and short enough for other channels to come between."""
PLAIN_BYTES = 1 << 15
BURSTS = hasattr(paramiko.Transport, "_send_user_message")
"""Whether paramiko is as we know it; `Channel.send` does the work otherwise."""
PACKET_SPARE_BYTES = 64
"""As paramiko has it: some servers count a packet's header as data."""


class Outbox:
    """In the place of `Channel.send`, which sends one packet at a time."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._widest_bytes = 0
        """The far side's window at its widest, as far as was seen."""

    def send(self, data: memoryview) -> int:
        """Send a part of `data` and give its size; 0 where the channel has ended.

        Raises `TimeoutError` where the far side takes nothing in the channel's time, and as `Channel.send` does.
        """
        channel = self._channel
        if not BURSTS:
            return channel.send(bytes(data[:PLAIN_BYTES]))
        with channel.lock:
            if not self._await_window(len(data)):
                return 0
            packet_bytes = channel.out_max_packet_size - PACKET_SPARE_BYTES
            size = min(len(data), channel.out_window_size, BURST_PACKETS * packet_bytes)
            if packet_bytes < size < len(data):
                size -= size % packet_bytes
            channel.out_window_size -= size
        pieces = [data[start : min(start + packet_bytes, size)] for start in range(0, size, packet_bytes)]
        # Not under the channel's lock: this waits while keys are negotiated.
        self._post(Burst(channel, pieces))
        return size

    def end(self) -> None:
        """Send the end of the data; raises as `Channel.shutdown_write` does."""
        if BURSTS:
            self._post(Burst(self._channel, (), last=True))
        else:
            self._channel.shutdown_write()

    def _await_window(self, wanted_bytes: int) -> bool:
        """Wait, under the channel's lock, for the window to take a packet's worth; `False` at the channel's end.

        A window opens in steps: to fill whatever is open at once makes many small packets.
        """
        channel = self._channel
        deadline = time.monotonic() + (channel.timeout or 0.0)
        while not (channel.closed or channel.eof_sent):
            self._widest_bytes = max(self._widest_bytes, channel.out_window_size)
            enough = min(wanted_bytes, channel.out_max_packet_size - PACKET_SPARE_BYTES, self._widest_bytes // 2)
            if channel.out_window_size >= max(1, enough):
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                if channel.out_window_size > 0:
                    return True
                raise TimeoutError
            channel.out_buffer_cv.wait(left_s)
        return False

    def _post(self, burst: Burst) -> None:
        transport = self._channel.transport
        if transport is not None:
            cast("Transport", transport).post(burst)
