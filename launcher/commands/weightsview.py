"""What `gpurun weights` says: each answer as a value for JSON, and as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from launcher import render
from launcher.sync.names import told

if TYPE_CHECKING:
    from launcher.registry.difference import Difference
    from launcher.registry.prune import Pruned
    from launcher.registry.registry import Change, Registry
    from launcher.registry.verify import Verified
    from launcher.registry.version import Version

Said = tuple[object, str]
SHOWN_METRICS = 4
HASH_LENGTH = 12


def chosen(registry: Registry, only: list[str] | None) -> list[str]:
    """The models that are meant; raises `WeightsError` for one that is not there."""
    for name in only or ():
        registry.require_known(name)
    return list(only) if only else registry.names()


def models(registry: Registry) -> Said:
    """Every model and its champion."""
    rows: list[dict[str, Any]] = []
    for name in registry.names():
        log, numbers = registry.trusted(name), registry.numbers(name)
        last = log.entries[-1].at if log.entries else None
        kept = [number for number in numbers if number not in log.pruned]
        rows.append({"name": name, "champion": log.champion, "versions": len(kept), "changed_at": last})
    value = {"store": registry.store.uri, "models": rows}
    if not rows:
        return value, f"{registry.store.uri} has no weights yet; gpurun weights add RUN keeps a run's"
    cells = [(row["name"], _dash(row["champion"]), str(row["versions"]), _when(row["changed_at"])) for row in rows]
    return value, render.table(("name", "champion", "versions", "last change"), cells)


def versions(registry: Registry, name: str) -> Said:
    """A model's versions."""
    registry.require_known(name)
    log = registry.trusted(name)
    rows = [{"stage": log.stage(each.number), **asdict(each)} for each in registry.versions(name)]
    cells = [
        (
            str(row["number"]),
            str(row["stage"].value),
            _when(row["created_at"]),
            told(row["about"]["run_id"]) or "-",
            _dash(row["about"]["parent"]),
            str(row["about"]["code"].get("commit", "-"))[:HASH_LENGTH],
            render.size(sum(file["size_bytes"] for file in row["files"])),
            _metrics(row["about"]["metrics"]),
        )
        for row in rows
    ]
    headers = ("#", "stage", "made", "run", "parent", "commit", "size", "metrics")
    return {"name": name, "champion": log.champion, "versions": rows}, render.table(headers, cells)


def one(registry: Registry, version: Version) -> Said:
    """A version whole."""
    log = registry.trusted(version.name)
    entries, about = log.about(version.number), version.about
    value = {"stage": log.stage(version.number), **asdict(version), "history": [asdict(each) for each in entries]}
    code, data = about.code, about.data
    lines = [
        f"{version}: {log.stage(version.number).value}, made {version.created_at} by {told(version.by)}",
        f"run       {told(about.run_id) or '-'}",
        f"parent    {_dash(about.parent)}",
        f"code      commit {told(str(code.get('commit', 'unknown')))}{', with a patch' if version.diff else ''}",
        f"data      {told(str(data.get('place', '-')))} {data.get('sha256', '')}",
        f"metrics   {_metrics(about.metrics, limit=None)}",
        *(f"note      {told(note)}" for note in about.notes),
        "",
        render.table(
            ("file", "size", "sha256"),
            [(file.name, render.size(file.size_bytes), file.sha256) for file in version.files],
        ),
    ]
    if entries:
        rows = [(str(each.sequence), each.action.value, each.at, told(each.by), told(each.why)) for each in entries]
        lines += ["", render.table(("#", "what", "when", "who", "why"), rows)]
    return value, "\n".join(lines)


def added(registry: Registry, version: Version) -> Said:
    """A new challenger."""
    stage = registry.stage(version)
    text = [f"{version} is kept in {registry.store.uri}: {len(version.files)} files, {render.size(version.size_bytes)}"]
    text += [f"note: {told(note)}" for note in version.about.notes]
    text.append(f"it is a {stage.value}; gpurun weights promote {version} makes it the champion")
    return {"stage": stage, **asdict(version)}, "\n".join(text[: 2 + len(version.about.notes)])


def changed(registry: Registry, change: Change) -> Said:
    """Another champion, or the same."""
    version = change.version
    value = {
        "name": version.name,
        "champion": version.number,
        "before": change.before,
        "changed": change.entry is not None,
        "entry": change.entry,
        "store": registry.store.uri,
    }
    if change.entry is None:
        return value, f"{version} is the champion already"
    before = f"; {version.name}@{change.before} is retired" if change.before else ""
    return value, f"{version} is the champion{before}"


def difference(found: Difference) -> Said:
    """Two versions side by side."""
    blocks = []
    for title, values in (("metrics", found.metrics), ("spec", found.spec), ("pedigree", found.pedigree)):
        rows = [(told(each.name), _cell(each.one), _cell(each.other), _gain(each.one, each.other)) for each in values]
        blocks.append(render.table((title, found.one, found.other, "change"), rows) if rows else f"{title}: the same")
    apart = [each for each in found.arrays if not each.equal]
    rows = [(told(each.name), each.one or "-", each.other or "-", _relative(each.largest_relative)) for each in apart]
    same = len(found.arrays) - len(apart)
    if rows:
        blocks.append(render.table(("array", found.one, found.other, "largest relative difference"), rows))
    blocks.append(f"{same} of {len(found.arrays)} arrays are the same to the bit")
    return found, "\n\n".join(blocks)


def verified(found: Verified) -> Said:
    """All is well, or what is not."""
    lines = [f"{each.about}: {each.problem}\n  next: {each.next_step}" for each in found.findings]
    lines += [f"{name}: its address lagged behind its history, and was put right" for name in found.repointed]
    whole = f"{found.versions} versions are whole, {render.size(found.size_bytes)} read"
    lines.append(whole + (f"; {len(found.findings)} things are not" if found.findings else ""))
    return found, "\n".join(lines)


def pruned(done: Pruned, *, rehearsal: bool, grace_h: float) -> Said:
    """What went."""
    names = ", ".join(f"{name}@{number}" for name, number in done.versions) or "no version"
    text = f"{names}; {done.objects} objects, {render.size(done.size_bytes)}"
    value = {"removed": not rehearsal, **asdict(done)}
    said = f"would remove {text}; --yes removes them" if rehearsal else f"removed {text}"
    if done.waiting:
        said += (
            f"\n{done.waiting} more objects that no version needs are younger than {grace_h:g} h and stay, "
            "for writers that are under way: a prune after that removes them"
        )
    return value, said


def _metrics(metrics: dict[str, Any], limit: int | None = SHOWN_METRICS) -> str:
    numbers = [
        f"{told(name)} {value:.6g}"
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return "  ".join(numbers[:limit]) or "-"


def _cell(value: Any) -> str:
    return "-" if value is None else told(f"{value:.8g}" if isinstance(value, float) else str(value))


def _gain(one: Any, other: Any) -> str:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other))
    return f"{other - one:+.6g}" if numbers else ""


def _relative(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _dash(value: object) -> str:
    return "-" if value is None else str(value)


def _when(text: str | None) -> str:
    return text[:16].replace("T", " ") if text else "-"
