#!/usr/bin/env bash
# Removes what must not lie in a machine image: clean.sh ROOT, which is / on the machine that becomes one.
#
# Keys, host keys, histories, logs, what cloud-init and gpurun remember of this machine. Nobody can log in afterwards
# until cloud-init has run again, at the next boot: it comes last. Run it again after a break.
set -euo pipefail

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo "usage: clean.sh ROOT" >&2
    exit 2
fi
root=$(cd "$1" && pwd)
root=${root%/}
if [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    echo "clean.sh: error: only root can clean /" >&2
    exit 1
fi

gone() { rm -rf -- "$@"; }
# What is mounted is not this disk's, and no image has it.
holds_mount() {
    awk -v path="$1" '$5 == path || index($5, path "/") == 1 { held = 1 } END { exit !held }' /proc/self/mountinfo
}
gone_but_mounts() {
    local path
    for path in "$@"; do
        holds_mount "$path" || gone "$path"
    done
}
emptied() {
    local file
    for file in "$@"; do
        if [ -f "$file" ]; then : >"$file"; fi
    done
}

shopt -s nullglob dotglob

if [ -z "$root" ] && command -v apt-get >/dev/null; then apt-get clean; fi

for home in "$root/root" "$root"/home/*; do
    # A run's folder on an image would also tell the next machine's guard that a job was started there.
    gone "$home"/{gpurun,.cache,.keras,.ssh,.aws,.config/gcloud,.docker,.netrc,.git-credentials}
    gone "$home"/.*_history "$home"/{.lesshst,.viminfo,.wget-hsts}
done

# How long this machine had to live, which is nothing to the next one.
gone "$root"/var/lib/gpurun

if [ -z "$root" ] && command -v cloud-init >/dev/null; then cloud-init clean --logs --seed; fi
gone "$root"/var/lib/cloud/{instance,instances,data,sem,seed}
gone "$root"/var/log/cloud-init*.log
gone "$root"/var/log/journal/*
gone "$root"/var/lib/dhcp/* "$root"/var/lib/amazon/ssm/*
emptied "$root"/var/log/{auth.log,syslog,kern.log,wtmp,btmp,lastlog,dpkg.log} "$root"/var/log/apt/*
emptied "$root"/etc/machine-id
gone_but_mounts "$root"/tmp/* "$root"/var/tmp/*
gone "$root"/etc/ssh/ssh_host_*

sync
echo "clean: ${root:-/} is clean"
