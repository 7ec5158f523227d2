"""How to get the data sets that are not bundled."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_MNIST_BASE = "https://storage.googleapis.com/cvdf-datasets/mnist"
_MNIST_FILES = "{train-images-idx3,train-labels-idx1,t10k-images-idx3,t10k-labels-idx1}-ubyte.gz"
_KAGGLE = (
    "pip install kaggle, put an API token in ~/.kaggle/kaggle.json, accept the rules on "
    "https://www.kaggle.com/c/{name}, then: kaggle competitions download -c {name}"
)

WAYS: Mapping[str, str] = MappingProxyType(
    {
        "mnist": (
            f"curl --create-dirs -O --output-dir mnist '{_MNIST_BASE}/{_MNIST_FILES}', "
            f"then --data mnist (the four IDX files in a folder)"
        ),
        "mnist.npz": (
            "curl -O https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz, then --data mnist.npz"
        ),
        "mnist.pkl.gz": (
            "curl -LO https://github.com/pytorch/tutorials/raw/main/_static/mnist.pkl.gz, then --data mnist.pkl.gz"
        ),
        "kaggle-digits": (
            _KAGGLE.format(name="digit-recognizer") + " && unzip digit-recognizer.zip train.csv, then --data train.csv"
        ),
        "fer2013": (
            _KAGGLE.format(name="challenges-in-representation-learning-facial-expression-recognition-challenge")
            + " && unzip challenges-in-*.zip icml_face_data.csv, then --data icml_face_data.csv "
            "(without a download: --data faces-expressions)"
        ),
        "facial-keypoints": (
            _KAGGLE.format(name="facial-keypoints-detection")
            + " && unzip facial-keypoints-detection.zip && unzip training.zip, then --data training.csv "
            "(without a download: --data faces-key-points)"
        ),
    }
)
"""Name of a real data set, and the commands that bring it."""

ALSO_CALLED: Mapping[str, str] = MappingProxyType(
    {
        "train.csv": "kaggle-digits",
        "digit-recognizer": "kaggle-digits",
        "fer": "fer2013",
        "fer2013.csv": "fer2013",
        "icml_face_data.csv": "fer2013",
        "training.csv": "facial-keypoints",
        "key-points": "facial-keypoints",
        "keypoints": "facial-keypoints",
    }
)


def how_to_get(name: str) -> str:
    """`; to get it: ..` for the name of a real data set or of its file, else nothing."""
    known = ALSO_CALLED.get(name.lower(), name.lower())
    return f"; to get it: {WAYS[known]}" if known in WAYS else ""
