"""ssh, scp and rsync reach a machine with the files that we write, host key checking on."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.domain import Endpoint
from launcher.errors import SpecError
from launcher.paths import StatePaths
from launcher.sync.ssh.keys import generate, host_key_of
from launcher.sync.ssh.known_hosts import (
    host_alias,
    read_known_hosts,
    remove,
    write_index,
    write_known_hosts,
    write_run_config,
)

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh")
RUN = "run-20260101-abcd"
KEY = host_key_of(generate("host").public_line)


@pytest.fixture
def state(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path / 'state "100%" of it')


def written(state: StatePaths, endpoint: Endpoint, run_id: str = RUN, name: str = "digits") -> Path:
    paths = state.run(run_id)
    write_run_config(paths, run_id=run_id, name=name, endpoint=endpoint)
    return paths.ssh_config


def ssh(config: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-F", str(config), "-o", "BatchMode=yes", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def shown(config: Path, host: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-G", "-F", str(config), host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_pinned_keys_are_read_back(tmp_path: Path) -> None:
    keys = (KEY, host_key_of(generate("second").public_line))
    write_known_hosts(tmp_path / "known", RUN, keys)
    assert read_known_hosts(tmp_path / "known") == keys
    assert read_known_hosts(tmp_path / "absent") == ()


@needs_ssh
@pytest.mark.parametrize("host", [RUN, "digits"])
def test_ssh_reaches_the_machine_by_its_run_and_its_name(sshd, state: StatePaths, host: str) -> None:
    config = written(state, sshd.endpoint())
    done = ssh(config, host, "echo $((6*7))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")
    write_index(state)
    assert ssh(state.ssh_config, host, "exit 5").returncode == 5


@needs_ssh
def test_ssh_refuses_another_host_key(sshd, state: StatePaths) -> None:
    config = written(state, sshd.endpoint(host_keys=(KEY,)))
    done = ssh(config, RUN, "echo reached")
    assert done.returncode == 255
    assert "reached" not in done.stdout
    assert "userauth-request" not in sshd.log


@needs_ssh
def test_the_sandbox_s_mapping_is_resolved_into_the_file(sshd, state: StatePaths) -> None:
    mapping = sshd.folder / "mapping"
    mapping.write_text(f"Host 198.18.0.2\n HostName 127.0.0.1\n Port {sshd.port}\n HostKeyAlias i-0123\n")
    config = written(state, sshd.endpoint(address="198.18.0.2", port=22, config_file=mapping))
    mapping.unlink()
    assert ssh(config, "digits", "echo here").stdout == "here\n"


@needs_ssh
def test_ssh_passes_two_jumps_with_the_file_alone(sshd, make_sshd, state: StatePaths, tmp_path: Path) -> None:
    jumps = [make_sshd(), make_sshd()]
    known = tmp_path / "known"
    blocks, lines = [], []
    for number, jump in enumerate(jumps, 1):
        jump.start()
        lines.append(f"[127.0.0.1]:{jump.port} {jump.host_key.algorithm} {jump.host_key.base64}\n")
        blocks.append(
            f"Host jump{number}\n HostName 127.0.0.1\n Port {jump.port}\n User {jump.user}\n"
            f" IdentityFile {jump.key}\n UserKnownHostsFile {known}\n"
        )
    known.write_text("".join(lines))
    users = tmp_path / "users"
    users.write_text("".join(blocks))
    config = written(state, sshd.endpoint(config_file=users, proxy="jump1,jump2"))
    users.unlink()
    done = ssh(config, RUN, "echo behind")
    assert (done.returncode, done.stdout) == (0, "behind\n")
    assert all("Accepted publickey" in jump.log for jump in jumps)


@needs_ssh
@pytest.mark.parametrize("program", ["scp", "rsync"])
def test_scp_and_rsync_reach_it_too(sshd, state: StatePaths, tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program}")
    written(state, sshd.endpoint())
    write_index(state)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 999)
    # rsync splits -e at spaces, quotes included: the index is reached by a plain name.
    config = tmp_path / "plain"
    config.symlink_to(state.ssh_config)
    argv = {
        "scp": ["scp", "-q", "-F", str(config), str(source), f"digits:{target}"],
        "rsync": ["rsync", "-e", f"ssh -F {config}", str(source), f"digits:{target}"],
    }[program]
    subprocess.run(argv, check=True, timeout=60)
    assert target.read_bytes() == source.read_bytes()


@needs_ssh
def test_the_newest_run_of_a_name_is_the_one_that_is_reached(state: StatePaths) -> None:
    for number, run_id in enumerate(["run-a", "run-b", "run-c"]):
        config = written(state, Endpoint(address=f"192.0.2.{number}", user="u", host_keys=(KEY,)), run_id)
        past = time.time() - 100 + number
        os.utime(config, (past, past))
    write_index(state)
    assert shown(state.ssh_config, "digits")["hostname"] == "192.0.2.2"
    assert shown(state.ssh_config, "run-a")["hostname"] == "192.0.2.0"
    remove(state, "run-c")
    assert shown(state.ssh_config, "digits")["hostname"] == "192.0.2.1"
    assert shown(state.ssh_config, "run-c")["hostname"] == "run-c"
    assert not state.run("run-c").known_hosts.exists()
    remove(state, "run-c")


CROWD = """
import sys
from pathlib import Path
from launcher.domain import Endpoint, HostKey
from launcher.paths import StatePaths
from launcher.sync.ssh.known_hosts import remove, write_index, write_run_config

state, number, lives = StatePaths(Path(sys.argv[1])), sys.argv[2], sys.argv[3] == "lives"
endpoint = Endpoint(address="192.0.2.1", user="u", host_keys=(HostKey(algorithm="ssh-ed25519", base64="AAAA"),))
print("ready", flush=True)
sys.stdin.readline()
for round in range(10):
    run_id = f"run-{number}-{round}"
    write_run_config(state.run(run_id), run_id=run_id, name=run_id, endpoint=endpoint)
    write_index(state)
    if not (lives and round == 9):
        remove(state, run_id)
"""


def test_twelve_launchers_write_and_remove_at_once(state: StatePaths) -> None:
    ends = ["lives", "goes"] * 6
    launchers = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(state.home), str(number), end],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, end in enumerate(ends)
    ]
    try:
        assert [each.stdout.readline() for each in launchers if each.stdout] == ["ready\n"] * 12
        for each in launchers:
            assert each.stdin
            each.stdin.write("\n")
            each.stdin.flush()
        assert [(each.communicate(timeout=60)[1], each.returncode) for each in launchers] == [("", 0)] * 12
    finally:
        for each in launchers:
            each.kill()
            each.wait()
    hosts = [line.split()[1] for line in state.ssh_config.read_text().splitlines() if line.startswith("Host ")]
    assert sorted(hosts) == sorted(f"run-{number}-9" for number, end in enumerate(ends) if end == "lives")


def test_a_run_that_is_removed_while_the_index_is_written_is_left_out(state: StatePaths, monkeypatch) -> None:
    """Its file goes after it was found and before it is looked at, as another launcher's end does."""
    for run_id in ("run-a", "run-b"):
        written(state, Endpoint(address="192.0.2.1", user="u", host_keys=(KEY,)), run_id)
    glob = Path.glob

    def glob_and_remove(path: Path, pattern: str) -> list[Path]:
        found = list(glob(path, pattern))
        state.run("run-a").ssh_config.unlink()
        return found

    monkeypatch.setattr(Path, "glob", glob_and_remove)
    write_index(state)
    assert "Host run-b " in state.ssh_config.read_text()
    assert "Host run-a " not in state.ssh_config.read_text()


@needs_ssh
def test_a_proxy_command_is_written_as_it_was_resolved(state: StatePaths, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("Host box\n ProxyCommand printf '%%s' %h %p\n HostName 192.0.2.7\n IdentityAgent /a b\n")
    endpoint = Endpoint(address="box", user="u", host_keys=(KEY,), config_file=users)
    found = shown(written(state, endpoint), RUN)
    assert found["proxycommand"].endswith("192.0.2.7 22")
    assert found["stricthostkeychecking"] in {"yes", "true"}


PATH_CHARACTERS = st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["Cs", "Cc", "Zl", "Zp"])


@needs_ssh
@settings(deadline=None, max_examples=40)
@given(st.text(PATH_CHARACTERS, min_size=1, max_size=20))
def test_any_path_is_quoted_so_that_ssh_reads_it_back(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    key = Path("/keys") / f"k{name}"
    state = StatePaths(tmp_path_factory.mktemp("state"))
    endpoint = Endpoint(address="192.0.2.1", user="u", host_keys=(KEY,), key_file=key, config_file=Path("/dev/null"))
    if "${" in name:
        with pytest.raises(SpecError):
            written(state, endpoint)
        return
    # ssh -G shows the value before `%` is expanded.
    assert shown(written(state, endpoint), RUN)["identityfile"].replace("%%", "%") == str(key)


@settings(deadline=None, max_examples=40)
@given(st.text())
def test_any_run_name_becomes_one_harmless_word(name: str) -> None:
    alias = host_alias(name)
    assert alias
    assert set(alias) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not alias.startswith("-")
    assert host_alias(alias) == alias


def test_a_host_that_would_add_a_line_is_refused(state: StatePaths) -> None:
    with pytest.raises(SpecError):
        written(state, Endpoint(address="a\nProxyCommand evil", user="u", host_keys=(KEY,)))
    with pytest.raises(SpecError):
        written(state, Endpoint(address="a", user="u\nProxyCommand evil", host_keys=(KEY,)))


def test_a_path_that_ssh_config_cannot_express_is_refused(tmp_path: Path) -> None:
    state = StatePaths(tmp_path / "new\nline")
    with pytest.raises(SpecError, match="cannot express"):
        written(state, Endpoint(address="192.0.2.1", user="u", host_keys=(KEY,)))
