"""How fast `python -m jobs train` is beside Keras's `fit` and PyTorch, and how well each model learns.

    .venv/bin/python benchmarks/training.py [--rows lenet,cnn] [--repeats 3] [--quick]       speed, side by side
    .venv/bin/python benchmarks/training.py --accuracy [--rows mlp] [--seeds 3] [--quick]    test errors over seeds
    .venv/bin/python benchmarks/training.py --report [--write]                               the tables of the above

Every measurement is a JSON line in the file of --results, and the tables are made of them: for each row those of the
last run that had it. --go-on takes the last run up again, with what it lacks; --accuracy, which takes an hour, always
does so, unless --afresh. MNIST must lie in --mnist as four IDX files. PyTorch is measured where .venv-torch is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from jobs_bench import accuracy, children, data, speed, speed_report
from jobs_bench.rows import ROWS
from jobs_bench.store import Store, load
from report.names import names
from report.section import write_section
from report.stopping import stoppable

HERE = Path(__file__).parent
RESULTS = HERE.parent / "build" / "jobs.jsonl"
MNIST = HERE.parent.parent / "shared" / "data" / "mnist"
QUICK_ROWS, QUICK_EPOCHS = 2400, 2


def main() -> None:
    asked = arguments()
    if not asked.report:
        if not data.is_mnist(asked.mnist):
            print(f"{asked.mnist} does not hold MNIST's four files: nothing is measured", file=sys.stderr)
            return
        with stoppable("--go-on takes it up again"):
            run(asked)
    seen = load(asked.results)
    sections = {}
    if asked.report or not asked.accuracy:
        sections["jobs-speed"] = speed_report.report(seen)
    if asked.report or asked.accuracy:
        sections["jobs-accuracy"] = accuracy.report(seen)
    print("\n".join(filter(None, sections.values())) or "nothing is measured yet")
    for name, text in sections.items():
        if asked.write and text:
            write_section(name, "benchmarks/training.py", text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accuracy", action="store_true", help="test errors over seeds, instead of the speed")
    every = dict.fromkeys([*ROWS, *accuracy.RECIPES])
    parser.add_argument("--rows", type=names(every), help=f"{','.join(ROWS)}; or {','.join(accuracy.RECIPES)}")
    parser.add_argument("--variants", type=names(speed.VARIANTS), help=",".join(speed.VARIANTS))
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the speed")
    parser.add_argument("--epochs", type=int, help="of the speed's trainings, instead of each row's number")
    parser.add_argument("--seeds", type=int, default=3, help="of the accuracy")
    parser.add_argument("--quick", action="store_true", help="few rows and epochs, one round or seed: does it work?")
    parser.add_argument("--mnist", type=Path, default=MNIST, help="the folder of MNIST's IDX files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of JSON lines")
    parser.add_argument("--go-on", action="store_true", help="the last run of that file, what it lacks")
    parser.add_argument("--afresh", action="store_true", help="all of the accuracy again")
    parser.add_argument("--report", action="store_true", help="only the tables of what is measured")
    parser.add_argument("--write", action="store_true", help="put the tables into RESULTS.md")
    asked = parser.parse_args()
    table = accuracy.RECIPES if asked.accuracy else ROWS
    asked.rows = asked.rows or list(table)
    if unknown := [row for row in asked.rows if row not in table]:
        parser.error(f"{', '.join(unknown)}: {'no row' if asked.accuracy else 'a row only'} of --accuracy")
    if (asked.epochs or QUICK_EPOCHS) < QUICK_EPOCHS:
        parser.error("--epochs: at least 2, since the first one is not counted")
    return asked


def run(asked: argparse.Namespace) -> None:
    store = Store(asked.results, go_on=asked.go_on or (asked.accuracy and not asked.afresh))
    with tempfile.TemporaryDirectory(prefix="jobs-bench-") as scratch:
        measure = measure_accuracy if asked.accuracy else measure_speed
        measure(asked, Path(scratch), store)


def measure_speed(asked: argparse.Namespace, scratch: Path, store: Store) -> None:
    variants = [name for name in speed.possible() if name in (asked.variants or speed.VARIANTS)]
    for name in asked.rows:
        row = ROWS[name]
        split = data.make(
            asked.mnist.resolve(), scratch, deck_split=row.deck_split, most_rows=QUICK_ROWS if asked.quick else None
        )
        work = speed.Work(
            row=row,
            split=split,
            epochs=asked.epochs or (QUICK_EPOCHS if asked.quick else row.epochs),
            folder=scratch / "output",
            env=children.environment(scratch / "cache"),
        )
        speed.measure(work, variants, 1 if asked.quick else asked.repeats, store)


def measure_accuracy(asked: argparse.Namespace, scratch: Path, store: Store) -> None:
    recipes = [accuracy.RECIPES[name] for name in accuracy.possible(asked.rows)]
    extra = ("--epochs", "1") if asked.quick else ()
    seeds = 1 if asked.quick else asked.seeds
    accuracy.measure(recipes, seeds, asked.mnist.resolve(), scratch, extra, store)


if __name__ == "__main__":
    main()
