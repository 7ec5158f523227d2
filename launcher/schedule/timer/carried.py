"""What an entry takes along of the environment: a scheduler starts its programs with next to none.

Never a secret: the entry is a file, and what it starts can read credentials where the AWS CLI keeps them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from launcher.paths import StatePaths
from launcher.registry import place

PLAIN = frozenset(
    {
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULTS_MODE",
        "AWS_DEFAULT_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_MAX_ATTEMPTS",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_RETRY_MODE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_STS_REGIONAL_ENDPOINTS",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "LANG",
        "LC_ALL",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
        "no_proxy",
    }
)
ADDRESSES = ("AWS_ENDPOINT_URL", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
"""May have a password in them, and go along only where they have none; also with `_EC2` and the like behind."""
FILES = frozenset(
    {
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
    }
)
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


def carried(environment: Mapping[str, str], state: StatePaths) -> dict[str, str]:
    """Names and values for the entry; paths are absolute, since a scheduler begins elsewhere."""
    taken = {name: _absolute(name, value) for name, value in environment.items() if _plain(name, value)}
    taken["HOME"] = str(Path.home())
    taken["PATH"] = _search_path(environment.get("PATH") or os.defpath)
    taken["XDG_STATE_HOME"] = str(state.home.absolute().parent)
    store = environment.get(place.VARIABLE)
    if store:
        taken[place.VARIABLE] = store if store.startswith("s3://") else _path(store)
    if environment.get("PYTHONPATH"):
        taken["PYTHONPATH"] = os.pathsep.join(_path(each) for each in environment["PYTHONPATH"].split(os.pathsep))
    return dict(sorted(taken.items()))


def left_behind(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of what a launch from here would use, and an entry of the scheduler does not get."""
    secrets = [name for name in CREDENTIALS if environment.get(name)]
    if any(environment.get(name) for name in PROFILES):
        secrets = []
    passworded = [name for name, value in environment.items() if _is_address(name) and "@" in value]
    return (*secrets, *sorted(passworded))


def _plain(name: str, value: str) -> bool:
    named = name.isascii() and name.isidentifier()  # what sh can export
    return named and bool(value) and (name in PLAIN or (_is_address(name) and "@" not in value))


def _is_address(name: str) -> bool:
    return name in ADDRESSES or name.startswith("AWS_ENDPOINT_URL_")


def _absolute(name: str, value: str) -> str:
    return _path(value) if name in FILES else value


def _path(text: str) -> str:
    return str(Path(text).expanduser().absolute())


def _search_path(text: str) -> str:
    """Without the folders that depend on where a program was started."""
    return os.pathsep.join(each for each in text.split(os.pathsep) if each.startswith("/")) or os.defpath
