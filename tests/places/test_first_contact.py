"""The host key of a workstation: known, asked for once with its fingerprint, or refused before anything is sent."""

import pexpect
import pytest

from launcher.sync.ssh.keys import fingerprint, generate, host_key_of


def test_an_unknown_key_is_refused_where_nobody_can_be_asked(desk, box) -> None:
    done = desk.gpurun("launch", "--on", box.on, desk.job("true"))
    shown = fingerprint(box.sshd.host_key)
    assert done.returncode == 5
    assert f"it shows ssh-ed25519 {shown}" in done.stderr
    assert f"--accept-host-key {shown}" in done.stderr
    assert "Accepted" not in box.sshd.log
    assert "userauth" not in box.sshd.log  # not even the user's name was told
    assert not (desk.home / ".ssh" / "known_hosts").exists()
    assert desk.runs() == []


def test_a_fingerprint_that_is_given_is_accepted_once_and_remembered(desk, box) -> None:
    accept = ("--accept-host-key", fingerprint(box.sshd.host_key))
    assert desk.gpurun("launch", "--on", box.on, *accept, "--dry-run", desk.job("true")).returncode == 0
    key = box.sshd.host_key
    hosts = desk.home / ".ssh" / "known_hosts"
    assert hosts.read_text() == f"[127.0.0.1]:{box.sshd.port} {key.algorithm} {key.base64}\n"
    assert hosts.stat().st_mode & 0o777 == 0o600
    assert desk.gpurun("launch", "--on", box.on, "job.sh").returncode == 0


def test_another_fingerprint_than_the_machine_shows_is_refused(desk, box) -> None:
    other = fingerprint(host_key_of(generate("other").public_line))
    done = desk.gpurun("launch", "--on", box.on, "--accept-host-key", other, desk.job("true"))
    assert done.returncode == 5
    assert f"not {other}; nothing was sent to it" in done.stderr
    assert "userauth" not in box.sshd.log


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 5), ("", 5)])
def test_at_a_terminal_the_user_is_asked_with_the_fingerprint(desk, box, answer, status) -> None:
    program, *arguments = [*desk.command, "launch", "--on", box.on, desk.job("echo there")]
    terminal = pexpect.spawn(program, arguments, cwd=str(desk.work), env=desk.environment, timeout=30)
    terminal.expect_exact(fingerprint(box.sshd.host_key))
    terminal.expect_exact("[y/N]:")
    terminal.sendline(answer)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == status, terminal.before
    assert (desk.home / ".ssh" / "known_hosts").exists() == (status == 0)


def test_a_key_that_changed_is_refused_whatever_is_accepted(desk, box) -> None:
    box.known(desk)
    hosts = desk.home / ".ssh" / "known_hosts"
    hosts.write_text(f"[127.0.0.1]:{box.sshd.port} {generate('old').public_line}\n")
    accept = ("--accept-host-key", fingerprint(box.sshd.host_key))
    done = desk.gpurun("launch", "--on", box.on, *accept, desk.job("true"))
    assert done.returncode == 5
    assert "another machine answers there" in done.stderr
    assert f"ssh-keygen -R '[127.0.0.1]:{box.sshd.port}'" in done.stderr
    assert "userauth" not in box.sshd.log


def test_a_revoked_key_is_refused_though_its_fingerprint_is_given(desk, box) -> None:
    key = box.sshd.host_key
    hosts = desk.home / ".ssh" / "known_hosts"
    hosts.write_text(f"@revoked * {key.algorithm} {key.base64}")
    done = desk.gpurun("launch", "--on", box.on, "--accept-host-key", fingerprint(key), desk.job("true"))
    assert done.returncode == 5
    assert "revoked" in done.stderr


def test_what_stands_in_known_hosts_is_added_to_and_not_changed(desk, box) -> None:
    hosts = desk.home / ".ssh" / "known_hosts"
    hosts.write_text("# mine\nelsewhere ssh-ed25519 AAAA")  # with no end of line
    done = desk.gpurun(
        "launch", "--on", box.on, "--dry-run", "--accept-host-key", fingerprint(box.sshd.host_key), desk.job("true")
    )
    assert done.returncode == 0, done.stderr
    assert hosts.read_text().splitlines()[:2] == ["# mine", "elsewhere ssh-ed25519 AAAA"]
    assert len(hosts.read_text().splitlines()) == 3


def test_a_run_keeps_to_the_key_that_it_began_with(desk, box) -> None:
    box.known(desk)
    desk.gpurun("launch", "--on", box.on, "--detach", desk.job("sleep 60"))
    box.known(desk)
    new = generate("new")
    hosts = desk.home / ".ssh" / "known_hosts"
    box.sshd.stop()
    from launcher.sync.ssh.keys import write_private

    write_private(box.sshd.folder / "host_key", new.private_pem)
    hosts.write_text(f"[127.0.0.1]:{box.sshd.port} {new.public_line}\n")
    (box.sshd.folder / "log").write_text("")
    box.sshd.start()
    done = desk.gpurun("resume", "last")
    assert done.returncode == 5
    assert "another machine answers there" in done.stderr


def test_a_key_of_the_host_s_other_port_neither_vouches_for_another_nor_stands_in_its_way(desk, box) -> None:
    hosts = desk.home / ".ssh" / "known_hosts"
    hosts.write_text(f"127.0.0.1 {generate('at port 22').public_line}\n")
    shown = fingerprint(box.sshd.host_key)
    refused = desk.gpurun("launch", "--on", box.on, "--dry-run", desk.job("true"))
    assert refused.returncode == 5
    assert f"--accept-host-key {shown}" in refused.stderr
    accepted = desk.gpurun("launch", "--on", box.on, "--dry-run", "--accept-host-key", shown, "job.sh")
    assert accepted.returncode == 0, accepted.stderr


def test_the_key_that_the_host_shows_at_port_22_is_known_at_another(desk, box) -> None:
    key = box.sshd.host_key
    hosts = desk.home / ".ssh" / "known_hosts"
    hosts.write_text(f"127.0.0.1 {key.algorithm} {key.base64}\n")
    assert desk.gpurun("launch", "--on", box.on, "--dry-run", desk.job("true")).returncode == 0
    hosts.write_text(
        f"127.0.0.1 {key.algorithm} {key.base64}\n[127.0.0.1]:{box.sshd.port} {generate('x').public_line}\n"
    )
    changed = desk.gpurun("launch", "--on", box.on, "--dry-run", "job.sh")
    assert changed.returncode == 5
    assert "another machine answers there" in changed.stderr
