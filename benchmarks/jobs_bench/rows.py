"""The rows of the speed table: what is trained, by whom, and the goals. Read by every variant: nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT32, BFLOAT16 = "float32", "bfloat16"
FIT = "fit float32"


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product of one layer: for each example (rows, inner) by (inner, columns); a convolution as one, too."""

    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> int:
        """Of one example, forwards."""
        return 2 * self.rows * self.inner * self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload; every variant trains the same network in the same way."""

    name: str
    title: str
    batch_size: int
    learning_rate: float
    optimizer: str  # sgd or adam
    options: tuple[str, ...] = ()  # ours: what the model would do otherwise
    evaluate_every: int = 0  # batches; 0: once an epoch
    deck_split: bool = False  # 41,000 rows and 1,000 held out, drawn from MNIST, instead of 60,000 and 10,000
    epochs: int
    products: tuple[Product, ...]  # layer by layer
    goal: float  # times as fast as `fit`, with bfloat16 where that helps
    float32_goal: float | None = None  # in float32 alone

    def steps(self, train_rows: int) -> int:
        """Whole batches in an epoch."""
        return train_rows // self.batch_size

    def evaluations(self, train_rows: int) -> int:
        """How often the test rows are judged in an epoch: after batches 0, 10, 20 .., or at its end."""
        return -(-self.steps(train_rows) // self.evaluate_every) if self.evaluate_every else 1

    def flops(self, train_rows: int, test_rows: int) -> int:
        """Of an epoch's matrix products; nothing needs the gradient of the pixels."""
        forwards = sum(product.flops for product in self.products)
        a_step = (3 * forwards - self.products[0].flops) * self.batch_size
        return self.steps(train_rows) * a_step + self.evaluations(train_rows) * test_rows * forwards


ROWS = {
    row.name: row
    for row in (
        Row(
            name="deck-mlp",
            title="deck MLP 784-300-10, judged every 10 batches",
            batch_size=500,
            learning_rate=0.0004,
            optimizer="sgd",
            options=("--print-every", "10", "--reduction", "sum", "--l2", "0.01", "--penalised", "all"),
            evaluate_every=10,
            deck_split=True,
            epochs=12,
            products=(Product(1, 784, 300), Product(1, 300, 10)),
            goal=5,
        ),
        Row(
            name="logistic",
            title="logistic regression, batches of 600",
            batch_size=600,
            learning_rate=0.13,
            optimizer="sgd",
            epochs=20,
            products=(Product(1, 784, 10),),
            goal=5,
        ),
        Row(
            name="keras-mlp",
            title="MLP 784-512-512-10 with dropout, batches of 128",
            batch_size=128,
            learning_rate=0.001,
            optimizer="adam",
            epochs=5,
            products=(Product(1, 784, 512), Product(1, 512, 512), Product(1, 512, 10)),
            goal=2.3,
        ),
        Row(
            name="lenet",
            title="LeNet 20/50, batches of 500",
            batch_size=500,
            learning_rate=0.1,
            optimizer="sgd",
            epochs=4,
            products=(Product(576, 25, 20), Product(64, 500, 50), Product(1, 800, 500), Product(1, 500, 10)),
            goal=2.2,
            float32_goal=1.2,
        ),
        Row(
            name="cnn",
            title="CNN 32/64 with dropout, batches of 128",
            batch_size=128,
            learning_rate=0.001,
            optimizer="adam",
            epochs=4,
            products=(Product(676, 9, 32), Product(121, 288, 64), Product(1, 1600, 128), Product(1, 128, 10)),
            goal=2.2,
            float32_goal=1.2,
        ),
    )
}
