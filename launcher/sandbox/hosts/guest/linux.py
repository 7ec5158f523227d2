"""The Linux system calls that a host's first process needs and that Python 3.11 does not wrap."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24

# A read-only remount in a user namespace must repeat the flags that the kernel has locked (mount_namespaces(7)).
LOCKED_FLAGS = {
    os.ST_RDONLY: MS_RDONLY,
    os.ST_NOEXEC: MS_NOEXEC,
    os.ST_NOATIME: 1024,
    os.ST_NODIRATIME: 2048,
    os.ST_RELATIME: 1 << 21,
}

# capabilities(7): chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service,
# sys_chroot, audit_write, setfcap; what a root shell in a container usually has.
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31})

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` names, unshare(2); raises `OSError`."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str = "", *, flags: int = 0, options: str = "") -> None:
    """Mount `source` on `target`, mount(2); raises `OSError`."""
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), os.fsencode(options)
    )
    _checked(result, f"mount {kind or 'bind'} on {target}")


def detach(target: str) -> None:
    """Unmount `target` and all below it as soon as nobody uses it, umount2(2); raises `OSError`."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root and put the old one at `old`, pivot_root(2); raises `OSError`."""
    _checked(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root")


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show the folder `source` at `target`, without set-uid programs and devices; raises `OSError`."""
    mount(source, target, flags=MS_BIND)
    flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | _locked_flags(target)
    mount(source, target, flags=flags | (MS_RDONLY if read_only else 0))


def _locked_flags(target: str) -> int:
    present = os.statvfs(target).f_flag
    locked = 0
    for shown, flag in LOCKED_FLAGS.items():
        locked |= flag if present & shown else 0
    return locked


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send `signal_number` when the parent's thread ends, prctl(2)."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


def limit_capabilities() -> None:
    """Take from every program started from here on what a guest must not have, whatever its uid."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in set(range(last + 1)) - KEPT_CAPABILITIES:
        _checked(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")


def map_ids(*, inner: int, outer_uid: int, outer_gid: int) -> None:
    """In a fresh user namespace, be uid and gid `inner`, user_namespaces(7)."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inner} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inner} {outer_gid} 1")


def raise_loopback(addresses: list[str]) -> None:
    """Bring `lo` up with `addresses` beside 127.0.0.1, netdevice(7); raises `OSError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
        for number, address in enumerate(addresses, start=1):
            label = f"lo:{number}".encode()
            fcntl.ioctl(control, SIOCSIFADDR, _address_request(label, address))
            fcntl.ioctl(control, SIOCSIFNETMASK, _address_request(label, "255.255.255.255"))


def _address_request(label: bytes, address: str) -> bytes:
    return struct.pack("16sHH4s8x", label, socket.AF_INET, 0, socket.inet_aton(address))
