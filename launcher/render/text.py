"""Words and figures for people: tables, sizes, ages, the receipt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.domain import PhaseTime, Receipt, SegmentCost

INDENT = 10
"""Below the names of the phases, in columns."""


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be; right-aligned where every cell is a number."""
    cells = [list(row) for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headers, *cells, strict=True)]
    numeric = [bool(cells) and all(_number(row[index]) for row in cells) for index in range(len(headers))]
    return "\n".join(_row(row, widths, numeric) for row in [list(headers), *cells])


def _number(text: str) -> bool:
    return text.replace(".", "", 1).replace("%", "").replace("-", "").strip().isdigit() or text in {"", "-"}


def _row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    aligned = [
        text.rjust(width) if right else text.ljust(width)
        for text, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "  ".join(aligned).rstrip()


def receipt_text(receipt: Receipt, *, log_lines: Sequence[str] = ()) -> str:
    """The end of a run for people: what happened, where things are, what it cost, where the time went."""
    lines = [
        *log_lines,
        f"run       {receipt.run_id}: {receipt.status}"
        + (f", the job exited with {receipt.exit_status}" if receipt.exit_status else ""),
        *_machines(receipt),
        f"results   {_results(receipt)}",
        f"cost      {_cost(receipt)}",
        f"seconds   {_times(receipt.phases)}",
    ]
    if receipt.wasted:
        lines.append(f"wasted    {_times(receipt.wasted)}")
    return "\n".join(lines)


def segments_table(segments: Sequence[SegmentCost]) -> str:
    """One line for each machine of a run: what it was, its price when it was made, what it cost, what ended it."""
    headers = ("#", "type", "market", "zone", "USD/h", "seconds", "USD", "ended by")
    return table(headers, [_segment_cells(each) for each in segments])


def _segment_cells(each: SegmentCost) -> tuple[str, ...]:
    return (
        str(each.number),
        each.instance_type,
        each.market,
        each.zone,
        f"{each.price_usd_per_hour:.4f}",
        str(each.billed_s),
        f"{each.cost_usd:.4f}",
        each.ended_by or ("the run" if each.ended_at else "still there"),
    )


def _machines(receipt: Receipt) -> list[str]:
    if len(receipt.segments) > 1:
        first, *rest = segments_table(receipt.segments).splitlines()
        return [f"machines  {first}", *(" " * INDENT + line for line in rest)]
    if not receipt.instance_type:
        return ["machine   none was made"]
    if receipt.market == "yours":
        return [f"machine   {receipt.instance_type}, yours"]
    return [f"machine   {receipt.instance_type} {receipt.market} in {receipt.zone}: terminated"]


def _cost(receipt: Receipt) -> str:
    """What it cost, of which parts, and what was planned."""
    if receipt.market == "yours":
        return f"nothing, {receipt.billed_s:.0f} s on a machine of your own"
    text = f"{receipt.cost_usd:.4f} USD for {receipt.billed_s:.0f} s"
    if len(receipt.segments) > 1:
        text += f" of {len(receipt.segments)} machines"
    else:
        text += f" at {receipt.price_usd_per_hour:.4f} USD an hour"
    if receipt.estimate_usd is None:
        return f"{text}, disk and address included"
    text += f", disk {receipt.disk_usd:.4f} and address {receipt.address_usd:.4f} included"
    text += f"; planned {receipt.estimate_usd:.4f}"
    return text if receipt.most_usd is None else f"{text}, at most {receipt.most_usd:.2f}"


def _times(times: Sequence[PhaseTime]) -> str:
    parts = "  ".join(f"{each.name} {each.seconds:.1f}" for each in times)
    return f"{parts}  = {sum(each.seconds for each in times):.1f}"


def _results(receipt: Receipt) -> str:
    if not receipt.fetched:
        return "none came home"
    if not receipt.files:
        return f"{receipt.results_dir}: the log; the job wrote nothing to $GPURUN_OUTPUT_DIR"
    return f"{receipt.results_dir}: {receipt.files} files, {size(receipt.size_bytes)}, verified"


def size(size_bytes: int) -> str:
    """Bytes for people, in powers of ten as disks and networks count."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def age(moment: datetime) -> str:
    """How long ago, for people."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
