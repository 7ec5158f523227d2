"""AWS requests and errors as they look on the wire, whatever the service's protocol."""

from __future__ import annotations

import io
import json
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from launcher.sandbox.cloud import rest

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_SCOPE = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]*)/([^/]+)/aws4_request")
_TOKEN = "X-Amz-Security-Token"  # noqa: S105 - a parameter's name
POST_OBJECT = "PostObject"
"""S3's upload by form, which is signed inside."""
_XML = "text/xml;charset=UTF-8"
_READ_BODIES = ("application/x-www-form", "application/x-amz-json", "application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One signed request; `params` is flat for query services (`Filter.1.Name`), the body's object for JSON ones."""

    service: str
    region: str
    action: str
    access_key: str
    token: str = ""
    """The security token of credentials that were lent."""
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP response."""

    status: int
    body: bytes
    content_type: str = _XML
    headers: tuple[tuple[str, str], ...] = ()
    unsent_bytes: int | None = None
    """How long the body is that HEAD asks about, and does not get."""

    @property
    def good(self) -> bool:
        """Whether the request did what it asked for."""
        return self.status < 300


def read_call(environ: Environ) -> Call:
    """Who asks for what; the request's body stays readable for whoever comes next."""
    signed, token = environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    if not signed and "X-Amz-Credential=" in environ.get("QUERY_STRING", ""):  # a presigned address
        query = dict(parse_qsl(environ["QUERY_STRING"]))
        signed, token = f"Credential={query.get('X-Amz-Credential', '')}", query.get(_TOKEN, token)
    scope = _SCOPE.search(signed)
    access_key, region, service = scope.groups() if scope else ("", "us-east-1", "")
    body = _body(environ)
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type.startswith("application/x-www-form-urlencoded"):
        params: dict[str, Any] = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        action = params.get("Action", "")
    else:
        params = _json_object(body) if "json" in content_type else {}
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    if environ["REQUEST_METHOD"] == "POST" and content_type.startswith("multipart/form-data"):
        service, action = "s3", POST_OBJECT
    if service == "scheduler":
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        action, params = rest.scheduler_call(method, path, environ.get("QUERY_STRING", ""), params)
    action = action or f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '/')}"
    return Call(service=service, region=region, action=action, access_key=access_key, token=token, params=params)


def _body(environ: Environ) -> bytes:
    if not environ.get("CONTENT_TYPE", "").startswith(_READ_BODIES):
        return b""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def error_answer(service: str, code: str, status: int, message: str) -> Answer:
    """An error in the service's own protocol (EC2 query, query, REST-XML or JSON 1.1)."""
    text, request_id = escape(message, quote=False), secrets.token_hex(16)
    if service == "ec2":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
            f"<Code>{code}</Code><Message>{text}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    elif service in {"sts", "iam"}:
        body = (
            f'<ErrorResponse xmlns="https://{service}.amazonaws.com/doc/"><Error><Type>Sender</Type>'
            f"<Code>{code}</Code><Message>{text}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    elif service == "s3":
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message>'
            f"<RequestId>{request_id}</RequestId></Error>"
        )
    else:
        return json_answer({"__type": code, "message": message}, status=status)
    return Answer(status=status, body=body.encode())


def json_answer(value: object, *, status: int = 200, content_type: str = "application/x-amz-json-1.1") -> Answer:
    """A JSON service's response."""
    headers = (("x-amzn-RequestId", secrets.token_hex(16)),)
    return Answer(
        status=status, body=json.dumps(value, default=str).encode(), content_type=content_type, headers=headers
    )


def send(answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    """Give it to the WSGI server."""
    length = str(len(answer.body)) if answer.unsent_bytes is None else str(answer.unsent_bytes)
    head = [("Content-Type", answer.content_type), ("Content-Length", length), *answer.headers]
    start_response(f"{answer.status} {'OK' if answer.good else 'Error'}", head)
    return [answer.body]


def collect(app: Callable[..., Iterable[bytes]], environ: Environ) -> Answer:
    """Run a WSGI application to its end and keep what it says."""
    head: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        head.update(status=int(status.split(maxsplit=1)[0]), headers=headers)

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    content_type = next((v for k, v in head["headers"] if k.lower() == "content-type"), _XML)
    rest = tuple((k, v) for k, v in head["headers"] if k.lower() not in {"content-type", "content-length"})
    length = next((int(v) for k, v in head["headers"] if k.lower() == "content-length"), None)
    unsent = length if environ["REQUEST_METHOD"] == "HEAD" else None
    return Answer(status=head["status"], body=body, content_type=content_type, headers=rest, unsent_bytes=unsent)
