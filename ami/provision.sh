#!/usr/bin/env bash
# Makes a machine ready for gpurun's jobs: provision.sh [VERSIONS_FILE]
#
# For Ubuntu 22.04 and 24.04 and Debian 12 and later, as root (or as the owner of PREFIX, where nothing comes from apt).
# It asks nobody but apt and PyPI. Run it again after a break: what is done already costs a look.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
versions=${1:-$here/versions.env}
# shellcheck source=versions.env
. "$versions"
: "${PREFIX:?} ${PYTHON_VERSIONS:?} ${MIN_NVIDIA_DRIVER:?}"
SYSTEM_PACKAGES=${SYSTEM_PACKAGES:-}
packages="${PYTHON_PACKAGES:-} ${LAUNCHER_PACKAGES:-}"
PIP_OPTIONS=${PIP_OPTIONS:-} INHERIT_PACKAGES=${INHERIT_PACKAGES:-no}

say() { printf 'provision: %s\n' "$*"; }
die() { printf 'provision: error: %s\n' "$*" >&2; exit 1; }

# What fails for want of room seldom says so last.
tell_room() {
    local status=$? free_kib
    free_kib=$(df -k --output=avail "$PREFIX" | tail -n 1)
    if [ "$status" -ne 0 ] && [ "$free_kib" -lt $((100 * 1024)) ]; then
        printf 'provision: error: only %d MiB are free where %s lies: a larger disk is needed\n' \
            $((free_kib / 1024)) "$PREFIX" >&2
    fi
}

# Two at once would spoil each other's work; one that lost its line to us may still be at it.
lock_once() {
    mkdir -p "$PREFIX"
    exec 9>"$PREFIX/.provision.lock"
    flock -w 1800 9 || die "another provision.sh has been at work on $PREFIX for half an hour"
}

apt() {
    # A machine that has just booted may be updating itself.
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@"
}

updated=
update_once() {
    [ -z "$updated" ] || return 0
    apt update
    updated=yes
}

missing() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
    done
}

install_system_packages() {
    local wanted
    # After a break in the middle of an installation dpkg wants to be told to go on.
    [ -z "$SYSTEM_PACKAGES" ] || dpkg --configure -a
    # shellcheck disable=SC2086 # a list of names
    mapfile -t wanted < <(missing $SYSTEM_PACKAGES)
    if [ ${#wanted[@]} -eq 0 ]; then
        say "system packages: nothing to do"
        return
    fi
    say "system packages: ${wanted[*]}"
    update_once
    apt install -y --no-install-recommends "${wanted[@]}"
}

usable() { command -v "python$1" >/dev/null && "python$1" -c 'import ensurepip, venv' 2>/dev/null; }

find_python() {
    local version
    for version in $PYTHON_VERSIONS; do
        if usable "$version"; then
            python=$(command -v "python$version")
            return
        fi
    done
    [ -n "$SYSTEM_PACKAGES" ] || die "none of Python $PYTHON_VERSIONS is here, and nothing may come from apt"
    update_once
    for version in $PYTHON_VERSIONS; do
        if apt install -y --no-install-recommends "python$version" "python$version-venv" && usable "$version"; then
            python=$(command -v "python$version")
            return
        fi
    done
    die "apt has none of Python $PYTHON_VERSIONS: name another in PYTHON_VERSIONS of $versions"
}

sound() { "$PREFIX/bin/python" -c 'import pip, sys; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; }

make_environment() {
    if sound; then
        say "environment: $PREFIX is there"
        return
    fi
    say "environment: $PREFIX with $python"
    # Its own parts alone: $PREFIX/store may hold data.
    rm -rf "${PREFIX:?}"/{bin,include,lib,lib64,share,pyvenv.cfg}
    "$python" -m venv "$PREFIX"
}

fingerprint() {
    { "$PREFIX/bin/python" --version; printf '%s\n' "$packages" "$INHERIT_PACKAGES"; } |
        sha256sum | cut -d ' ' -f 1
}

purelib() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

inherit_packages() {
    local path
    path=$(purelib "$PREFIX/bin/python")/inherited.pth
    rm -f "$path"
    [ "$INHERIT_PACKAGES" = yes ] || return 0
    purelib "$python" >"$path"
    say "environment: with the packages of $python"
}

install_python_packages() {
    local stamp=$PREFIX/.provisioned
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ] && "$PREFIX/bin/python" -m pip check >/dev/null; then
        say "Python packages: nothing to do"
        return
    fi
    rm -f "$stamp"
    say "Python packages: $packages"
    if [ -n "${packages// /}" ]; then
        # shellcheck disable=SC2086 # a list of requirements; set -f keeps the brackets of extras
        (set -f; "$PREFIX/bin/python" -m pip install --no-cache-dir --retries 5 --disable-pip-version-check \
            --find-links "$here" $PIP_OPTIONS $packages)
    fi
    "$PREFIX/bin/python" -m pip check
    # The stamp only when everything else is on the disk: an image may be made of what is there now.
    sync
    fingerprint >"$stamp"
}

look_at_driver() {
    local version oldest
    if ! version=$(cat /sys/module/nvidia/version 2>/dev/null || modinfo -F version nvidia 2>/dev/null); then
        say "NVIDIA driver: none; jobs on this image run on the CPU"
        return
    fi
    oldest=$(printf '%s\n' "$MIN_NVIDIA_DRIVER" "$version" | sort -V | head -n 1)
    [ "$oldest" = "$MIN_NVIDIA_DRIVER" ] || die "NVIDIA driver $version is older than $MIN_NVIDIA_DRIVER"
    say "NVIDIA driver: $version"
}

lock_once
trap tell_room EXIT
install_system_packages
find_python
make_environment
inherit_packages
install_python_packages
look_at_driver
say "ready: $("$PREFIX/bin/python" --version) in $PREFIX"
