"""gpurun: from a training script on a laptop to verified weights from the cheapest spot GPU."""

__version__ = "0.1.0"
