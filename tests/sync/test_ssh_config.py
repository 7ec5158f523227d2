"""What we take from ssh_config, against what `ssh -G` does."""

import os
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.domain import Endpoint
from launcher.errors import SpecError
from launcher.sync.ssh.ssh_config import Route, require_plain, resolve


def route(config: Path | None, address: str = "box", user: str = "ubuntu", **changes: object) -> Route:
    return resolve(Endpoint(address=address, user=user, host_keys=(), config_file=config, **changes))  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path / "config"


def test_an_empty_config_changes_nothing(config: Path) -> None:
    config.write_text("")
    target = route(config, "203.0.113.7").target
    assert (target.host, target.port, target.user) == ("203.0.113.7", 22, "ubuntu")


def test_name_port_and_alias_come_from_the_config(config: Path) -> None:
    config.write_text("Host box\n HostName 127.0.0.1\n Port 40123\n HostKeyAlias i-1\n User other\n")
    target = route(config).target
    assert (target.host, target.port, target.host_key_alias) == ("127.0.0.1", 40123, "i-1")
    assert target.user == "ubuntu", "the endpoint's own user stands first"
    assert route(config, user="").target.user == "other"
    assert route(config, port=2200).target.port == 2200


def test_the_endpoints_user_and_port_enter_a_proxy_command(config: Path) -> None:
    config.write_text("Host box\n User other\n HostName 10.0.0.1\n ProxyCommand nc %r@%h:%p\n")
    assert route(config, port=2200).target.proxy_command == "nc ubuntu@10.0.0.1:2200"


def test_a_run_s_own_key_is_the_only_one_offered(config: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("x")
    config.write_text(f"IdentityFile {tmp_path}/theirs\n")
    assert route(config).target.identity_files == (tmp_path / "theirs",)
    target = route(config, key_file=tmp_path / "mine").target
    assert (target.identity_files, target.identities_only) == ((tmp_path / "mine",), True)


def test_the_usual_keys_are_offered_where_nothing_is_said(config: Path, tmp_path: Path) -> None:
    config.write_text("")
    (tmp_path / ".ssh" / "id_rsa").write_text("x")
    (tmp_path / ".ssh" / "id_ed25519").write_text("x")
    assert [p.name for p in route(config).target.identity_files] == ["id_ed25519", "id_rsa"]


def test_without_a_file_the_user_s_own_is_read(config: Path, tmp_path: Path) -> None:
    (tmp_path / ".ssh" / "config").write_text("Host box\n HostName 192.0.2.9\n")
    assert route(None).target.host == "192.0.2.9"
    config.write_text("")
    assert route(config).target.host == "box"


def test_included_files_are_read_and_leave_the_block_as_it_was(config: Path, tmp_path: Path) -> None:
    (tmp_path / ".ssh" / "conf.d").mkdir()
    (tmp_path / ".ssh" / "conf.d" / "one").write_text("Host box\n Port 2201\n")
    (tmp_path / ".ssh" / "conf.d" / "two").write_text("Host other\n Port 2202\n")
    config.write_text("Host box\n Include conf.d/*\n HostName 192.0.2.9\nHost *\n Port 99\n")
    target = route(config).target
    assert (target.host, target.port) == ("192.0.2.9", 2201)


def test_a_file_that_includes_itself_ends(config: Path) -> None:
    config.write_text(f"Include {config}\nHost box\n Port 7\n")
    assert route(config).target.port == 7


def test_match_blocks_hold(config: Path) -> None:
    config.write_text(
        "Match host box user ubuntu\n Port 2201\nMatch exec true\n HostName 192.0.2.9\n"
        "Match exec false\n IdentityAgent /nowhere\n"
    )
    target = route(config).target
    assert (target.port, target.host, target.identity_agent) == (2201, "192.0.2.9", None)


def test_a_chain_of_jumps_is_put_in_order(config: Path) -> None:
    config.write_text(
        "Host box\n ProxyJump second\nHost second\n HostName 10.0.0.2\n ProxyJump first\n User b\n"
        "Host first\n HostName 10.0.0.1\n Port 2201\n User a\n"
    )
    found = [(hop.user, hop.host, hop.port) for hop in route(config).jumps]
    assert found == [("a", "10.0.0.1", 2201), ("b", "10.0.0.2", 22)]


@pytest.mark.parametrize(
    ("proxy", "hops"),
    [
        ("bastion", [("me", "bastion", 22)]),
        ("root@bastion:2222", [("root", "bastion", 2222)]),
        ("ssh://root@bastion:2222", [("root", "bastion", 2222)]),
        ("a@one, b@[2001:db8::1]:99", [("a", "one", 22), ("b", "2001:db8::1", 99)]),
    ],
)
def test_a_proxy_is_written_as_ssh_takes_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, hops: list[tuple[str, str, int]]
) -> None:
    monkeypatch.setenv("LOGNAME", "me")
    config.write_text("Host box\n ProxyJump ignored\n")
    assert [(h.user, h.host, h.port) for h in route(config, proxy=proxy).jumps] == hops


def test_proxy_none_means_none(config: Path) -> None:
    config.write_text("Host box\n ProxyJump none\n ProxyCommand none\n")
    found = route(config)
    assert found.jumps == ()
    assert found.target.proxy_command is None


@pytest.mark.parametrize(
    ("text", "proxy", "message"),
    [
        ("Host box\n ProxyJump box2\nHost box2\n ProxyJump box2\n", None, "circle"),
        ("", "not a host", "not understood"),
        ("", "host:port", "not understood"),
        ("Host box\n Port many\n", None, "port"),
        ("Host box\n Port 70000\n", None, "port"),
        ("Nonsense\n", None, "cannot be used"),
        ("Match nonsense\n", None, "cannot be used"),
        ('Host "box\n', None, "cannot be used"),
    ],
)
def test_what_cannot_be_followed_is_a_spec_error(config: Path, text: str, proxy: str | None, message: str) -> None:
    config.write_text(text)
    with pytest.raises(SpecError, match=message) as error:
        route(config, proxy=proxy)
    assert error.value.hint


def test_a_config_that_is_not_there_is_a_spec_error(config: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read") as error:
        route(config.with_name("absent"))
    assert "gpurun sandbox start" in error.value.hint


@pytest.mark.parametrize(
    ("address", "user"), [("$(id)", "u"), ("-oProxyCommand=x", "u"), ("a;b", "u"), ("a", "`id`"), ("a b", "u")]
)
def test_what_a_shell_would_read_is_kept_out_of_a_proxy_command(config: Path, address: str, user: str) -> None:
    config.write_text("ProxyCommand nc %h %p\n")
    with pytest.raises(SpecError, match="no user and host"):
        route(config, address, user)


def test_what_the_config_itself_names_is_held_to_the_same(config: Path) -> None:
    config.write_text("Host box\n HostName $(id)\n ProxyCommand nc %h %p\n")
    with pytest.raises(SpecError, match="no user and host"):
        require_plain(route(config).target)


def test_a_user_without_a_passwd_entry_is_no_obstacle(tmp_path: Path) -> None:
    """paramiko asks getpass.getuser(), which raises KeyError (OSError since 3.13) in many containers."""
    config = tmp_path / "config"
    config.write_text("Match host box\n Port 2201\n")
    code = (
        "import pwd, sys\n"
        "def absent(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = absent\n"
        "from pathlib import Path\n"
        "from launcher.domain import Endpoint\n"
        "from launcher.sync.ssh.ssh_config import resolve\n"
        "e = Endpoint(address='box', user='ubuntu', host_keys=(), config_file=Path(sys.argv[1]))\n"
        "print(resolve(e).target.port)\n"
    )
    kept = {k: v for k, v in os.environ.items() if k not in {"LOGNAME", "USER", "LNAME", "USERNAME"}}
    done = subprocess.run(
        [sys.executable, "-c", code, str(config)], env=kept, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("2201\n", "")


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh")
@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["box", "b*", "!box *", "other", "* !box", "?ox", "BOX"]),
            st.sampled_from(["HostName 192.0.2.9", "Port 2201", "Port=2202", "User x", 'HostName "10.0.0.1"']),
        ),
        max_size=5,
    )
)
def test_hosts_resolve_as_ssh_does(tmp_path_factory: pytest.TempPathFactory, blocks: list) -> None:
    config = tmp_path_factory.mktemp("config") / "config"
    config.write_text("".join(f"Host {patterns}\n  {option}\n" for patterns, option in blocks))
    shown = subprocess.run(
        ["ssh", "-G", "-F", str(config), "-l", "ubuntu", "box"], capture_output=True, text=True, check=True
    ).stdout
    theirs = dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
    target = route(config).target
    assert (target.host, str(target.port)) == (theirs["hostname"], theirs["port"])


@settings(deadline=None, max_examples=40)
@given(st.text(alphabet=string.printable))
def test_no_text_at_all_gives_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    config = tmp_path_factory.mktemp("config") / "config"
    config.write_text(text)
    try:
        assert route(config).target.user
    except SpecError as error:
        assert error.message  # noqa: PT017  # either outcome is right
