from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from launcher.sync.local import ignore, tree
from launcher.sync.local.private_keys import WHY, without_private_keys

FORMATS = serialization.PrivateFormat
PEM = serialization.Encoding.PEM


def key(form: FORMATS) -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, form, serialization.NoEncryption())


def look(root: Path) -> tuple[set[str], dict[str, str]]:
    found = without_private_keys(tree.scan(root, ignore=ignore.rules(root)))
    return {item.name for item in found.items}, dict(found.skipped)


@pytest.mark.parametrize("name", ["id_ed25519", "id_x.bak", "aws.pem", "server.key", "deploy", ".deploy"])
@pytest.mark.parametrize("form", [FORMATS.OpenSSH, FORMATS.PKCS8])
def test_a_private_key_stays_and_is_told(tmp_path: Path, name: str, form: FORMATS) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / name).write_bytes(key(form))
    (tmp_path / "train.py").write_text("x")
    assert look(tmp_path) == ({"sub", "train.py"}, {f"sub/{name}": WHY})


def test_certificates_before_the_key_do_not_hide_it(tmp_path: Path) -> None:
    certificate = b"-----BEGIN CERTIFICATE-----\n" + b"A" * 400 + b"\n-----END CERTIFICATE-----\n"
    (tmp_path / "both.pem").write_bytes(b"Bag Attributes\n" + certificate + key(FORMATS.PKCS8))
    (tmp_path / "ca.pem").write_bytes(certificate)
    (tmp_path / "putty.ppk").write_bytes(b"PuTTY-User-Key-File-3: ssh-ed25519\n" + b"x" * 100)
    assert look(tmp_path) == ({"ca.pem"}, {"both.pem": WHY, "putty.ppk": WHY})


def test_what_only_speaks_of_keys_goes_up(tmp_path: Path) -> None:
    text = b"How to make one:\n" + key(FORMATS.PKCS8)
    for name in ("README", "README.md", "train.py"):
        (tmp_path / name).write_bytes(text)
    (tmp_path / "id_rsa.pub").write_bytes(b"ssh-rsa " + b"A" * 200)
    (tmp_path / "weights").write_bytes(key(FORMATS.PKCS8) + bytes(1 << 15))
    assert look(tmp_path) == ({"README", "README.md", "train.py", "id_rsa.pub", "weights"}, {})


def test_only_small_files_called_so_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "b.npz", "c.txt", "empty"):
        (tmp_path / name).write_bytes(b"" if name == "empty" else key(FORMATS.PKCS8))
    (tmp_path / "large.pem").write_bytes(key(FORMATS.PKCS8) + bytes(1 << 15))
    (tmp_path / "likely.pem").write_bytes(bytes(100))
    opened: list[str] = []
    really = Path.open

    def note(self: Path, *arguments: object, **options: object) -> object:
        opened.append(self.name)
        return really(self, *arguments, **options)

    scanned = tree.scan(tmp_path, ignore=ignore.rules(tmp_path))
    monkeypatch.setattr(Path, "open", note)
    assert without_private_keys(scanned) is scanned
    assert opened == ["likely.pem"]
