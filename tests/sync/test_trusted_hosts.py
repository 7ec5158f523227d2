"""Our reading of known_hosts against OpenSSH's own (`ssh-keygen -F`)."""

import shutil
import subprocess
from pathlib import Path

import pytest

from launcher.domain import Endpoint
from launcher.errors import HostKeyMismatch
from launcher.sync.ssh.keys import generate, host_key_of
from launcher.sync.ssh.ssh_config import Hop, resolve
from launcher.sync.ssh.trusted_hosts import known_keys

KEY = host_key_of(generate("a").public_line)
OTHER = host_key_of(generate("b").public_line)


def hop(tmp_path: Path, text: str, host: str = "bastion.example.com", port: int = 22) -> Hop:
    (tmp_path / "known").write_text(text)
    config = tmp_path / "config"
    config.write_text(f'UserKnownHostsFile "{tmp_path}/known"\nGlobalKnownHostsFile /dev/null\n')
    return resolve(Endpoint(address=host, user="me", host_keys=(), port=port, config_file=config)).target


def line(names: str, key=KEY) -> str:
    return f"{names} {key.algorithm} {key.base64} a comment\n"


@pytest.mark.parametrize(
    ("names", "host", "port"),
    [
        ("bastion.example.com", "bastion.example.com", 22),
        ("other,bastion.example.com", "Bastion.Example.COM", 22),
        ("*.example.com", "bastion.example.com", 22),
        ("b?stion.example.com", "bastion.example.com", 22),
        ("[bastion.example.com]:2222", "bastion.example.com", 2222),
        ("bastion.example.com", "bastion.example.com", 2222),
        ("[::1]:2222", "::1", 2222),
    ],
)
def test_a_recorded_host_is_found(tmp_path: Path, names: str, host: str, port: int) -> None:
    assert known_keys(hop(tmp_path, line(names), host, port)) == (KEY,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# bastion.example.com ssh-ed25519 AAAA\n",
        "bastion.example.com ssh-ed25519\n",
        "bastion.example.com ssh-ed25519 !!!!\n",
        line("*.example.com,!bastion.example.com"),
        line("bastion.example.org"),
        line("[bastion.example.com]:2222"),
        line("@cert-authority bastion.example.com"),
        "|1|not-base64|x ssh-ed25519 AAAA\n",
    ],
)
def test_a_host_that_is_not_recorded_is_refused_with_the_command_to_judge_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(HostKeyMismatch, match="known_hosts") as caught:
        known_keys(hop(tmp_path, text))
    assert "ssh -p 22 me@bastion.example.com true" in caught.value.hint


def test_a_revoked_key_counts_for_nothing(tmp_path: Path) -> None:
    text = line("bastion.example.com") + line("bastion.example.com", OTHER) + line("@revoked *")
    assert known_keys(hop(tmp_path, text)) == (OTHER,)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
def test_names_that_openssh_hashed_are_found(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(line("bastion.example.com") + line("[bastion.example.com]:2222", OTHER))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True)
    hashed = path.read_text()
    assert "bastion" not in hashed
    assert known_keys(hop(tmp_path, hashed)) == (KEY,)
    assert known_keys(hop(tmp_path, hashed, port=2222)) == (OTHER,)
    assert known_keys(hop(tmp_path, hashed, port=2223)) == (KEY,)  # none of its own: as ssh, the host's
