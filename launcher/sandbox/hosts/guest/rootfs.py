"""A host's own root: the laptop's system folders seen through overlays, and nothing else of the laptop."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from . import disk as disks
from . import linux, power, sudo
from .layers import Changes, show
from .reign import make_pipe

SYSTEM_FOLDERS = ("usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
EMPTY_FOLDERS = ("root", "mnt", "media", "srv", "opt", "boot", "proc", "sys", "dev", "run", "tmp", "var", "home")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
POWER_PIPE = "/run/initctl"
UBUNTU_ID = 1000
PATH = "/opt/gpurun/bin:/opt/tensorflow/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = "/opt/tensorflow"
"""Where Deep Learning images have TensorFlow: the laptop's own, on every host that does not boot from a baked image."""
GUEST_CODE = "/run/sandbox/guest"
CLOCK = "/run/sandbox/wrong-clock.so"
PROGRAM_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")
OPEN_FOLDERS = ("usr/local/bin", "usr/local/sbin", "etc/systemd/system", "etc/sysctl.d", "etc/cron.d", "etc/profile.d")

SSHD_CONFIG = """\
Port 22
ListenAddress 0.0.0.0
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
PermitRootLogin no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 500
MaxSessions 500
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
PidFile /run/sshd.pid
"""


def build(config: dict[str, Any]) -> None:
    """Make the root and move into it; the old one cannot be reached afterwards. Raises `OSError`."""
    linux.mount("none", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    folder = Path(config["folder"])
    root, layers, disk = folder / "root", folder / "layers", folder / "disk"
    for place in (root, layers, disk):
        place.mkdir(exist_ok=True)
    limits = f"mode=755,size={config['memory_disk_mib']}m"
    for place in (root, layers):
        linux.mount("tmpfs", str(place), "tmpfs", flags=linux.MS_NODEV, options=limits)
    for name in EMPTY_FOLDERS:
        (root / name).mkdir(mode=0o755)
    changes = Changes(hidden=set(config["hidden"]), files=_system_files(config), folders={*OPEN_FOLDERS, "etc/ssh"})
    for name in SYSTEM_FOLDERS:
        show(Path("/", name), root / name, layers, changes.below(name))
    if config["disk_bytes"]:
        disks.make(str(disk), config["disk_bytes"])
    if config["content"]:
        disks.begin_with(config["content"], str(disk))
    _mount_disk(root, disk, config)
    linux.mount("tmpfs", str(root / "run"), "tmpfs", flags=linux.MS_NOSUID | linux.MS_NODEV, options="mode=755")
    _show_environment(root, config)
    _make_devices(root, rootless=config["rootless"])
    (root / "run/sshd").mkdir()
    (root / "run/lock").mkdir()
    (root / "run/lock").chmod(0o1777)
    _enter(root)
    _protect_proc()


def _mount_disk(root: Path, disk: Path, config: dict[str, Any]) -> None:
    """What may grow large or outlives a reboot lies in the instance's folder, not in memory."""
    layout = {"home": 0o755, "tmp": 0o1777, "var": 0o755, "etc/ssh": 0o755, "opt": 0o755, "srv": 0o755}
    for name, mode in layout.items():
        place = disk / name.replace("/", "-")
        place.mkdir(exist_ok=True)
        place.chmod(mode)
        (root / name).mkdir(parents=True, exist_ok=True)
        linux.bind(str(place), str(root / name))
    text = SSHD_CONFIG + "".join(f"{line}\n" for line in config["sshd_options"])
    (disk / "etc-ssh/sshd_config").write_text(text)
    for name in ("var/lib", "var/log", "var/cache", "var/spool", "home/ubuntu"):
        (root / name).mkdir(exist_ok=True)
    (root / "var/tmp").mkdir(exist_ok=True)
    (root / "var/tmp").chmod(0o1777)
    if not config["rootless"]:
        os.chown(root / "home/ubuntu", UBUNTU_ID, UBUNTU_ID)
    for name, target in {"var/run": "/run", "var/lock": "/run/lock"}.items():
        if not (root / name).is_symlink():
            (root / name).symlink_to(target)


def _show_environment(root: Path, config: dict[str, Any]) -> None:
    """The Python environment at its own paths, read-only, and our guest code."""
    for path in config["environment"]:
        target = root / path.lstrip("/")
        if not (target / "bin").exists():
            target.mkdir(parents=True, exist_ok=True)
            linux.bind(path, str(target), read_only=True)
    code = root / GUEST_CODE.lstrip("/")
    code.mkdir(parents=True, exist_ok=True)
    linux.bind(config["guest_code"], str(code), read_only=True)
    if config["clock_library"]:
        shutil.copy(config["clock_library"], root / CLOCK.lstrip("/"))
    link = root / ENVIRONMENT.lstrip("/")
    if not link.is_symlink() and not link.exists():
        link.symlink_to(config["environment"][0])


def _make_devices(root: Path, *, rootless: bool) -> None:
    dev = root / "dev"
    linux.mount("tmpfs", str(dev), "tmpfs", flags=linux.MS_NOSUID, options="mode=755,size=1m")
    for name in DEVICES:
        (dev / name).touch()
        linux.mount(f"/dev/{name}", str(dev / name), flags=linux.MS_BIND)
    links = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
    for name, target in links.items():
        (dev / name).symlink_to(target)
    (dev / "pts").mkdir()
    group = "" if rootless else ",gid=5"
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devpts", str(dev / "pts"), "devpts", flags=flags, options=f"newinstance,ptmxmode=0666,mode=620{group}")
    (dev / "shm").mkdir()
    flags = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("tmpfs", str(dev / "shm"), "tmpfs", flags=flags, options="mode=1777")
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("proc", str(root / "proc"), "proc", flags=flags)
    linux.mount("sysfs", str(root / "sys"), "sysfs", flags=flags | linux.MS_RDONLY)


def _system_files(config: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """What the host has in the place of the laptop's files: path -> (text, mode)."""
    shell = next(shell for shell in ("/bin/bash", "/bin/sh") if Path(shell).exists())
    user = f"ubuntu:x:{UBUNTU_ID}:{UBUNTU_ID}:Ubuntu:/home/ubuntu:{shell}"
    # Without a mapped group 5 a pty cannot be given to "tty": sshd then leaves it to the user's own group.
    unmapped = {"tty"} if config["rootless"] else set()
    texts = {
        "etc/passwd": _accounts("/etc/passwd", user, set()),
        "etc/group": _accounts("/etc/group", f"ubuntu:x:{UBUNTU_ID}:", unmapped),
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
        "etc/hostname": f"{config['hostname']}\n",
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{config['private_address']} {config['hostname']}\n",
        "etc/resolv.conf": "# The sandbox has no name server.\n",
        "etc/profile.d/gpurun.sh": f"export PATH={PATH}\n",
    }
    shadow = "root:*:19000:0:99999:7:::\nubuntu:*:19000:0:99999:7:::\n"
    shims = power.shims(POWER_PIPE, sudo.script(config["python"], str(Path(GUEST_CODE).parent)))
    return {
        **{path: (text, 0o644) for path, text in texts.items()},
        "etc/shadow": (shadow, 0o600),
        **({"etc/ld.so.preload": (f"{CLOCK}\n", 0o644)} if config["clock_library"] else {}),
        **{f"{place}/{name}": (shims[name], 0o755) for place in PROGRAM_FOLDERS for name in shims},
    }


def python() -> str:
    """The interpreter with the jobs' packages, inside a host."""
    first, *others = (f"{ENVIRONMENT}/bin/{name}" for name in ("python", "python3"))
    return next((name for name in (first, *others) if Path(name).exists()), first)


def _accounts(path: str, ubuntu: str, without: set[str]) -> str:
    """The laptop's system accounts, with `ubuntu` in place of its people."""
    lines = [line.split(":") for line in Path(path).read_text(errors="replace").splitlines() if line.count(":") > 2]
    system = [line for line in lines if line[2].isdigit() and (int(line[2]) < UBUNTU_ID or line[0] == "nobody")]
    kept = [":".join(line) for line in system if line[0] not in without | {"ubuntu"}]
    return "\n".join([*kept, ubuntu]) + "\n"


def _enter(root: Path) -> None:
    os.chdir(root)
    Path(".old").mkdir()
    linux.pivot_root(".", ".old")
    os.chdir("/")
    linux.detach("/.old")
    Path("/.old").rmdir()
    make_pipe(Path(POWER_PIPE))


def _protect_proc() -> None:
    flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("/proc/sys", "/proc/sys", flags=linux.MS_BIND)
    linux.mount("/proc/sys", "/proc/sys", flags=flags)
    for name in ("sysrq-trigger", "kcore", "timer_list", "keys"):
        if Path("/proc", name).exists():
            linux.mount("/dev/null", f"/proc/{name}", flags=linux.MS_BIND)
