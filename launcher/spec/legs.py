"""The legs of a job whose ways are compared: what each side refuses."""

from __future__ import annotations

import re

from launcher.domain import JobSpec
from launcher.errors import SpecError

MAX_LEGS = 256
MAX_REPEATS = 1000
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,@+-]{0,127}")
"""A folder's name on any file system, and a word in any shell; the agent holds the same."""


def check_legs(spec: JobSpec) -> None:
    """Raise `SpecError` for legs that the machine would refuse: before it is bought."""
    names = [leg.name for leg in spec.legs]
    for leg in spec.legs:
        if not SAFE_NAME.fullmatch(leg.name):
            raise SpecError(
                f"a leg cannot be called {leg.name!r}",
                hint="1 to 128 letters, digits and . _ = , @ + -, a letter or digit first",
            )
        if not (leg.argv or leg.script or spec.argv or spec.script):
            raise SpecError(f"leg {leg.name} has no command", hint="give it one, or the job one for all its legs")
        if leg.argv and leg.script:
            raise SpecError(f"leg {leg.name} has both a command and a script", hint="give one of them, or none")
        if "\0" in "".join([*leg.argv, leg.script, *leg.env, *leg.env.values()]) or any(
            not name or "=" in name for name in leg.env
        ):
            raise SpecError(
                f"leg {leg.name} has a command or environment that no process can be given",
                hint="leave NUL out, and = out of the names of variables",
            )
    # On some file systems the case of a name counts for nothing.
    doubled = {name for name in names if [other.lower() for other in names].count(name.lower()) > 1}
    if doubled:
        raise SpecError(f"two legs are called {min(doubled)}", hint="give each leg a name of its own")
    if len(names) > MAX_LEGS:
        raise SpecError(f"{len(names)} legs are more than {MAX_LEGS}", hint="compare fewer at once")
    if not 1 <= spec.repeats <= MAX_REPEATS:
        raise SpecError(f"{spec.repeats} repeats", hint=f"1 to {MAX_REPEATS}")
