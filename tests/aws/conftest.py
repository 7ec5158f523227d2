"""A moto server on a real port behind a middleware of ours, which counts calls and answers some of them with faults."""

import json
import logging
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from launcher.aws.client import Aws
from launcher.domain import Account, Image, Market, Offer

REGION = "us-east-1"
Answer = tuple[int, str]
Fault = Callable[[dict[str, str]], Answer | None]


def error_xml(code: str, message: str) -> str:
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error></Errors>"
        "<RequestID>r-1</RequestID></Response>"
    )


def fleet_xml(*errors: tuple[str, str, str, str]) -> str:
    """An instant fleet that made nothing: (instance type, subnet, code, message) for each pool."""
    items = "".join(
        "<item><launchTemplateAndOverrides><overrides>"
        f"<instanceType>{kind}</instanceType><subnetId>{subnet}</subnetId>"
        "</overrides></launchTemplateAndOverrides><lifecycle>spot</lifecycle>"
        f"<errorCode>{code}</errorCode><errorMessage>{escape(message)}</errorMessage></item>"
        for kind, subnet, code, message in errors
    )
    return (
        '<CreateFleetResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r-1</requestId>'
        f"<fleetId>fleet-1</fleetId><errorSet>{items}</errorSet><fleetInstanceSet/></CreateFleetResponse>"
    )


@dataclass
class Cloud:
    """The server: what was asked of it, and what it shall answer instead of the truth."""

    error_xml = staticmethod(error_xml)
    fleet_xml = staticmethod(fleet_xml)

    url: str = ""
    calls: list[str] = field(default_factory=list)
    parameters: list[dict[str, str]] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    lose_reply: set[str] = field(default_factory=set)

    def answer(self, action: str, *faults: Fault) -> None:
        """Ask `faults`, one for each coming call of `action`; the last one stays."""
        self.faults[action] = list(faults)

    def prices(self, prices: dict[str, float], **kind: str) -> None:
        self.answer("GetProducts", lambda _: pricing_json(prices, **kind))

    def empty_fleet(self, *errors: tuple[str, str, str, str]) -> None:
        self.answer("CreateFleet", lambda _: (200, fleet_xml(*errors)))

    def refuse(self, action: str, code: str, message: str = "no", status: int = 400) -> None:
        self.answer(action, lambda _: (status, error_xml(code, message)))

    def asked(self, action: str) -> list[dict[str, str]]:
        return [each for name, each in zip(self.calls, self.parameters, strict=True) if name == action]

    def reset(self) -> None:
        """Forget everything; moto takes half a second for it, so only where something may have changed."""
        if not all(call.startswith(("Describe", "Get")) for call in self.calls):
            self.forget()
        for each in (self.calls, self.parameters, self.faults, self.lose_reply):
            each.clear()

    def forget(self) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")).read()

    def intercept(self, action: str, parameters: dict[str, str]) -> Answer | None:
        self.calls.append(action)
        self.parameters.append(parameters)
        waiting = self.faults.get(action) or DEFAULTS.get(action)
        if not waiting:
            return None
        fault = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return fault(parameters)


def pricing_json(prices: dict[str, float], region: str = REGION, operating_system: str = "Linux") -> Answer:
    """One page of the Price List API's GetProducts, in the form that AWS documents."""
    products = [
        json.dumps(
            {
                "product": {
                    "productFamily": "Compute Instance",
                    "attributes": {
                        "instanceType": name,
                        "regionCode": region,
                        "operatingSystem": operating_system,
                        "tenancy": "Shared",
                        "preInstalledSw": "NA",
                        "capacitystatus": "Used",
                    },
                },
                "terms": {
                    "OnDemand": {
                        "A.B": {"priceDimensions": {"A.B.C": {"unit": "Hrs", "pricePerUnit": {"USD": f"{price:.10f}"}}}}
                    }
                },
            }
        )
        for name, price in prices.items()
    ]
    return 200, json.dumps({"FormatVersion": "aws_v1", "PriceList": products})


DEFAULTS: dict[str, list[Fault]] = {
    "GetProducts": [lambda _: (400, json.dumps({"__type": "AccessDeniedException", "message": "no price list here"}))]
}
"""What moto answers with a traceback."""


class Middleware:
    def __init__(self, app, cloud: Cloud) -> None:
        self.app, self.cloud = app, cloud

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        parameters = dict(parse_qsl(body.decode("latin-1"))) if not target else json.loads(body or b"{}")
        action = target.rpartition(".")[2] or parameters.get("Action", "")
        if not action:
            self.cloud.intercept("s3", {})
            return self.app(environ, start_response)
        scope = environ.get("HTTP_AUTHORIZATION", "").split("/")
        parameters["signed_for"] = scope[2] if len(scope) > 2 else ""
        instead = self.cloud.intercept(action, parameters)
        if instead is None and action not in self.cloud.lose_reply:
            return self.app(environ, start_response)
        if instead is None:
            list(self.app(environ, lambda *_: lambda _: None))  # done, and nobody hears of it
            self.cloud.lose_reply.discard(action)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError(action)
        status, text = instead
        kind = "application/x-amz-json-1.1" if target else "text/xml"
        start_response(f"{status} X", [("Content-Type", kind), ("Content-Length", str(len(text.encode())))])
        return [text.encode()]


@pytest.fixture(scope="session")
def _server() -> Iterator[Cloud]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    cloud = Cloud()
    app = Middleware(DomainDispatcherApplication(create_backend_app), cloud)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield cloud
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cloud(_server: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A fresh cloud for each test, and an environment that says nothing of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield _server
    _server.reset()


@pytest.fixture(scope="session")
def account(_server: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Account:
    return account_for(_server.url, tmp_path_factory.mktemp("account"))


def account_for(url: str, folder: Path) -> Account:
    config, credentials = folder / "aws_config", folder / "aws_credentials"
    config.write_text(f"[default]\nendpoint_url = {url}\nregion = {REGION}\n")
    credentials.write_text("[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n")
    return Account(config_file=config, credentials_file=credentials)


@pytest.fixture(scope="session")
def _aws(account: Account) -> Aws:
    return Aws(account)


@pytest.fixture
def aws(_aws: Aws, cloud: Cloud) -> Aws:
    """One for all tests, since EC2's model takes a fifth of a second to parse; it keeps nothing but clients."""
    return _aws


@pytest.fixture
def image_id(aws: Aws) -> str:
    """An x86_64 machine image that the server brings."""
    found = aws.ec2.describe_images(Filters=[{"Name": "name", "Values": ["ubuntu/images/hvm-ssd/ubuntu-xenial*"]}])
    return found["Images"][0]["ImageId"]


@pytest.fixture
def image(image_id: str) -> Image:
    return Image(
        image_id=image_id,
        name="ubuntu",
        region=REGION,
        architecture="x86_64",
        root_device="/dev/sda1",
        root_size_gib=8,
    )


@dataclass
class Kept:
    """An offer cache whose clock can be turned."""

    texts: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def get(self, key: str) -> tuple[str, datetime] | None:
        return self.texts.get(key)

    def put(self, key: str, text: str) -> None:
        self.texts[key] = (text, datetime.now(UTC))

    def age(self, by: timedelta) -> None:
        self.texts = {key: (text, at - by) for key, (text, at) in self.texts.items()}


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def offer() -> Callable[..., Offer]:
    """Make an offer, a cheap spot one unless told otherwise."""

    def make(
        instance_type: str = "g4dn.xlarge",
        zone: str = "us-east-1a",
        market: Market = Market.SPOT,
        price: float = 0.2,
    ) -> Offer:
        return Offer(
            instance_type=instance_type,
            region=REGION,
            zone=zone,
            market=market,
            price_usd_per_hour=price,
            on_demand_usd_per_hour=0.526,
            vcpus=4,
            memory_bytes=16 << 30,
            architecture="x86_64",
            gpu=None,
            priced_at=datetime(2026, 11, 20, tzinfo=UTC),
            source="live",
        )

    return make
