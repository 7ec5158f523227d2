"""What a Boltzmann machine of 6 x 4 units does on the backend of KERAS_BACKEND, run as the training loop runs it.

    python machines.py GIVEN.npz RESULT.npz

GIVEN has the machine (kernel, visible_bias, hidden_bias), `states` (64, 6), `rows` (rows, 6) and
`repeats`, how many copies of each row the means are over.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np

from jobs import runtime
from jobs.config import resolve

CHAINS, BURN_IN = 3000, 50
NAMES = ("kernel", "visible_bias", "hidden_bias")


def settings(**options):
    given = {
        "options": options,
        "data": "digits",
        "backend": os.environ["KERAS_BACKEND"],
        "optimizer": "sgd",
        "l2": 0.0,
    }
    return replace(resolve("rbm", given, None), input_shape=(6,))


def network_of(given, batch_size=10, **options):
    from jobs import network
    from jobs.models import rbm

    config = replace(settings(hidden_units=4, **options), batch_size=batch_size)
    built = network.build(config, rbm.build(config), rbm.OBJECTIVE, 1.0)
    machine = built.model.get_layer("rbm")
    for name in NAMES:
        getattr(machine, name).assign(given[name])
    return built, machine


def numbers(tensor):
    import keras

    return np.array(keras.ops.convert_to_numpy(tensor))


def deterministic(given, found):
    from jobs.objectives import contrastive_divergence

    built, machine = network_of(given)
    states, rows = (built.functions.put(given[name]) for name in ("states", "rows"))
    found["free_energy"] = numbers(machine.free_energy(states, machine.to_hidden(states)))
    found["judged"] = numbers(contrastive_divergence.judge(built.model, rows, None)[0])
    before = numbers(machine.seed_generator.state)
    labels = np.zeros(len(given["rows"]), np.int64)
    verdicts = [built.evaluate(built.rows(given["rows"], labels)) for _ in range(2)]
    found["verdicts"] = np.array(verdicts)
    found["seed_moved_by_judging"] = numbers(machine.seed_generator.state) - before


def interrupted(given, found):
    """Judged chunk by chunk, to the end and not."""
    from jobs import network

    network.EVALUATE_NUMBERS = 1  # so that as few rows as can be are judged at once: 64
    built, _ = network_of(given)
    rows = np.tile(given["rows"], (200 // len(given["rows"]) + 1, 1))
    many = built.rows(rows, np.zeros(len(rows), np.int64))
    found["in_chunks"] = np.array([built.evaluate(many), built.evaluate_unless(many, lambda: False)])
    looks = iter([False, False, True])
    found["stopped"] = built.evaluate_unless(many, lambda: next(looks)) is None and not [*looks]


def walks(given, found):
    """What one and two steps make of many copies of each row."""
    for k in (1, 2):
        built, machine = network_of(given, k=k)
        rows = built.functions.put(np.repeat(given["rows"], int(given["repeats"]), axis=0))
        found[f"made_up_{k}"] = numbers(machine.walk(machine.to_hidden(rows))[0])


def gradients(given, found, k, repeats):
    """Of some copies of each row, with the draws that led to it."""
    built, machine = network_of(given, k=k)
    rows = np.repeat(given["rows"], repeats, axis=0)
    start = numbers(machine.seed_generator.state)
    found[f"led_to_{k}"] = numbers(machine.walk(machine.to_hidden(built.functions.put(rows)))[0])
    machine.seed_generator.state.assign(start)
    slopes = built.functions.gradients(built.rows(rows, np.zeros(len(rows), np.int64)))
    for variable, slope in zip(built.model.trainable_variables, slopes, strict=True):
        found[f"slope_{k}/{variable.name}"] = slope


def advance(built, first, last, rate=0.0):
    """Train on the batches first .. last - 1, all of them of rows of ones."""
    rows = built.rows(np.ones((10, 6), np.float32), np.zeros(10, np.int64))
    order = np.tile(np.arange(10, dtype=np.int32), BURN_IN)  # always as long: what is compiled, is compiled once
    rates = np.full(BURN_IN, rate, np.float32)
    put = built.functions.put
    built.functions.advance(rows, put(order), first, last, put(rates), put(rates))
    built.functions.wait()


def persistent(given, found):
    built, machine = network_of(given, persistent_chains=CHAINS)
    advance(built, 0, BURN_IN)
    found["chain"] = numbers(machine.chain)
    advance(built, 0, 1)
    found["chain_next"] = numbers(machine.chain)
    found["frozen_kernel"] = numbers(machine.kernel)
    start = numbers(machine.seed_generator.state)
    made_up, _ = machine.walk(machine.to_hidden(built.functions.put(found["chain_next"])))
    machine.seed_generator.state.assign(start)
    advance(built, 0, 1, rate=1.0)
    found["chain_moved"] = numbers(machine.chain) - numbers(made_up)
    found["pcd_made_up"] = numbers(made_up)
    found["pcd_step"] = found["frozen_kernel"] - numbers(machine.kernel)


def copying(given, found):
    """Each hidden unit copies a visible one and is copied by it: what is not drawn from the chain would be seen."""
    copier = {name: np.zeros_like(given[name]) for name in NAMES}
    copier["kernel"] = np.eye(6, 4, dtype=np.float32) * 60
    copier["hidden_bias"], copier["visible_bias"] = np.full(4, -30, np.float32), np.full(6, -30, np.float32)
    built, machine = network_of(copier, persistent_chains=16)
    found["pattern"] = np.array([[n >> bit & 1 if bit < 4 else 0 for bit in range(6)] for n in range(16)], np.float32)
    machine.chain.assign(found["pattern"])
    for batch in range(3):
        advance(built, batch, batch + 1)
    found["pattern_after"] = numbers(machine.chain)


def resumed(given, found):
    """Two batches one after the other; and the second in a fresh network that was given all variables."""
    from jobs import network

    whole, _ = network_of(given, persistent_chains=5)
    advance(whole, 0, 1, rate=0.1)
    kept = network.variables(whole)
    advance(whole, 1, 2, rate=0.1)
    fresh, _ = network_of(given, persistent_chains=5)
    network.restore(fresh, kept)
    advance(fresh, 1, 2, rate=0.1)
    ended, again = network.variables(whole), network.variables(fresh)
    found["moved"] = np.array([name for name, array in ended.items() if not np.array_equal(array, kept[name])])
    found["names"] = np.array(sorted(kept))
    found["not_resumed"] = np.array([name for name, array in ended.items() if not np.array_equal(array, again[name])])


def main() -> None:
    given, found = dict(np.load(sys.argv[1])), {}
    runtime.start(settings())
    deterministic(given, found)
    interrupted(given, found)
    walks(given, found)
    gradients(given, found, 1, int(given["repeats"]))
    gradients(given, found, 2, 10)
    persistent(given, found)
    copying(given, found)
    resumed(given, found)
    np.savez(sys.argv[2], **found)


main()
