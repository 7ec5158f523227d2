"""What moto reads from the environment when it is imported; so this goes first, and imports nothing of it."""

from __future__ import annotations

import os
from pathlib import Path

_VALIDATE = (
    "MOTO_ENABLE_KEYPAIR_VALIDATION",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION",
    "MOTO_ENABLE_AMI_VALIDATION",
)
ACCOUNT = "123456789012"


def configure(images_file: Path) -> None:
    """Set what moto reads from the environment when it is imported; no proxy may come between."""
    for name in _VALIDATE:
        os.environ[name] = "true"
    os.environ["MOTO_AMIS_PATH"] = str(images_file)
    os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
