from pathlib import Path

from launcher.shipments import KEPT, Shipments


def _publish(shipments: Shipments, folder: Path):
    return shipments.publish(folder, segment=1, at_epoch_s=0.0, files=1, size_bytes=1)


def _ship(shipments: Shipments, text: str):
    folder = shipments.begin()
    (folder / "checkpoint" / "state").unlink(missing_ok=True)
    (folder / "checkpoint" / "state").write_text(text)
    return _publish(shipments, folder)


def test_the_newest_is_the_last_that_was_published(tmp_path):
    shipments = Shipments(tmp_path / "home")
    assert shipments.newest() is None
    for text in "abc":
        _ship(shipments, text)
    newest = shipments.newest()
    assert (newest.checkpoint / "state").read_text() == "c"
    assert newest.output.is_dir()


def test_one_that_broke_off_is_never_pointed_at(tmp_path):
    shipments = Shipments(tmp_path / "home")
    _ship(shipments, "a")
    broken = shipments.begin()
    (broken / "checkpoint" / "state").unlink()
    assert (shipments.newest().checkpoint / "state").read_text() == "a"
    assert _ship(shipments, "b").number > int(broken.name)


def test_the_next_begins_with_what_the_last_held_and_never_writes_into_it(tmp_path):
    shipments = Shipments(tmp_path / "home")
    first = _ship(shipments, "a")
    folder = shipments.begin()
    assert (folder / "checkpoint" / "state").read_text() == "a"
    (folder / "checkpoint" / "new").write_text("b")
    (folder / "checkpoint" / "new").replace(folder / "checkpoint" / "state")
    assert (first.checkpoint / "state").read_text() == "a"


def test_the_slower_of_two_does_not_hide_the_newer(tmp_path):
    shipments = Shipments(tmp_path / "home")
    slow = shipments.begin()
    quick = _ship(shipments, "new")
    assert _publish(shipments, slow) == quick
    assert shipments.newest() == quick
    assert not slow.exists()


def test_old_ones_are_removed(tmp_path):
    shipments = Shipments(tmp_path / "home")
    for text in "abcdef":
        _ship(shipments, text)
    assert len([path for path in shipments.home.iterdir() if path.is_dir()]) == KEPT
