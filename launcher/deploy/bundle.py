"""What a machine needs to run a schedule by itself, in archives that are named after their content.

Three of them: gpurun's own program, the work (code, spec, schedule), and the data where it lies on this computer. The
same content has the same name, so that what is in S3 already is not sent again.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import launcher
from launcher.aws.faults import code_of
from launcher.sync.local import tree

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.aws.durable.place import Place

SINGLE_PUT_BYTES = 1 << 30
"""What is larger goes up in parts."""
FILE_MODE, PROGRAM_MODE = 0o644, 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One archive, as it lies here."""

    name: str
    """`program`, `work` or `data`: the folder that it is unpacked into."""
    path: Path
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """In S3, below the schedule's folder."""
        return f"{self.name}-{self.sha256[:32]}.tar.gz"


def program(folder: Path) -> Pack:
    """gpurun itself, packed into a folder."""
    root = Path(launcher.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return _pack("program", folder, lambda tar: _add_files(tar, {f"launcher/{p.relative_to(root)}": p for p in files}))


def work(folder: Path, code: tree.Scan, texts: Mapping[str, bytes]) -> Pack:
    """The code below `code/`, and files by name."""

    def fill(tar: tarfile.TarFile) -> None:
        _add_other(tar, "code", tarfile.DIRTYPE)
        _add_scan(tar, code, "code")
        for name in sorted(texts):
            _add(tar, name, io.BytesIO(texts[name]), len(texts[name]), FILE_MODE)

    return _pack("work", folder, fill)


def data(folder: Path, scan: tree.Scan) -> Pack:
    """The data, as it is now."""
    return _pack("data", folder, lambda tar: _add_scan(tar, scan, ""))


def send(aws: Aws, place: Place, prefix: str, pack: Pack, progress: Callable[[int], None]) -> bool:
    """Put an archive where it is not yet; whether it was sent. `progress` is told bytes as they go."""
    key = f"{prefix}{pack.file_name}"
    with aws.errors(f"send {pack.name} to {place.uri}"):
        if _held(aws, place.bucket, key, pack):
            return False
        if pack.size_bytes > SINGLE_PUT_BYTES:
            aws.s3.upload_file(str(pack.path), place.bucket, key, Callback=progress)
        else:
            with pack.path.open("rb") as file:
                aws.s3.put_object(Bucket=place.bucket, Key=key, Body=file, **_about(pack))
            progress(pack.size_bytes)
    return True


def remove_others(aws: Aws, place: Place, prefix: str, kept: Sequence[Pack]) -> None:
    """Remove the archives of earlier deployments."""
    with aws.errors("remove old archives"):
        pages = aws.s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix, Delimiter="/")
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        for key in keys:
            if key.endswith(".tar.gz") and key not in [prefix + pack.file_name for pack in kept]:
                aws.s3.delete_object(Bucket=place.bucket, Key=key)


def _held(aws: Aws, bucket: str, key: str, pack: Pack) -> bool:
    """Whether it lies there whole, by S3's own sha256; of one that went up in parts S3 tells the size alone."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - with boto3, which is loaded by now

    try:
        found = aws.s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if code_of(error) not in {"404", "NoSuchKey"}:
            raise
        return False
    if pack.size_bytes <= SINGLE_PUT_BYTES:
        return found.get("ChecksumSHA256") == _checksum(pack)
    return found["ContentLength"] == pack.size_bytes


def _about(pack: Pack) -> dict[str, Any]:
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _checksum(pack)}


def _checksum(pack: Pack) -> str:
    return base64.b64encode(bytes.fromhex(pack.sha256)).decode()


def _pack(name: str, folder: Path, fill: Callable[[tarfile.TarFile], None]) -> Pack:
    path = folder / f"{name}.tar.gz"
    # No times and no names of this computer: the same content gives the same bytes.
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, cast("IO[bytes]", file), mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        fill(tar)
    with path.open("rb") as whole:
        sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
    return Pack(name=name, path=path, sha256=sha256, size_bytes=path.stat().st_size)


def _add_files(tar: tarfile.TarFile, files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        with path.open("rb") as file:
            _add(tar, name, file, path.stat().st_size, FILE_MODE)


def _add_scan(tar: tarfile.TarFile, scan: tree.Scan, below: str) -> None:
    for item in scan.items:
        name = f"{below}/{item.name}".lstrip("/")
        if item.kind == "f":
            with (scan.root / item.name).open("rb") as file:
                mode = PROGRAM_MODE if item.mode & 0o100 else FILE_MODE
                _add(tar, name, file, file.seek(0, io.SEEK_END), mode)
            continue
        _add_other(tar, name, tarfile.SYMTYPE if item.kind == "l" else tarfile.DIRTYPE, item.link_target)


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size_bytes: int, mode: int) -> None:
    file.seek(0)
    told = tarfile.TarInfo(name)
    told.size, told.mode = size_bytes, mode
    tar.addfile(told, file)


def _add_other(tar: tarfile.TarFile, name: str, kind: bytes, link_target: str = "") -> None:
    told = tarfile.TarInfo(name)
    told.type, told.mode, told.linkname = kind, PROGRAM_MODE, link_target
    tar.addfile(told)
