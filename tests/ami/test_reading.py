"""A recipe's folder, read: whose script is whose, and what the digest is of."""

from pathlib import Path

import pytest

import launcher
from launcher.bake import recipe
from launcher.errors import SpecError

OWN = Path(launcher.__file__).parents[1] / "ami"


def test_a_folder_of_versions_alone_has_gpuruns_scripts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = recipe.read()
    assert own.folder == OWN
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/versions.env").write_bytes(own.files["versions.env"])
    mine = recipe.read(Path("mine"))
    assert (mine.files, mine.digest) == (own.files, own.digest)
    (tmp_path / "mine/extra-1.0-py3-none-any.whl").write_bytes(b"wheel")
    (tmp_path / "mine/notes.txt").write_bytes(b"not of it")
    more = recipe.read(Path("mine"))
    assert list(more.files) == [*recipe.FILES, "extra-1.0-py3-none-any.whl"]
    assert more.digest != own.digest


def test_gpuruns_own_are_known_by_name_where_no_such_folder_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe.read(Path("sandbox")).folder == OWN / "sandbox"
    with pytest.raises(SpecError, match=r"no recipe in nowhere, .*versions\.env") as raised:
        recipe.read(Path("nowhere"))
    assert str(OWN / "versions.env") in raised.value.hint
