"""What a machine of a deployed schedule is told at its birth: when it ends, and how to begin by itself.

Source: cloud-init documentation, modules Bootcmd and Runcmd; EC2 User Guide, "Run commands when you launch an EC2
instance with user data input" (16 KB).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from launcher import lifeline

DISTRIBUTION = "gpurun-launcher"
PREFIX = "/opt/gpurun"
"""Where a baked image has its Python."""
OLDEST_PYTHON = (3, 11)
MODULES = ("boto3", "cronsim", "cryptography", "numpy", "paramiko", "pydantic", "rich", "ruamel.yaml", "typer")

# $1: what FETCH reads. $2: what must be there to be imported. $3: what is installed where it is not, a line each.
# Whatever happens, the machine is switched off at the end: EC2 terminates it then.
_START = """
state=${STATE_DIRECTORY:-/var/lib/gpurun}
off() { sync; shutdown -h now; sleep 120; poweroff -f; }
trap off EXIT
trap 'exit 1' HUP INT TERM
export HOME="${HOME:-/root}" XDG_STATE_HOME="$state/home" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
mkdir -p "$state" && cd "$state" || exit 1
begin() {
    python=
    for each in PREFIX/bin/python "$state/venv/bin/python" python3; do
        if "$each" -c "$2" 2>/dev/null; then python=$each; break; fi
    done
    if [ -z "$python" ]; then
        echo "gpurun: installing what the launcher needs; an image of gpurun ami bake has it"
        python=$state/venv/bin/python
        # shellcheck disable=SC2086 # requirements have no blanks
        python3 -m venv "$state/venv" && "$python" -m pip install -q --retries 5 $3 || return 1
    fi
    "$python" -c "$FETCH" "$1" || return 1
    . ./environment
    PYTHONPATH=$state/program "$python" -P -m launcher.cli schedule fire "$state"
}
begin "$@" 2>&1 | tee -a boot.log
"""
_FETCH = """
import boto3, hashlib, json, os, shlex, sys, tarfile
told = json.loads(sys.argv[1])
os.environ.update(told["environment"])
s3 = boto3.client("s3")
for name, (key, sha256) in told["packs"].items():
    s3.download_file(told["bucket"], key, name + ".tar.gz")
    with open(name + ".tar.gz", "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            sys.exit("gpurun: " + key + " is not what was deployed")
    os.makedirs(name, exist_ok=True)
    with tarfile.open(name + ".tar.gz") as packed:
        packed.extractall(name, filter="data")
    os.remove(name + ".tar.gz")
with open("environment", "w") as file:
    file.writelines("export %s=%s\\n" % (each, shlex.quote(value)) for each, value in told["environment"].items())
"""


def user_data(
    *, hours: float, bucket: str, packs: Mapping[str, Sequence[str]], environment: Mapping[str, str], notices: bool
) -> str:
    """The cloud-config of a machine that begins by itself; `packs` are key and sha256 by name.

    `environment` is what its calls of AWS need. With `notices` apprise is installed where it is missing.
    """
    fetched = json.dumps({"bucket": bucket, "packs": packs, "environment": environment}, separators=(",", ":"))
    modules = [*MODULES, *(["apprise"] if notices else [])]
    start = f"FETCH='{_FETCH.strip()}'\n" + _START.replace("PREFIX", PREFIX)
    check = f"import sys, {', '.join(modules)}; assert sys.version_info >= {OLDEST_PYTHON}"
    config: dict[str, Any] = {
        "bootcmd": lifeline.boot_commands_for(hours),
        "runcmd": [["sh", "-c", start, "gpurun-schedule", fetched, check, requirements(notices)]],
        "ssh_pwauth": False,
        "disable_root": True,
    }
    return "#cloud-config\n" + json.dumps(config)


def requirements(notices: bool) -> str:
    """What gpurun's launcher needs, as pip takes it, in one line."""
    extras = ["", *(["extra == 'notify'"] if notices else [])]
    found = []
    for each in metadata.requires(DISTRIBUTION) or []:
        requirement, _, marker = each.partition(";")
        if "extra" not in marker or marker.strip() in extras:
            found.append(requirement.replace(" ", ""))
    return " ".join(sorted(found))
