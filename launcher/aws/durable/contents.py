"""Contents out of S3, each checked against its sha256."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING

from launcher.aws.faults import FOREIGN, code_of
from launcher.errors import TransferError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.aws.durable.generation import Chunk
    from launcher.aws.durable.place import Place

ATTEMPTS = 5
BACKOFF_S = 0.2
BLOCK_BYTES = 1 << 20
GONE = ("NoSuchKey", "404")

Write = Callable[[int, bytes], None]
"""Takes an offset within the content, and bytes."""


class Missing(TransferError):
    """A content is not there any more, or is another: its generation is not whole."""


class Contents:
    """One run's objects; from any thread."""

    def __init__(self, aws: Aws, there: Place, run_id: str) -> None:
        self._aws = aws.at(there.region)
        self._bucket = there.bucket
        self._prefix = there.run_prefix(run_id)

    def fetch(self, chunk: Chunk, write: Write) -> None:
        """Hand a content to `write`, and see that it was the right one.

        Raises `Missing`; what S3 refuses, as its error; `TransferError` where the line does not hold; `OSError`.
        """
        problem: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(BACKOFF_S * 2**attempt)
            try:
                if self._read(chunk, write):
                    return
            except FOREIGN as error:
                if code_of(error) in GONE:
                    break
                problem = error
            else:
                problem = None
                if attempt:
                    break
        if problem is not None:
            with self._aws.errors(f"read {self._where(chunk)}"):
                raise problem
        raise Missing(f"{self._where(chunk)} is not what the machine has sent there", hint=f"aws s3 ls {self._root}")

    def _read(self, chunk: Chunk, write: Write) -> bool:
        """Read it once; whether it was right."""
        answer = self._aws.s3.get_object(Bucket=self._bucket, Key=self._prefix + chunk.key)
        digest, at = sha256(), 0
        with closing(answer["Body"]) as body:
            if answer["ContentLength"] != chunk.size_bytes:
                return False
            for block in body.iter_chunks(BLOCK_BYTES):
                write(at, block)
                digest.update(block)
                at += len(block)
        return digest.hexdigest() == chunk.sha256

    @property
    def _root(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def _where(self, chunk: Chunk) -> str:
        return f"{self._root}{chunk.key}"
