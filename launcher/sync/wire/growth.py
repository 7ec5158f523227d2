"""How many lanes a transfer takes: one more while each brings something."""

from __future__ import annotations

import time

from launcher.sync.wire.lines import NEAR_RTT_S

MOST_LANES = 8
"""sshd drops handshakes at random beyond ten at once (sshd_config(5), MaxStartups)."""
LANE_WINDOW_BYTES = 2 << 20
"""Unanswered bytes of a lane: sshd's own window for a channel, so that more would only wait in buffers."""
NEAR_WINDOW_BYTES = 2 << 20
LOOK_AGAIN_S = 0.4
"""How long a new lane is given before its gain is judged."""
GAIN = 1.08


class Growth:
    """A path with loss or a long way fills only with several connections."""

    def __init__(self) -> None:
        self.rtt_s = 0.0
        self.settled = False
        """Whether no more are tried."""
        self._since = time.monotonic()
        self._carried_bytes = 0
        self._best_rate = 0.0

    @property
    def far(self) -> bool:
        """Whether a second connection can bring what one cannot."""
        return self.rtt_s > NEAR_RTT_S

    @property
    def window_bytes(self) -> int:
        """How much one lane may have unanswered."""
        return LANE_WINDOW_BYTES if self.far else NEAR_WINDOW_BYTES

    def wants_more(self, carried_bytes: int, total_bytes: int, lanes: int) -> bool:
        """Whether one lane more should be tried now."""
        elapsed_s = time.monotonic() - self._since
        if self.settled or not self.far or lanes >= MOST_LANES or elapsed_s < LOOK_AGAIN_S + 4 * self.rtt_s:
            return False
        rate = (carried_bytes - self._carried_bytes) / elapsed_s
        self._since, self._carried_bytes = time.monotonic(), carried_bytes
        if rate < GAIN * self._best_rate:
            self.settled = True
            return False
        self._best_rate = rate
        # A handshake takes six round trips or so: what is over by then needs no further lane.
        return total_bytes - carried_bytes > rate * (8 * self.rtt_s + LOOK_AGAIN_S)
