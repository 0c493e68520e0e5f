"""What runs, as a person reads it and as a program does: state, address, process, memory, time."""

from dataclasses import asdict
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
from rich.table import Table

from deploy.local.processes import start_mark
from deploy.local.state import PartRecord, StackRecord

MEGABYTE = 1 << 20
TEXTS, FIGURES = ("part", "state", "address"), ("pid", "RSS MB", "PSS MB", "ready after", "starts")
COLOURS = {"ready": "green", "external": "green", "failed": "red", "restarting": "yellow"}


def memory_mb(pid: int, mark: str, children: bool = True) -> tuple[float, float] | None:
    """Resident and proportional memory of a process, with its children, in MB; None when it does not run.

    Proportional (PSS) counts a page that n processes share as 1/n: only these figures may be added up.
    """
    if not pid or start_mark(pid) != mark:
        return None
    resident = proportional = 0
    try:
        leader = psutil.Process(pid)
        for process in (leader, *(leader.children(recursive=True) if children else ())):
            full = process.memory_full_info()
            resident += full.rss
            proportional += getattr(full, "pss", full.uss)
    except psutil.Error:
        return None
    return resident / MEGABYTE, proportional / MEGABYTE


def rows(record: StackRecord) -> list[dict[str, object]]:
    """One row a process, the supervisor's last."""
    own = PartRecord("supervisor", "", record.phase, record.supervisor_pid, record.supervisor_mark)
    result = []
    for part in (*record.parts, own):
        memory = memory_mb(part.pid, part.start_mark, children=part is not own)
        row: dict[str, object] = {
            key: value for key, value in asdict(part).items() if key not in ("start_mark", "stop_signal")
        }
        row["rss_mb"], row["pss_mb"] = (round(memory[0], 1), round(memory[1], 1)) if memory else (None, None)
        result.append(row)
    return result


def as_json(record: StackRecord) -> dict[str, object]:
    """The record for programs, without the password in `DATABASE_URL`."""
    return {
        "phase": record.phase,
        "problem": record.problem,
        "parts": rows(record),
        "addresses": {name: without_password(value) for name, value in record.addresses.items()},
    }


def without_password(address: str) -> str:
    """The address with `***` for its password, if it has one."""
    password = urlsplit(address).password if "://" in address else None
    return address.replace(f":{password}@", ":***@") if password else address


def as_table(record: StackRecord) -> Table:
    """The record for people. `since start` counts from the supervisor's start, waiting included."""
    table = Table(title=None, header_style="bold", box=None, pad_edge=False)
    for name in TEXTS:
        table.add_column(name, no_wrap=True)
    for name in FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    total = 0.0
    for row in rows(record):
        pss, after, state = row["pss_mb"], row["ready_after_s"], str(row["state"])
        total += float(str(pss)) if pss is not None else 0.0
        table.add_row(
            str(row["name"]),
            f"[{COLOURS.get(state, 'default')}]{state}[/]",
            str(row["address"]),
            str(row["pid"] or ""),
            "" if row["rss_mb"] is None else f"{row['rss_mb']:.0f}",
            "" if pss is None else f"{pss:.0f}",
            "" if after is None else f"{after:.1f} s",
            str(row["starts"] or ""),
        )
    table.add_row("[bold]together[/]", "", "", "", "", f"[bold]{total:.0f}[/]", "", "")
    return table
