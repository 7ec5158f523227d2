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
    rm -f told python
    python=
    for each in PREFIX/bin/python "$state/venv/bin/python" python3; do
        if "$each" -c "$2" 2>/dev/null; then python=$each; break; fi
    done
    if [ -z "$python" ]; then
        echo "gpurun: installing what the launcher needs; an image of gpurun ami bake has it"
        install "$3" || return 1
    fi
    printf '%s' "$python" >python
    "$python" -c "$FETCH" "$1" || return 1
    . ./environment
    PYTHONPATH=$state/program "$python" -P -m launcher.cli schedule fire "$state"
}
install() {
    for base in python3.13 python3.12 python3.11 python3; do
        if "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
    done
    # Images of Ubuntu and Debian leave the module that makes environments out.
    "$base" -m venv "$state/venv" || {
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q update && apt-get -q install -y "$base-venv" && "$base" -m venv --clear "$state/venv"
    } || return 1
    python=$state/venv/bin/python
    # shellcheck disable=SC2086 # requirements have no blanks
    "$python" -m pip install -q --retries 5 $1
}
{ begin "$@" || echo "gpurun: it ended with $?"; } 2>&1 | tee -a boot.log
# A machine that came as far as its turn has told of itself.
if [ ! -e told ] && [ -e python ]; then "$(cat python)" -c "$TELL" "$1"; fi
"""
_TELL = """
import boto3, json, os, sys, time
told = json.loads(sys.argv[1])
os.environ.update(told["environment"])
key = time.strftime("boots/failed-%Y%m%dT%H%M%SZ.log", time.gmtime())
boto3.client("s3").upload_file("boot.log", told["bucket"], told["folder"] + key)
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
        # Python 3.11 has no filters before 3.11.4; what is unpacked is to the byte what was deployed.
        packed.extractall(name, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    os.remove(name + ".tar.gz")
with open("environment", "w") as file:
    file.writelines("export %s=%s\\n" % (each, shlex.quote(value)) for each, value in told["environment"].items())
"""


def user_data(
    *,
    hours: float,
    bucket: str,
    folder: str,
    packs: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    notices: bool,
) -> str:
    """The cloud-config of a machine that begins by itself; `packs` are key and sha256 by name.

    `folder` is how the keys of the schedule's own folder begin.

    `environment` is what its calls of AWS need. With `notices` apprise is installed where it is missing.
    """
    told = {"bucket": bucket, "folder": folder, "packs": packs, "environment": environment}
    fetched = json.dumps(told, separators=(",", ":"))
    modules = [*MODULES, *(["apprise"] if notices else [])]
    start = f"FETCH='{_FETCH.strip()}'\nTELL='{_TELL.strip()}'\n" + _START.replace("PREFIX", PREFIX)
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
