"""PyTorch: one step after the other, as PyTorch does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from keras import ops
from numpy.typing import NDArray

from jobs.network import Parts, Rows


@dataclass(frozen=True, slots=True)
class Functions:
    """See `jobs.network.Functions`."""

    parts: Parts

    def put(self, array: NDArray[Any]) -> Any:
        """On the device that Keras computes on."""
        return ops.convert_to_tensor(array)

    def advance(self, rows: Rows, order: Any, first: int, last: int, rates: Any, momenta: Any) -> None:
        """Train on these batches."""
        parts, size = self.parts, self.parts.batch_size
        for batch in range(first, last):
            chosen = order[batch * size : (batch + 1) * size]
            _, slopes = self._slopes(Rows(*(part[chosen] for part in rows if part is not None)))
            parts.optimizer.learning_rate.assign(rates[batch])
            if parts.momentum is not None:
                parts.momentum.assign(momenta[batch])
            with torch.no_grad():
                parts.optimizer.apply(slopes, parts.model.trainable_variables)

    def judge(self, x: Any, y: Any) -> NDArray[Any]:
        """The sums over these rows."""
        with torch.inference_mode():
            return np.asarray(self.parts.judge(x, y).cpu())

    def answer(self, x: Any) -> NDArray[Any]:
        """The outputs for these rows."""
        with torch.inference_mode():
            return np.asarray(self.parts.answer(x).float().cpu())

    def gradients(self, rows: Rows) -> Sequence[NDArray[Any]]:
        """Of the cost of these rows."""
        return self.cost_and_gradients(rows)[1]

    def cost_and_gradients(self, rows: Rows) -> tuple[float, Sequence[NDArray[Any]]]:
        """What they cost, and the same."""
        cost, slopes = self._slopes(rows)
        return float(cost.detach()), [np.array(slope.cpu()) for slope in slopes]

    def wait(self) -> None:
        """Until the device is idle."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def _slopes(self, rows: Rows) -> tuple[Any, list[Any]]:
        """The cost, and its gradient by each variable; a new one each time, since they are not added up."""
        values = [variable.value for variable in self.parts.model.trainable_variables]
        cost = self.parts.cost(rows)
        return cost, list(torch.autograd.grad(cost, values))


def compiled(parts: Parts) -> Functions:
    """The functions for these parts; nothing is compiled."""
    return Functions(parts)
