"""What `gpurun ami` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.aws.baked import BakedImage

SHOWN = ("python", "tensorflow", "keras", "packages", "prefix", "base", "recipe", "created", "bake")


def rows(images: Sequence[BakedImage]) -> str:
    """A table, or what to do next."""
    if not images:
        return "no image of ours in this region; gpurun ami bake makes one\n"
    head = ("name", "image", "state", "made", "size", "arch", "tensorflow", "recipe")
    lines = [
        (
            each.name or "(not ready)",
            each.image_id,
            each.state,
            each.created_at[:16],
            f"{each.size_gib} GiB",
            each.architecture,
            each.tags.get("gpurun:tensorflow", "-"),
            each.tags.get("gpurun:recipe", "-")[:8],
        )
        for each in images
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in (head, *lines)
    )


def one(image: BakedImage, shared: Sequence[str]) -> str:
    """All that its tags tell."""
    facts = {
        "image": image.image_id,
        "name": image.name or "none: it never became ready",
        "region": image.region,
        "state": image.state,
        "size": f"{image.size_gib} GiB, {image.architecture}",
        "snapshots": ", ".join(image.snapshot_ids),
        **{key: image.tags[f"gpurun:{key}"] for key in SHOWN if image.tags.get(f"gpurun:{key}")},
        "shared with": ", ".join(shared) or "nobody",
    }
    width = max(map(len, facts)) + 2
    return "".join(f"{key:<{width}}{value}\n" for key, value in facts.items())


def in_use(used: Mapping[str, str]) -> str:
    """Which older images stay, and for whom."""
    return "".join(f"{image} stays: {user} uses it\n" for image, user in used.items())


def pruned(old: Sequence[BakedImage], name: str, keep: int, *, acted: bool) -> str:
    """What went, or would."""
    if not old:
        return f"nothing to remove: no more than {keep} of {name}\n"
    verb = "removed" if acted else "would remove"
    told = "".join(f"{verb} {each.image_id} of {each.created_at[:16]}\n" for each in old)
    return told if acted else told + f"next: gpurun ami prune {name} --keep {keep} --yes\n"
