"""What a request to S3 takes in permissions.

Source: Amazon S3 API Reference, by operation; Service Authorization Reference, "Actions, resources, and condition keys
for Amazon S3".
"""

from __future__ import annotations

import io
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree as ET

from launcher.sandbox.cloud.policies import Need, Unjudged
from launcher.sandbox.cloud.wire import POST_OBJECT, Call, Environ

_PLAIN = ""
_OBJECT = {
    ("GET", _PLAIN): "GetObject",
    ("HEAD", _PLAIN): "GetObject",
    ("PUT", _PLAIN): "PutObject",
    ("DELETE", _PLAIN): "DeleteObject",
    ("POST", "uploads"): "PutObject",
    ("POST", "uploadId"): "PutObject",
    ("PUT", "uploadId"): "PutObject",
    ("GET", "uploadId"): "ListMultipartUploadParts",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "versionId"): "GetObjectVersion",
    ("HEAD", "versionId"): "GetObjectVersion",
    ("DELETE", "versionId"): "DeleteObjectVersion",
}
_BUCKET = {
    ("GET", _PLAIN): "ListBucket",
    ("HEAD", _PLAIN): "ListBucket",
    ("PUT", _PLAIN): "CreateBucket",
    ("DELETE", _PLAIN): "DeleteBucket",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "uploads"): "ListBucketMultipartUploads",
    ("GET", "versions"): "ListBucketVersions",
}
"""By method and the sub-resource that the query names."""
_HEADERS = {"HTTP_X_AMZ_TAGGING": "PutObjectTagging", "HTTP_X_AMZ_ACL": "PutObjectAcl"}
"""What comes with an object takes a permission of its own."""
_OF_LISTS = {
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-uploads",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
}
_NO_RESOURCE = {"x-id", "partNumber", *_OF_LISTS}


def needs(call: Call, environ: Environ) -> list[Need]:
    """Every permission that it takes; raises `Unjudged`."""
    if call.action == POST_OBJECT:
        return []  # asked for again when the form has been read and the object is put
    bucket, _, key = environ["PATH_INFO"].encode("latin-1").decode(errors="replace").lstrip("/").partition("/")
    host = environ.get("HTTP_HOST", "").partition(":")[0]
    if host != "localhost" and not host.replace(".", "").isdecimal():
        raise Unjudged(f"S3 at {host}: the bucket belongs in the path")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    named = [name for name in query if name not in _NO_RESOURCE and not name.startswith(("X-Amz-", "response-"))]
    method, resource = environ["REQUEST_METHOD"], ",".join(named)
    if not bucket:
        return [Need(action="s3:ListAllMyBuckets", resource="*")]
    if (method, resource) == ("POST", "delete"):
        return [_of_object("DeleteObject", bucket, each) for each in _deleted(environ)]
    action = (_OBJECT if key else _BUCKET).get((method, resource))
    if action is None:
        raise Unjudged(f"{method} with ?{resource} on S3")
    if not key:
        context = {"s3:prefix": query.get("prefix", "")} if action.startswith("ListBucket") else {}
        return [Need(action=f"s3:{action}", resource=f"arn:aws:s3:::{bucket}", context=context)]
    extra = [_of_object(more, bucket, key) for header, more in _HEADERS.items() if environ.get(header)]
    return [_of_object(action, bucket, key), *extra, *_copied(environ)]


def to_know_of_absence(need: Need) -> Need | None:
    """What it takes besides to be told that an object is not there; `None` for what asks for none.

    GetObject: "If you don't have the s3:ListBucket permission, Amazon S3 returns 403". Such a request has no prefix.
    """
    if need.action not in {"s3:GetObject", "s3:GetObjectVersion"}:
        return None
    return Need(action="s3:ListBucket", resource=need.resource.partition("/")[0])


def _of_object(action: str, bucket: str, key: str) -> Need:
    return Need(action=f"s3:{action}", resource=f"arn:aws:s3:::{bucket}/{key}")


def _copied(environ: Environ) -> list[Need]:
    source = unquote(environ.get("HTTP_X_AMZ_COPY_SOURCE", "")).lstrip("/").partition("?")[0]
    bucket, _, key = source.partition("/")
    return [_of_object("GetObject", bucket, key)] if source else []


def _deleted(environ: Environ) -> list[str]:
    """The keys that DeleteObjects names; its body stays readable."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    try:
        return [str(each.text) for each in ET.fromstring(body).iterfind(".//{*}Key")]  # noqa: S314 - this computer's own
    except ET.ParseError as error:
        raise Unjudged(f"DeleteObjects with {error!r}") from None
