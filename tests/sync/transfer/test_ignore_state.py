"""What must never leave the laptop, whoever launches from where."""

from pathlib import Path

from launcher.sync.local import ignore, tree


def _names(root: Path, rules: ignore.Rules) -> list[str]:
    return [item.name for item in tree.scan(root, ignore=rules).items]


def test_the_state_folder_never_goes_up_not_even_as_data(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key = tmp_path / "state" / "gpurun" / "runs" / "r" / "key"
    key.parent.mkdir(parents=True)
    key.write_text("private")
    (tmp_path / "gpurun").mkdir()
    (tmp_path / "gpurun" / "train.py").write_text("")
    for rules in (ignore.rules(tmp_path), ignore.nothing()):
        assert _names(tmp_path, rules) == ["gpurun", "gpurun/train.py", "state"]


def test_keys_and_credentials_never_go_up_as_code(tmp_path: Path):
    for name in (".ssh/id_ed25519", ".aws/credentials", ".gnupg/secring", "train.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert _names(tmp_path, ignore.rules(tmp_path)) == ["train.py"]
