"""Where runs stand: the rows of `gpurun status`. Free of typer, so that prompts and scripts get them quickly."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from launcher import render, spending
from launcher.commands import sent, session
from launcher.errors import GpurunError

if TYPE_CHECKING:
    from launcher.domain import SegmentCost
    from launcher.ledger import Ledger, RunRecord
    from launcher.reconcile import Truth


def show(run: str | None, *, as_json: bool, everything: bool) -> int:
    """Print one run, or the newest ones; runs without a launcher are looked up in EC2."""
    with session.ledger() as book:
        records = [book.resolve(run)] if run else book.list(limit=1000 if everything else 20)
        rows = [_row(record, book) for record in records]
        if as_json:
            render.print_json([_json(row) for row in rows], indent=1)
        else:
            sys.stdout.write(_text(rows) + "\n")
            if run is not None:
                sys.stdout.write(_details(rows[0], book) + "\n")
    return 0


def _row(record: RunRecord, book: Ledger) -> dict[str, Any]:
    note, next_command, instances = "", "", []
    if not record.status.final:
        record, truth, trouble = _truth(record, book)
        if truth is not None:
            note, next_command = truth.note, truth.next_command
            instances = [instance.instance_id for instance in truth.instances]
        note = note or trouble
    bills = spending.bills(record, book.segments(record.run_id), datetime.now(UTC))
    return {"record": record, "note": note, "next": next_command, "instances": instances, "bills": bills}


def _truth(record: RunRecord, book: Ledger) -> tuple[RunRecord, Truth | None, str]:
    from launcher import process

    if process.alive(record.launcher_pid, record.launcher_started):
        return record, None, f"attended by process {record.launcher_pid}"
    from launcher import reconcile

    try:
        truth = reconcile.observe(record, session.state(), book.segments(record.run_id))
    except GpurunError as error:
        return record, None, f"EC2 could not be asked: {error.message}"
    return reconcile.settle(record, book, truth), truth, ""


def _json(row: dict[str, Any]) -> dict[str, Any]:
    record: RunRecord = row["record"]
    return {
        "run_id": record.run_id,
        "place": record.place,
        "name": record.name,
        "status": record.status,
        "created_at": record.created_at,
        "ended_at": record.ended_at,
        "deadline_at": record.deadline_at,
        "detached": record.detached,
        "instance_id": record.instance_id,
        "instance_type": record.instance_type,
        "zone": record.zone,
        "market": record.market,
        "price_usd_per_hour": record.price_usd_per_hour,
        "address": record.address,
        "exit_status": record.exit_status,
        "reason": record.reason,
        "results_dir": record.results_dir,
        "segments": row["bills"],
        "cost_usd": spending.total_usd(row["bills"]),
        "instances": row["instances"],
        "note": row["note"],
        "next": row["next"],
    }


def _text(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no runs yet; gpurun launch --sandbox jobs/digits.yaml makes one"
    headers = ("run", "status", "age", "machine", "zone", "exit")
    lines = [render.table(headers, [_cells(row["record"]) for row in rows])]
    for row in rows:
        if row["note"]:
            hint = f"; next: {row['next']}" if row["next"] else ""
            lines.append(f"{row['record'].run_id}: {row['note']}{hint}")
    return "\n".join(lines)


def _cells(record: RunRecord) -> tuple[str, ...]:
    exit_status = "" if record.exit_status is None else str(record.exit_status)
    machine = f"{record.instance_type} {record.market}" if record.instance_type else ""
    return (
        record.run_id,
        record.status.value,
        render.age(record.created_at),
        machine,
        record.zone or "",
        exit_status,
    )


def _details(row: dict[str, Any], book: Ledger) -> str:
    record: RunRecord = row["record"]
    lines = [*_spent(record, row["bills"]), f"results   {record.results_dir}"]
    if where := sent.line(record):
        lines.append(where)
    if record.reason:
        lines.append(f"reason    {record.reason}")
    if record.deadline_at and not record.status.final:
        lines.append(f"deadline  {record.deadline_at:%Y-%m-%d %H:%M:%S} UTC")
    lines += [
        f"{event.at.astimezone():%H:%M:%S}  {event.kind}  {_brief(event.data)}".rstrip()
        for event in book.events(record.run_id)
    ]
    return "\n".join(lines)


def _spent(record: RunRecord, bills: tuple[SegmentCost, ...]) -> list[str]:
    """The run's machines and what they have cost."""
    if not bills:
        return []
    first, *rest = render.segments_table(bills).splitlines()
    limit = spending.max_cost_usd(record)
    return [
        f"machines  {first}",
        *(f"          {line}" for line in rest),
        f"cost      {spending.total_usd(bills):.4f} USD, disk and address included"
        + ("" if record.status.final else ", so far")
        + ("" if limit is None else f"; {limit:.2f} at most"),
    ]


def _brief(data: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in data.items() if key != "at" and value not in (None, "", False))
