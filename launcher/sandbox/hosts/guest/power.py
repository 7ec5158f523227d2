"""What a guest's `shutdown`, `poweroff`, `halt` and `reboot` ask for, and the programs that stand for them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

POWER_OFF = "power-off"
REBOOT = "reboot"
CANCEL = "cancel"

SHIM = """#!/bin/sh
# Tells the sandbox host's first process, in one write, what was asked for.
printf '%s\\n' "${0##*/} $*" >"@PIPE@"
"""

SYSTEMCTL_SHIM = """#!/bin/sh
# The sandbox host has no systemd; only what ends the machine is known.
for word in "$@"; do case $word in
  -*) ;;
  poweroff|halt|reboot) echo "$word" >"@PIPE@"; exit 0 ;;
  *) break ;;
esac; done
echo "systemctl: this host was not booted with systemd" >&2
exit 1
"""

SUDO_SHIM = """#!/bin/sh
# Runs the command as the caller: the sandbox's machines belong to their user.
while :; do case $1 in
  --) shift; break ;;
  -u|-g|-h|-p|-C|-D|-r|-t) shift 2 ;;
  -i|-s) shift; [ $# -gt 0 ] || exec "${SHELL:-/bin/sh}" ;;
  -v|-k|-K|--version) exit 0 ;;
  -*) shift ;;
  *=*) export "$1"; shift ;;
  *) break ;;
esac; done
[ $# -gt 0 ] || exit 0
exec "$@"
"""


def shims(pipe: str, sudo: str = "") -> dict[str, str]:
    """The scripts that stand for the commands, by name; `pipe` is where their lines go.

    `sudo`: the script of that name, where the host has somebody who can do more than the caller.
    """
    power = SHIM.replace("@PIPE@", pipe)
    named = dict.fromkeys(("shutdown", "poweroff", "halt", "reboot"), power)
    return {**named, "systemctl": SYSTEMCTL_SHIM.replace("@PIPE@", pipe), "sudo": sudo or SUDO_SHIM}


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOrder:
    """One request: what is to happen, and when, in seconds since the epoch."""

    action: str
    at_s: float


def parse_order(line: str, *, now_s: float) -> PowerOrder | None:
    """What `line` (a command and its arguments, as shutdown(8) takes them) asks for; `None` if nothing."""
    command, *arguments = line.split() or [""]
    if command in {"poweroff", "halt"}:
        return PowerOrder(action=POWER_OFF, at_s=now_s)
    if command == "reboot":
        return PowerOrder(action=REBOOT, at_s=now_s)
    if command != "shutdown":
        return None
    return _parse_shutdown(arguments, now_s)


def _parse_shutdown(arguments: list[str], now_s: float) -> PowerOrder | None:
    letters = {letter for word in arguments if re.fullmatch(r"-[A-Za-z]+", word) for letter in word[1:]}
    if "c" in letters:
        return PowerOrder(action=CANCEL, at_s=now_s)
    if "k" in letters:
        return None
    restart = "r" in letters or "--reboot" in arguments
    when = next((word for word in arguments if not word.startswith("-")), "+1")
    at_s = _moment(when, now_s)
    return None if at_s is None else PowerOrder(action=REBOOT if restart else POWER_OFF, at_s=at_s)


def _moment(when: str, now_s: float) -> float | None:
    if when == "now":
        return now_s
    if re.fullmatch(r"\+?\d{1,9}", when):
        return now_s + 60 * int(when)
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})", when)
    if not clock or int(clock[1]) > 23 or int(clock[2]) > 59:
        return None
    today = time.localtime(now_s)
    at_s = time.mktime((*today[:3], int(clock[1]), int(clock[2]), 0, 0, 0, -1))
    return at_s if at_s > now_s else at_s + 86400
