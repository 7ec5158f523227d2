"""What somebody does to a store behind the registry's back."""

from __future__ import annotations

from pathlib import Path

from launcher.registry.store import Store


def lay(store: Store, where: str, data: bytes | None) -> None:
    """Put something under a key, or remove what is there, as only an intruder would."""
    if hasattr(store, "_root"):
        path = Path(store.uri) / where
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        return
    place = {"Bucket": store._place.bucket, "Key": store._prefix + where}
    if data is None:
        store._aws.s3.delete_object(**place)
    else:
        store._aws.s3.put_object(**place, Body=data)
