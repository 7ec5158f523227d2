"""S3's upload by form, checked as S3 does it: signature, policy, size and checksum. moto takes anything from anybody.

Source: Amazon S3 API Reference, "POST Object" and "Creating a POST policy".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote

from werkzeug.datastructures import FileStorage
from werkzeug.formparser import parse_form_data

from launcher.sandbox.cloud.wire import Answer, Environ, error_answer
from launcher.sandbox.layout import ACCESS_KEY, SECRET_KEY

MAX_BYTES = 5 << 30
_FREE = frozenset({"policy", "x-amz-signature", "file"})
"""Fields that no condition need speak of."""
_CHECKSUM = "x-amz-checksum-sha256"
_BLOCK_BYTES = 1 << 20

Ask = Callable[[Environ], Answer]


class Refused(Exception):
    """What S3 answers."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = error_answer("s3", code, status, message)


def answer(environ: Environ, ask: Ask) -> Answer:
    """Check one upload and have moto keep it, as if it had come by PUT."""
    _, fields, files = parse_form_data(environ)
    form = {name.lower(): value for name, value in fields.items()}
    bucket = environ["PATH_INFO"].strip("/")
    try:
        content = _upload(form, files)
        _check_signature(form, lambda: _region(environ, bucket, ask))
        size = _size(content.stream)
        _check_policy(form, bucket, size)
        _check_content(form, content.stream)
        scope, token = form["x-amz-credential"], form.get("x-amz-security-token", "")
        kept = ask(_put(environ, f"/{bucket}/{form['key']}", content.stream, size, scope, token))
    except Refused as refused:
        return refused.answer
    finally:
        for each in files.values():
            each.close()
    return Answer(status=204, body=b"", headers=kept.headers) if kept.good else kept


def _upload(form: dict[str, str], files: Mapping[str, FileStorage]) -> FileStorage:
    if "file" not in files or "key" not in form:
        raise Refused("InvalidArgument", 400, "POST requires exactly one file upload per request.")
    return files["file"]


def _check_signature(form: dict[str, str], region: Callable[[], str]) -> None:
    policy, scope = form.get("policy", ""), form.get("x-amz-credential", "").split("/")
    if not policy or not form.get("x-amz-signature") or len(scope) != 5:
        raise Refused("AccessDenied", 403, "Access Denied")
    key, day, signed_for, service, ending = scope
    if service != "s3" or ending != "aws4_request":
        raise Refused("InvalidArgument", 400, "The credential's scope is wrong.")
    if key == ACCESS_KEY:
        secret = f"AWS4{SECRET_KEY}".encode()
        for part in (day, signed_for, service, ending):
            secret = hmac.digest(secret, part.encode(), "sha256")
        if not hmac.compare_digest(hmac.digest(secret, policy.encode(), "sha256").hex(), form["x-amz-signature"]):
            raise Refused("SignatureDoesNotMatch", 403, "The request signature we calculated does not match.")
    lies_in = region()
    if signed_for != lies_in:
        message = f"the region '{signed_for}' is wrong; expecting '{lies_in}'"
        raise Refused("AuthorizationHeaderMalformed", 400, message)


def _check_policy(form: dict[str, str], bucket: str, size: int) -> None:
    try:
        policy = json.loads(base64.b64decode(form["policy"]))
        expires = datetime.fromisoformat(policy["expiration"])
        conditions = [_condition(each) for each in policy["conditions"]]
    except (ValueError, KeyError, TypeError):
        raise Refused("InvalidPolicyDocument", 400, "Invalid Policy: Invalid JSON.") from None
    if expires <= datetime.now(UTC):
        raise Refused("AccessDenied", 403, "Invalid according to Policy: Policy expired.")
    held = {**form, "bucket": bucket}
    for kind, name, value in conditions:
        if kind == "content-length-range":
            _check_size(size, int(name), int(value))
        elif not _holds(kind, held.get(name, ""), value):
            message = f"Invalid according to Policy: Policy Condition failed: {json.dumps([kind, '$' + name, value])}"
            raise Refused("AccessDenied", 403, message)
    spoken_of = {name for _, name, _ in conditions}
    extra = sorted(name for name in form if name not in spoken_of | _FREE and not name.startswith("x-ignore-"))
    if extra:
        raise Refused("AccessDenied", 403, f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")
    _check_size(size, 0, MAX_BYTES)


def _condition(said: Any) -> tuple[str, str, str]:
    """[how, which field, what], or the two ends of a range."""
    if isinstance(said, dict):
        ((name, value),) = said.items()
        return "eq", name.lower(), str(value)
    kind, name, value = said
    return str(kind).lower(), str(name).lower().removeprefix("$"), str(value)


def _holds(kind: str, found: str, wanted: str) -> bool:
    return found.startswith(wanted) if kind == "starts-with" else found == wanted


def _check_size(size: int, least: int, most: int) -> None:
    if size > most:
        raise Refused("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size")
    if size < least:
        raise Refused("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size")


def _check_content(form: dict[str, str], content: IO[bytes]) -> None:
    wanted = form.get(_CHECKSUM)
    if wanted is None:
        return
    digest = hashlib.sha256()
    while block := content.read(_BLOCK_BYTES):
        digest.update(block)
    content.seek(0)
    if base64.b64encode(digest.digest()).decode() != wanted:
        raise Refused("BadDigest", 400, "The SHA256 you specified did not match the calculated checksum.")


def _size(content: IO[bytes]) -> int:
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    return size


def _region(environ: Environ, bucket: str, ask: Ask) -> str:
    """Where the bucket lies; raises `Refused` where there is none."""
    found = ask({**environ, **_request("HEAD", f"/{bucket}"), "CONTENT_LENGTH": "0", "wsgi.input": io.BytesIO()})
    if not found.good:
        raise Refused("NoSuchBucket", 404, "The specified bucket does not exist")
    return {name.lower(): value for name, value in found.headers}.get("x-amz-bucket-region", "us-east-1")


def _put(environ: Environ, path: str, content: IO[bytes], size: int, scope: str, token: str) -> Environ:
    signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"  # moto lets nobody write over
    return {
        **environ,
        **_request("PUT", path),
        "CONTENT_LENGTH": str(size),
        "wsgi.input": content,
        "HTTP_AUTHORIZATION": signed,
        "HTTP_X_AMZ_SECURITY_TOKEN": token,
    }


def _request(method: str, path: str) -> Environ:
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path.encode().decode("latin-1"),  # as WSGI has it (PEP 3333)
        "RAW_URI": quote(path),
        "REQUEST_URI": quote(path),
        "CONTENT_TYPE": "application/octet-stream",
    }
