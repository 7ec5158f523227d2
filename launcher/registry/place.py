"""Where the weights are kept: `--store`, else GPURUN_WEIGHTS, else ./weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import WeightsError
from launcher.registry.folder import Folder

if TYPE_CHECKING:
    from launcher.domain import Account
    from launcher.registry.store import Store

VARIABLE = "GPURUN_WEIGHTS"
DEFAULT = "weights"


def named(text: str | None = None) -> str:
    """The place that is meant, as its user wrote it."""
    return text or os.environ.get(VARIABLE) or DEFAULT


def open_store(text: str | None = None, *, account: Account | None = None) -> Store:
    """The store that is meant; nothing is written.

    Raises `WeightsError` for an address of another kind; for a bucket `SpecError` and what AWS answers.
    """
    place = named(text)
    if place.startswith("s3://"):
        # Only who keeps weights in S3 waits for boto3.
        from launcher.aws.client import Aws  # noqa: PLC0415 - see above
        from launcher.domain import Account as AnyAccount  # noqa: PLC0415 - see above
        from launcher.registry.bucket import Bucket  # noqa: PLC0415 - see above

        return Bucket(Aws(account or AnyAccount()), place)
    if "://" in place:
        raise WeightsError(f"{place!r:.80} is no place for weights", hint="--store DIR, or --store s3://BUCKET/PREFIX")
    # Absolute, so that a service may change its folder.
    return Folder(Path(os.path.abspath(Path(place).expanduser())))  # noqa: PTH100 - a link stays one, for messages
