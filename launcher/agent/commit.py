"""Decides an update: what the stage holds and the laptop orders comes to what the laptop has, and can be done."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from .files import at_home, below, is_folder, write_atomically
from .job import job_runs_in
from .place import Place, set_mtime, sole
from .record import contents_digest, line_of, state_digest
from .settle import finish, put_link
from .wire import Json, Refusal, Wire

if TYPE_CHECKING:
    from collections.abc import Collection

PATH_BYTES = 4096
"""With the zero that ends it; PATH_MAX and NAME_MAX of Linux."""
NAME_BYTES = 255


def commit(_wire: Wire, request: Json) -> Json:
    """Put everything in place, if it comes to what the laptop has: `expect` is the digest of all its lines.

    Beside the staged files: `delete` names, `folders` [name, mode], `links` [name, target], and `meta` [name, mtime_ns,
    mode] of files whose content stays. What the job wrote there itself is left alone.
    """
    place = Place(at_home(request["root"]))
    with sole(place):
        finish(place)
        if job_runs_in(place.root):
            raise Refusal("the job is running in the folder that would change under it")
        place.open_stage()
        journal, items = journal_of(place, request)
        if contents_digest(items) != request["expect"]:
            return {"committed": False}
        check_ways(place, journal, items)
        check_paths(place, journal)
        digest = state_digest(line_of(item) for item in items)
        write_atomically(place.new_record, json.dumps({"digest": digest, "items": items}))
        write_atomically(place.journal, json.dumps(journal))
        finish(place)
    return {"committed": True}


def journal_of(place: Place, request: Json) -> tuple[Json, list[Json]]:
    """All that is to be done, and the record's lines as they will be."""
    items = {item[0]: item for item in place.items()}
    for name in request["delete"]:
        items.pop(name, None)
    rows = place.staged_rows()
    if "files" in request:
        wanted = set(request["files"])
        rows = {name: row for name, row in rows.items() if name in wanted}
        keep_only(place.tree, rows)
    items.update(rows)
    for name, mode in request["folders"]:
        items[name] = [name, "d", 0, 0, mode, "", ""]
    for name, target in request["links"]:
        items[name] = [name, "l", 0, 0, 0, target, ""]
    if request["meta"]:
        probe = os.open(f"{place.parts}/time", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for name, mtime_ns, mode in request["meta"]:
                if name in items:
                    items[name] = [*items[name][:3], mtime_ns, mode, *items[name][5:7], *set_mtime(probe, mtime_ns)]
        finally:
            os.close(probe)
    whole = {key: request[key] for key in ("delete", "folders", "links", "meta")}
    return dict(whole, files=sorted(rows)), [items[name] for name in sorted(items)]


def keep_only(tree: str, names: Collection[str]) -> None:
    """Remove what else earlier transfers have left, and the folders that are empty then."""
    for folder, _, files in os.walk(tree, topdown=False):
        for file in files:
            path = f"{folder}/{file}"
            if path[len(tree) + 1 :] not in names:
                os.unlink(path)
        if folder != tree:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def check_ways(place: Place, journal: Json, items: list[Json]) -> None:
    """Refuse what could not be finished: a folder of the job's in a file's place, or a link of its in the way."""
    gone = set(journal["delete"])
    for name in [*journal["files"], *(link[0] for link in journal["links"])]:
        path = below(place.root, name)
        if os.path.isdir(path) and not os.path.islink(path) and name not in gone:
            raise Refusal(f"{name} is a folder there, which the job made: a file cannot take its place")
        below_it = [other for other in os.listdir(path) if f"{name}/{other}" not in gone] if is_folder(path) else []
        if below_it:
            raise Refusal(f"{name} is a folder there that holds what the job wrote: a file cannot take its place")
    new = {folder[0] for folder in journal["folders"]}
    for folder in new | {item[0].rpartition("/")[0] for item in items if "/" in item[0]}:
        path = f"{place.root}/{folder}"
        if os.path.lexists(path) and not is_folder(path) and folder not in gone:
            raise Refusal(f"{folder} is no folder there: the job put something else in its place")


def check_paths(place: Place, journal: Json) -> None:
    """Refuse what the disk would: paths too long, folders that cannot be written to, or that lie on another disk."""
    links = journal["links"]
    named = [row[0] for key in ("folders", "links", "meta") for row in journal[key]]
    looked: set[str] = set()
    device = os.stat(place.stage).st_dev
    for name in [*journal["files"], *journal["delete"], *named]:
        path = below(place.root, name)
        require_short(path)
        folder = path.rpartition("/")[0]
        while folder not in looked and not os.path.lexists(folder):
            looked.add(folder)
            folder = folder.rpartition("/")[0]
        if folder in looked:
            continue
        looked.add(folder)
        if is_folder(folder) and not os.access(folder, os.W_OK | os.X_OK):
            raise Refusal(f"{folder} cannot be written to: chmod u+rwx it, or delete it")
        if is_folder(folder) and folder.startswith(place.root) and os.stat(folder).st_dev != device:
            raise Refusal(f"{folder} lies on another disk than {place.stage}: nothing can be moved there")
    for name, target in links:
        if not target or "\0" in target:
            raise Refusal(f"{name} is a link to {target!r}, which is no path")
    if links:
        name, target = max(links, key=lambda link: len(os.fsencode(link[1])))
        try:
            put_link(place, f"{place.tree}.link", target)  # how long one may be is the file system's
        except OSError as error:
            raise Refusal(f"{name} cannot be linked to {target}: {error.strerror}") from None


def require_short(path: str) -> None:
    """Refuse a path that no file system takes."""
    encoded = os.fsencode(path)
    if len(encoded) >= PATH_BYTES or max(map(len, encoded.split(b"/"))) > NAME_BYTES:
        raise Refusal(f"{path} is too long for the machine's disk")
