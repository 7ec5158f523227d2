import contextlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import SpecError
from launcher.sync.ssh import keys
from launcher.sync.ssh.key_formats import WrongPassphrase, load, parse
from launcher.sync.ssh.keys import fingerprint, generate, host_key_of, inspect, write_private

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")

PEM = serialization.Encoding.PEM
CLEAR = serialization.NoEncryption()
WHOLE = generate("whole").private_pem


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(keys, "can_ask", lambda: False)


def put(path: Path, data: bytes | str, mode: int = 0o400) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    return path


def refused(path: Path) -> SpecError:
    with pytest.raises(SpecError) as caught:
        inspect(path)
    return caught.value


# -- made by us


@needs_ssh_keygen
def test_openssh_reads_a_generated_key_and_derives_the_same_public_line(tmp_path: Path) -> None:
    key = generate("gpurun run-1")
    path = put(tmp_path / "key", key.private_pem)
    derived = subprocess.check_output(["ssh-keygen", "-y", "-f", str(path)], text=True)
    assert key.public_line.split()[:2] == derived.split()[:2]
    assert key.public_line.endswith("gpurun run-1")


def test_a_comment_cannot_add_a_line() -> None:
    assert "\n" not in generate("a\nssh-rsa AAAA evil").public_line


@needs_ssh_keygen
def test_a_fingerprint_is_what_openssh_prints(tmp_path: Path) -> None:
    key = generate("x")
    path = put(tmp_path / "key.pub", key.public_line + "\n")
    printed = subprocess.check_output(["ssh-keygen", "-lf", str(path)], text=True)
    assert fingerprint(host_key_of(key.public_line)) in printed


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_text_that_is_no_public_key_is_refused_as_such(text: str) -> None:
    with pytest.raises(SpecError):
        host_key_of(text)


def test_a_public_key_of_another_kind_than_it_says_is_refused() -> None:
    blob = generate("x").public_line.split()[1]
    with pytest.raises(SpecError):
        host_key_of(f"ssh-rsa {blob}")


def test_a_private_file_is_for_its_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run" / "key"
    write_private(path, "old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "new \ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.name != "home"] == ["key"]


# -- permissions, owner, place


def test_a_good_key_passes_without_a_word(tmp_path: Path) -> None:
    key = generate("mine")
    found = inspect(put(tmp_path / "key", key.private_pem))
    assert found.public_line == " ".join(key.public_line.split()[:2])
    assert (found.encrypted, found.notes) == (False, ())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o777, 0o000])
def test_permissions_are_repaired_to_0400_and_said(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "key", WHOLE, mode)
    found = inspect(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert f"{mode:04o}" in found.notes[0]
    assert "made 0400" in found.notes[0]


def test_without_repair_nothing_changes_and_the_command_is_said(tmp_path: Path) -> None:
    path = put(tmp_path / "my key", WHOLE, 0o644)
    assert f"chmod 400 '{path}'" in inspect(path, repair=False).notes[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_file_system_that_refuses_chmod_gets_the_copy_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "key", WHOLE, 0o644)

    def read_only(self: Path, mode: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "chmod", read_only)
    error = refused(path)
    assert "Read-only file system" in error.message
    assert f"install -D -m 400 {path} " in error.hint


def test_a_file_system_that_ignores_chmod_gets_the_copy_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "key", WHOLE, 0o755)
    monkeypatch.setattr(Path, "chmod", lambda self, mode: None)
    error = refused(path)
    assert "keeps no permissions" in error.message
    assert "install -D -m 400" in error.hint


def test_a_key_of_another_user_is_refused_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "key", WHOLE)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    error = refused(path)
    assert "belongs to another user" in error.message
    assert f"sudo chown {os.geteuid()} {path}" in error.hint


def test_a_missing_key_names_the_same_file_elsewhere(tmp_path: Path) -> None:
    downloads = tmp_path / "home" / "Downloads"
    downloads.mkdir()
    put(downloads / "aws.pem", WHOLE)
    error = refused(tmp_path / "home" / ".ssh" / "aws.pem")
    assert error.hint == f"use {downloads / 'aws.pem'}"


def test_a_missing_key_names_a_slip_of_the_pen(tmp_path: Path) -> None:
    put(tmp_path / "gpu_key.pem", WHOLE)
    assert str(tmp_path / "gpu_key.pem") in refused(tmp_path / "gpu-key.pem").message


def test_a_missing_key_with_nothing_near_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "ssh.key" in refused(tmp_path / "empty" / "zzz").hint


def test_a_folder_is_refused_and_the_key_in_it_named(tmp_path: Path) -> None:
    put(tmp_path / "mine.pem", WHOLE)
    error = refused(tmp_path)
    assert "folder" in error.message
    assert "mine.pem" in error.hint


def test_a_device_is_no_key() -> None:
    with pytest.raises(SpecError, match="regular file"):
        inspect(Path("/dev/null"))


# -- formats


@pytest.mark.parametrize(
    ("spoil", "note"),
    [
        (lambda text: text.replace("\n", "\r\n").encode(), "sed -i"),
        (lambda text: text.rstrip("\n").encode(), "echo >>"),
        (lambda text: b"\xef\xbb\xbf" + text.encode(), "dos2unix"),
        (lambda text: text.encode("utf-16"), "dos2unix"),
    ],
    ids=["windows line ends", "no final newline", "byte order mark", "utf-16"],
)
def test_harmless_damage_is_read_as_meant_and_said(tmp_path: Path, spoil: object, note: str) -> None:
    path = put(tmp_path / "key", spoil(WHOLE))  # type: ignore[operator]
    before = path.read_bytes()
    found = inspect(path)
    assert found.public_line == inspect(put(tmp_path / "good", WHOLE)).public_line
    assert note in found.notes[0]
    assert path.read_bytes() == before
    assert load(path).get_base64() in (found.public_line or "")


@pytest.mark.parametrize("margin", ["  ", "\t"])
def test_margins_are_cut(tmp_path: Path, margin: str) -> None:
    text = "".join(f"{margin}{line}\n" for line in WHOLE.splitlines())
    assert inspect(put(tmp_path / "key", text)).public_line


@pytest.mark.parametrize(
    "private",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["rsa", "ecdsa"],
)
@pytest.mark.parametrize("form", ["TraditionalOpenSSL", "PKCS8", "OpenSSH"])
def test_the_formats_of_other_tools_are_understood(tmp_path: Path, private: object, form: str) -> None:
    pem = private.private_bytes(PEM, getattr(serialization.PrivateFormat, form), CLEAR)  # type: ignore[attr-defined]
    path = put(tmp_path / "key", pem)
    signer = load(path)
    assert signer.can_sign()
    assert (inspect(path).public_line or "").split()[1] == signer.get_base64()


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "empty", "copy it again"),
        (b"\n \n", "empty", "copy it again"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTY", "puttygen {p} -O private-openssh"),
        pytest.param(generate("x").public_line.encode(), "public key", "without .pub", id="public-line"),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "public key", ""),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "public key", ""),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate", "private key"),
        (b"\x30\x82\x01\x02\x00", "DER", "openssl pkey -inform DER -in {p}"),
        (b"hello, I am a letter\n", "not a private key", ".pem"),
        (os.urandom(3000).replace(b"\x30", b"\x31"), "not a private key", ".pem"),
        (WHOLE[:200].encode(), "cut short", "copy it again"),
        (("".join(WHOLE.splitlines(True)[:3] + WHOLE.splitlines(True)[-1:])).encode(), "damaged", "ssh-keygen -y"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n!!!\n-----END RSA PRIVATE KEY-----\n", "damaged", "ssh-keygen -y"),
    ],
)
def test_what_is_no_key_is_named_for_what_it_is(tmp_path: Path, data: bytes, message: str, hint: str) -> None:
    path = put(tmp_path / "thing", data)
    error = refused(path)
    assert message in error.message
    assert hint.format(p=path) in error.hint


def test_a_public_key_beside_its_private_one_points_there(tmp_path: Path) -> None:
    key = generate("x")
    put(tmp_path / "mine", key.private_pem)
    path = put(tmp_path / "mine.pub", key.public_line)
    assert refused(path).hint == f"use {tmp_path / 'mine'}"


def test_a_dsa_key_is_refused_as_one_that_servers_no_longer_accept(tmp_path: Path) -> None:
    private = dsa.generate_private_key(1024)
    pem = private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, CLEAR)
    assert "no longer accept" in refused(put(tmp_path / "key", pem)).message


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(WHOLE) - 1), st.characters(codec="utf-8"))
def test_any_damage_is_a_spec_error_or_no_damage(at: int, character: str) -> None:
    for text in (WHOLE[:at], WHOLE[:at] + character + WHOLE[at + 1 :]):
        with contextlib.suppress(SpecError):
            assert parse(Path("key"), text.encode()).public_line


# -- passphrases


def locked(path: Path, passphrase: bytes, form: str = "OpenSSH") -> Path:
    private = ec.generate_private_key(ec.SECP256R1())
    cipher = serialization.BestAvailableEncryption(passphrase)
    return put(path, private.private_bytes(PEM, getattr(serialization.PrivateFormat, form), cipher))


@pytest.mark.parametrize("form", ["OpenSSH", "PKCS8", "TraditionalOpenSSL"])
def test_a_locked_key_without_agent_or_terminal_gets_the_ssh_add_command(tmp_path: Path, form: str) -> None:
    path = locked(tmp_path / "key", b"secret", form)
    error = refused(path)
    assert "passphrase" in error.message
    assert error.hint == f"ssh-add {path}"


def test_a_locked_key_may_be_asked_for_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "can_ask", lambda: True)
    found = inspect(locked(tmp_path / "key", b"secret"))
    assert found.encrypted
    assert "will be asked for" in found.notes[0]


def test_a_locked_key_in_the_agent_needs_no_question(
    tmp_path: Path, ssh_agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_agent))
    path = locked(tmp_path / "key", b"secret")
    askpass = put(tmp_path / "askpass", "#!/bin/sh\necho secret\n", 0o700)
    environment = {**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", str(path)], env=environment, check=True)
    found = inspect(path)
    assert found.encrypted
    assert found.notes == ()


def test_the_passphrase_opens_the_key_and_a_wrong_one_is_told_apart(tmp_path: Path) -> None:
    path = locked(tmp_path / "key", b"secret")
    assert load(path, "secret").can_sign()
    with pytest.raises(WrongPassphrase):
        load(path, "wrong")


def test_a_process_knows_whether_it_has_a_terminal() -> None:
    code = "import sys; from launcher.sync.ssh.keys import can_ask; sys.exit(10 + can_ask())"
    alone = subprocess.run([sys.executable, "-c", code], start_new_session=True, check=False)
    assert alone.returncode == 10
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    on_terminal = subprocess.run(
        [sys.executable, "-c", spawn, sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=False
    )
    assert on_terminal.returncode == 11
