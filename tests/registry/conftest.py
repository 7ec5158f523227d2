"""Registries in a folder and in a bucket of a sandbox cloud, and weights to keep in them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from launcher.aws.client import Aws
from launcher.registry.bucket import Bucket
from launcher.registry.folder import Folder
from launcher.registry.registry import Registry
from launcher.registry.store import Store
from launcher.registry.version import About, Version
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox

NAME = "digits"


@pytest.fixture(scope="session")
def aws(sandbox_none: Sandbox) -> Aws:
    return Aws(sandbox_none.account)


@pytest.fixture
def cloud(sandbox_none: Sandbox) -> Iterator[SandboxClient]:
    """The sandbox's own API; its faults go with the test."""
    client = SandboxClient(sandbox_none.endpoint_url)
    yield client
    client.clear_faults()


@pytest.fixture
def uri(aws: Aws) -> str:
    bucket = f"weights-{secrets.token_hex(6)}"
    aws.s3.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/team/weights"


@pytest.fixture
def bucket(aws: Aws, uri: str) -> Bucket:
    return Bucket(aws, uri)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "weights")


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


@pytest.fixture
def local(folder: Folder) -> Registry:
    return Registry(folder)


@pytest.fixture
def weights_file(tmp_path: Path) -> Callable[..., Path]:
    """A file of weights whose values all are `value`."""

    def make(value: float = 0.0, name: str = "weights.npz") -> Path:
        path = tmp_path / "made" / name
        path.parent.mkdir(exist_ok=True)
        np.savez(path, w=np.full((3, 2), value), b=np.full(2, value, np.float32))
        return path

    return make


@pytest.fixture
def add(weights_file: Callable[..., Path]) -> Callable[..., Version]:
    """Another version whose values are those."""

    def keep(registry: Registry, value: float = 0.0, **about: object) -> Version:
        return registry.add(NAME, {"weights.npz": weights_file(value)}, About(**about))  # type: ignore[arg-type]

    return keep
