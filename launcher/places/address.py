"""What a place is called: `aws`, `local`, or `ssh://user@host:port`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.domain import AWS, LOCAL
from launcher.errors import SpecError

SSH_PORT = 22
_SSH = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.+-]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A machine of the user's own; without a host it is this one."""

    host: str = ""
    """A name, an address, or a `Host` of ssh_config."""
    user: str = ""
    """Empty: the one that ssh_config names, or the present one."""
    port: int = SSH_PORT

    @property
    def here(self) -> bool:
        """Whether it is the machine that gpurun runs on."""
        return not self.host

    @property
    def name(self) -> str:
        """For people, and for tables."""
        if self.here:
            return LOCAL
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        """As `parse` reads it."""
        if self.here:
            return LOCAL
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == SSH_PORT else f":{self.port}"
        return f"ssh://{f'{self.user}@' if self.user else ''}{host}{port}"


def parse(text: str) -> Address | None:
    """The user's machine that a place names, `None` for AWS; raises `SpecError` for what is neither."""
    if text == AWS:
        return None
    if text == LOCAL:
        return Address()
    match = _SSH.fullmatch(text)
    port = int(match["port"] or SSH_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        meant = f"--on ssh://{text}" if "://" not in text and "@" in text else "--on local"
        raise SpecError(f"--on {text}: aws, local or ssh://USER@HOST[:PORT] is expected", hint=f"such as {meant}")
    return Address(host=match["host"].strip("[]"), user=match["user"] or "", port=port)
