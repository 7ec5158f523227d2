"""Who the server is, by its pinned key, and who we are, by ours."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from launcher.errors import HostKeyMismatch, HostUnreachable, SpecError
from launcher.sync.ssh.connection import Line
from launcher.sync.ssh.keys import fingerprint, generate, host_key_of

from .connecting import TIMEOUT_S, connected


def test_another_host_key_is_refused_before_authentication(sshd) -> None:
    pinned = host_key_of(generate("other").public_line)
    started = time.monotonic()
    with pytest.raises(HostKeyMismatch) as caught:
        connected(sshd, host_keys=(pinned,))
    assert time.monotonic() - started < 5, "a mismatch must not be retried"
    assert fingerprint(pinned) in caught.value.message
    assert fingerprint(sshd.host_key) in caught.value.message
    assert caught.value.hint
    assert "userauth-request" not in sshd.log
    connected(sshd).close()
    assert "userauth-request" in sshd.log, "the log would have shown an attempt"


def test_a_host_without_a_key_of_the_pinned_kind_is_refused_before_authentication(sshd) -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    with pytest.raises(HostKeyMismatch, match="no host key of the pinned kind"):
        connected(sshd, host_keys=(host_key_of(line),))
    assert "userauth-request" not in sshd.log


def test_any_of_several_pinned_keys_will_do(sshd) -> None:
    other = host_key_of(generate("other").public_line)
    connected(sshd, host_keys=(other, sshd.host_key)).close()


def test_no_pinned_key_means_no_connection(sshd) -> None:
    with pytest.raises(SpecError, match="host key"):
        connected(sshd, host_keys=())
    assert "userauth-request" not in sshd.log


def test_a_locked_key_is_used_through_the_agent(sshd, ssh_agent: Path, monkeypatch) -> None:
    subprocess.run(["ssh-add", "-q", str(sshd.key)], env={**os.environ, "SSH_AUTH_SOCK": str(ssh_agent)}, check=True)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.key)], check=True)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_agent))
    connected(sshd).close()


def test_a_locked_key_is_asked_for_once_over_reconnects(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.key)], check=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr("launcher.sync.ssh.identities.can_ask", lambda: True)
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "wrong" if len(asked) == 1 else "secret"

    monkeypatch.setattr("getpass.getpass", answer)
    line = Line(sshd.endpoint())
    line.current().close()
    line.fresh(TIMEOUT_S)
    line.close()
    assert len(asked) == 2
    assert str(sshd.key) in asked[0]


def test_a_locked_key_with_nobody_to_ask_gets_the_ssh_add_command(sshd, monkeypatch) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.key)], check=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr("launcher.sync.ssh.identities.can_ask", lambda: False)
    with pytest.raises(SpecError) as caught:
        connected(sshd)
    assert caught.value.hint == f"ssh-add {sshd.key}"


def test_the_agent_that_the_config_names_is_asked_where_no_key_is_given(sshd, ssh_agent: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(sshd.key)], env={**os.environ, "SSH_AUTH_SOCK": str(ssh_agent)}, check=True)
    config = sshd.folder / "config_agent"
    config.write_text(f"IdentityAgent {ssh_agent}\nIdentityFile {sshd.folder}/absent\n")
    connected(sshd, key_file=None, config_file=config).close()


def test_no_key_at_all_is_said(sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    config = sshd.folder / "config_none"
    config.write_text(f"IdentityFile {sshd.folder}/absent\n")
    with pytest.raises(HostUnreachable, match="no key to offer"):
        connected(sshd, key_file=None, config_file=config)
