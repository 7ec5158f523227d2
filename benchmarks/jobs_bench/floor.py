"""How fast this machine multiplies a row's matrices: `python -m jobs_bench.floor ROW TRAIN_ROWS TEST_ROWS TYPES`.

The floor of an epoch is what its matrix products alone take, each as fast as it goes here: forwards, for the gradient
of the weights, and for that of the inputs. A convolution counts as the product of its patches and its kernels, which
are narrow: a direct convolution may beat that. The other floor is the same work at the rate of a large square product,
which nothing beats. Prints one line of JSON: by type the seconds of both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import cache

import tensorflow as tf
from jobs_bench.rows import ROWS, Row

SQUARE = 2048
TIMINGS, TIMING_S = 5, 0.03


def best(call: Callable[[], object]) -> float:
    """The least mean of some timings, in seconds a call."""
    call()
    began = time.perf_counter()
    call()
    calls = max(1, int(TIMING_S / max(time.perf_counter() - began, 1e-6)))
    found = []
    for _ in range(TIMINGS):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - began) / calls)
    return min(found)


@cache
def product_s(rows: int, inner: int, columns: int, floatx: str, turned: str = "") -> float:
    """Of (rows, inner) by (inner, columns); the left or the right one may lie turned, as in a gradient."""
    left, right = turned == "left", turned == "right"
    a = tf.cast(tf.random.normal((inner, rows) if left else (rows, inner)), floatx)
    b = tf.cast(tf.random.normal((columns, inner) if right else (inner, columns)), floatx)
    return best(lambda: tf.raw_ops.MatMul(a=a, b=b, transpose_a=left, transpose_b=right))


def epoch_s(row: Row, train_rows: int, test_rows: int, floatx: str) -> float:
    """The products of an epoch, one after the other."""
    step_s = evaluation_s = 0.0
    judged = min(test_rows, 1000)
    for layer, product in enumerate(row.products):
        rows, inner, columns = row.batch_size * product.rows, product.inner, product.columns
        step_s += product_s(rows, inner, columns, floatx)
        step_s += product_s(inner, rows, columns, floatx, "left")
        if layer:
            step_s += product_s(rows, columns, inner, floatx, "right")
        evaluation_s += product_s(judged * product.rows, inner, columns, floatx) * test_rows / judged
    return row.steps(train_rows) * step_s + row.evaluations(train_rows) * evaluation_s


def main(name: str, train_rows: str, test_rows: str, types: str) -> None:
    row, sizes = ROWS[name], (int(train_rows), int(test_rows))
    found = {}
    for floatx in types.split(","):
        square_s = product_s(SQUARE, SQUARE, SQUARE, floatx) * row.flops(*sizes) / (2 * SQUARE**3)
        found[floatx] = {"own_s": epoch_s(row, *sizes, floatx), "square_s": square_s}
    print(json.dumps({"flops": row.flops(*sizes), "floors": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
