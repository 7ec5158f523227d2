"""What is held against each other: the log, the documents of the versions that it crowned, and the stable address."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.errors import WeightsError
from launcher.registry import version
from launcher.registry.champion import Champion
from launcher.registry.history import Action, key
from launcher.registry.prune import prune
from launcher.registry.registry import Registry
from launcher.registry.store import Store
from launcher.registry.verify import verify
from tests.registry.conftest import NAME
from tests.registry.intruder import lay
from tests.registry.test_log import altered, write


def said_at(store: Store) -> str:
    """The key of what the address says of the log."""
    return f"{NAME}/crowned.json" if hasattr(store, "_root") else f"{NAME}/champion/version.json"


def without_address(store: Store) -> None:
    lay(store, said_at(store), None)
    if hasattr(store, "_root"):
        lay(store, f"{NAME}/champion", None)


def loader(store: Store) -> Champion:
    champion = Champion(NAME, "unused")
    champion._registry = Registry(store)
    return champion


@pytest.fixture
def three(store, add) -> Registry:
    """Versions 1 and 2 were promoted, 3 was not."""
    first = Registry(store)
    for value in (1, 2, 3):
        add(first, value)
    first.promote(NAME, 1)
    first.promote(NAME, 2)
    return Registry(store)


def replaced(store: Store, number: int) -> bytes:
    """Lay version 1's document in another's place; what was there."""
    where = version.key(NAME, number)
    before = store.read(where)
    values = json.loads(store.read(version.key(NAME, 1)))
    lay(store, where, json.dumps({**values, "number": number}).encode())
    return before


def test_a_champion_whose_document_was_replaced_is_believed_by_nobody(three):
    store = three.store
    before = replaced(store, 2)
    readers = (
        lambda: Registry(store).resolve("digits@champion"),
        lambda: Registry(store).resolve("digits@2"),
        lambda: Registry(store).repoint(NAME),
        lambda: Registry(store).promote(NAME, 2),
        lambda: loader(store).read(),
    )
    for read in readers:
        with pytest.raises(
            WeightsError, match=r"digits/versions/2\.json was replaced: the log says sha256 [0-9a-f]{64}"
        ):
            read()
    found = verify(Registry(store), [NAME])
    assert [each.about for each in found.findings] == [f"{NAME}@2", f"{NAME}/champion"]
    assert found.versions == 2
    service = loader(store)
    with pytest.raises(WeightsError, match="was replaced"):
        service.read()
    # The one before is whole, and is returned to; the replaced one is not.
    assert Registry(store).rollback(NAME).version.number == 1
    assert loader(store).read().number == 1
    with pytest.raises(WeightsError, match="was replaced"):
        Registry(store).rollback(NAME, to=2)
    lay(store, version.key(NAME, 2), before)
    assert verify(Registry(store), [NAME]).findings == ()
    assert Registry(store).rollback(NAME, to=2).version.number == 2
    assert service.read().number == 2


def test_notes_and_prunes_keep_what_is_known_of_the_champion(three):
    three.note(NAME, 3, Action.REFUSED, why="worse")
    prune(three, [NAME], keep=0, grace_s=-60)
    assert Registry(three.store).head(NAME) == Registry(three.store).history(NAME).end
    replaced(three.store, 2)
    with pytest.raises(WeightsError, match="was replaced"):
        Registry(three.store).repoint(NAME)


def anonymous(store: Store, count: int) -> None:
    """Entries as they were written before they said which document they crown, and the address of then."""
    import hashlib

    previous = ""
    for sequence in range(1, count + 1):
        values = json.loads(store.read(key(NAME, sequence)))
        del values["state"]["document"]
        values |= {"format": "gpurun history 2", "previous": previous}
        data = json.dumps(values).encode()
        write(store, sequence, data)
        previous = hashlib.sha256(data).hexdigest()
    earlier_address(store)


def earlier_address(store: Store) -> None:
    if hasattr(store, "_root"):
        lay(store, said_at(store), None)
        return
    values = json.loads(store.read(said_at(store)))
    del values["entry"]
    lay(store, said_at(store), json.dumps(values).encode())


def test_a_log_that_says_no_documents_is_read_and_gone_on_with(three):
    store = three.store
    anonymous(store, 2)
    assert verify(Registry(store), [NAME]).findings == ()
    replaced(store, 2)
    assert loader(store).read().number == 2  # nothing is compared
    assert Registry(store).promote(NAME, 3).entry.sequence == 3
    assert json.loads(store.read(key(NAME, 3)))["format"] == "gpurun history 3"
    assert verify(Registry(store), [NAME]).findings == ()
    replaced(store, 3)
    with pytest.raises(WeightsError, match=r"versions/3\.json was replaced"):
        loader(store).read()


@pytest.mark.parametrize("document", [None, 7, "0" * 63, "x" * 64])
def test_a_document_that_is_no_sha256_is_refused(three, document):
    state = {"crowned": 2, "pruned": [], "document": document}
    altered(three.store, 2, state=state)
    with pytest.raises(WeightsError, match=r"00000002\.json is damaged"):
        three.promote(NAME, 3)


def test_a_history_that_was_cut_off_is_a_finding_and_no_repair(three):
    store = three.store
    last = store.read(key(NAME, 2))
    write(store, 2, None)
    gone = r"digits/history/00000002\.json, which digits/champion follows, is missing: the log was cut off at its end"
    acts = (
        lambda: Registry(store).resolve("digits"),
        lambda: Registry(store).rollback(NAME, 1),
        lambda: Registry(store).promote(NAME, 3),
        lambda: Registry(store).promote(NAME, 1),
        lambda: Registry(store).note(NAME, 3, Action.REFUSED, why="worse"),
        lambda: Registry(store).repoint(NAME),
        lambda: prune(Registry(store), [NAME], keep=0),
        lambda: loader(store).read(),
    )
    for act in acts:
        with pytest.raises(WeightsError, match=gone) as error:
            act()
        assert "bring digits/history/00000002.json back from a copy of the store" in error.value.hint
    found = verify(Registry(store), [NAME])
    assert ([each.about for each in found.findings], found.repointed) == ([f"{NAME}/champion"], ())
    assert found.versions == 3
    assert (store.pointed(NAME), store.read(key(NAME, 2))) == (2, None)
    write(store, 2, last)
    assert verify(Registry(store), [NAME]).findings == ()
    assert loader(store).read().number == 2
    # Who has no copy goes on with what is left, and says so by moving the address away.
    write(store, 2, None)
    without_address(store)
    assert verify(Registry(store), [NAME]).findings == ()
    assert store.pointed(NAME) == 1


class Late:
    """A store that does not see one document yet, asked by its name, as NFS remembers what was not there."""

    def __init__(self, store: Store, unseen: str) -> None:
        self._store = store
        self._unseen = unseen

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def read(self, key: str) -> bytes | None:
        return None if key == self._unseen else self._store.read(key)


def test_an_entry_that_a_file_system_shows_late_was_not_cut_off(three):
    service = loader(Late(three.store, key(NAME, 3)))
    assert service.read().number == 2
    three.promote(NAME, 3)
    assert not service.changed()
    assert service.read().number == 3


def test_a_history_that_is_gone_altogether_is_told(three):
    for sequence in (1, 2):
        write(three.store, sequence, None)
    with pytest.raises(WeightsError, match="cut off at its end"):
        three.promote(NAME, 3)
    assert verify(Registry(three.store), [NAME]).findings[0].about == f"{NAME}/champion"


def test_an_address_that_says_no_entry_may_not_lead_where_the_log_never_did(three):
    """As an earlier gpurun left it: in a folder only the link is there."""
    store = three.store
    if hasattr(store, "_root"):
        lay(store, said_at(store), None)
    else:
        values = json.loads(store.read(said_at(store)))
        lay(store, said_at(store), json.dumps({**values, "crowned": None}).encode())
    assert verify(Registry(store), [NAME]).findings == ()
    last = store.read(key(NAME, 2))
    write(store, 2, None)
    if hasattr(store, "_root"):
        lay(store, said_at(store), None)
    else:
        lay(store, said_at(store), json.dumps({**values, "crowned": None}).encode())
    for act in (lambda: three.promote(NAME, 3), lambda: loader(store).read()):
        with pytest.raises(WeightsError, match="leads to digits@2, which the log never made the champion"):
            act()
    assert verify(Registry(store), [NAME]).repointed == ()
    write(store, 2, last)
    assert Registry(store).promote(NAME, 3).entry.sequence == 3


@pytest.mark.parametrize("changes", [{"why": "altered"}, {"by": "eve@laptop"}, {"details": {"error": 0}}])
def test_an_altered_last_promotion_is_told_by_the_address(three, changes):
    before = three.store.read(key(NAME, 2))
    altered(three.store, 2, **changes)
    told = (
        r"00000002\.json, which digits/champion follows, was altered: expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"
    )
    for act in (lambda: three.promote(NAME, 3), lambda: loader(three.store).read()):
        with pytest.raises(WeightsError, match=told):
            act()
    found = verify(Registry(three.store), [NAME])
    assert ([each.about for each in found.findings], found.repointed) == ([f"{NAME}/champion"], ())
    write(three.store, 2, before)
    assert three.promote(NAME, 3).entry.sequence == 3


def test_a_line_that_was_written_anew_behind_the_address_is_told(three):
    """The last promotion, and the note after it, which follows from what it became."""
    store = three.store
    altered(store, 2, why="altered")
    without = Registry(store)
    head = without.head(NAME)
    assert store.create(key(NAME, 3), _note(without, head))
    with pytest.raises(WeightsError, match=r"00000002\.json, which digits/champion follows, was altered"):
        Registry(store).resolve("digits")
    assert verify(Registry(store), [NAME]).findings[0].about == f"{NAME}/champion"


def test_a_note_where_the_address_saw_a_promotion_is_told(three):
    store = three.store
    write(store, 2, None)
    other = Registry(store)
    assert store.create(key(NAME, 2), _note(other, other.head(NAME)))
    for act in (lambda: Registry(store).promote(NAME, 3), lambda: Registry(store).resolve("digits")):
        with pytest.raises(WeightsError, match=r"00000002\.json, .* makes no version the champion: it was altered"):
            act()


def _note(registry: Registry, head) -> bytes:
    from launcher.registry.history import dump

    return dump(registry.entry(head, Action.REFUSED, (3,), why="worse"))


def test_an_address_that_lags_is_put_right_wherever_its_writer_died(three):
    """In a folder: after it said what the link would follow, before it swapped the link."""
    store = three.store
    head = three.head(NAME)
    before = store.read(said_at(store))
    assert three.promote(NAME, 3).entry.sequence == head.sequence + 1
    if hasattr(store, "_root"):
        lay(store, f"{NAME}/champion", None)
        (Path(store.uri) / NAME / "champion").symlink_to("releases/2")
        assert verify(Registry(store), [NAME]).repointed == (NAME,)
        (Path(store.uri) / NAME / "champion").unlink()
        (Path(store.uri) / NAME / "champion").symlink_to("releases/2")
    lay(store, said_at(store), before)
    found = verify(Registry(store), [NAME])
    assert (found.findings, found.repointed) == ((), (NAME,))
    assert (store.pointed(NAME), store.witness(NAME).crowned) == (3, 3)


def test_an_address_after_notes_follows_the_promotion_before_them(three):
    for _ in range(3):
        three.note(NAME, 3, Action.REFUSED, why="worse")
    without_address(three.store)
    fresh = Registry(three.store)
    assert fresh.repoint(NAME) == 2
    witness = three.store.witness(NAME)
    assert (witness.number, witness.crowned, witness.entry) == (2, 2, fresh.history(NAME).sha256(2))
    assert verify(Registry(three.store), [NAME]).findings == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"crowned": true}', b'{"crowned": -1, "entry": 3}'])
def test_an_address_that_says_nothing_is_written_again(three, content):
    lay(three.store, said_at(three.store), content)
    assert verify(Registry(three.store), [NAME]).findings == ()
    assert (three.store.pointed(NAME), three.store.witness(NAME).crowned) == (2, 2)
