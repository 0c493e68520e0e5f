"""What an audit says, for people and for programs."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal

from libs.common.errors import TrimtabError
from services.metrics.audit.check import Audit
from services.metrics.audit.numbers import Between, Difference, Expected
from services.metrics.audit.reading import Offsets
from services.metrics.audit.retention import as_time

EXIT_EQUAL = 0
EXIT_DIFFERS = 1
EXIT_CANNOT = 2
MAX_SHOWN = 50
"""Differences in a text; JSON has them all."""


def exit_code(audit: Audit) -> int:
    """Return 1 when a number differs; else 2 when there are partitions with records that nothing published
    covers, 0 when every number is equal."""
    if not audit.equal:
        return EXIT_DIFFERS
    return EXIT_CANNOT if audit.uncovered else EXIT_EQUAL


def as_text(audit: Audit) -> str:
    """Return what a person reads: what was covered, then the verdict, then the differences as a table."""
    experiment = audit.experiment
    lines = [
        f"experiment  {experiment.experiment_id}, revision {experiment.revision}, {experiment.state.value}",
        f"rows cover  {_covered(audit.offsets)}",
    ]
    if audit.result.offsets is None:
        lines.append(f"result      not compared: {audit.result.why_not}")
    else:
        lines.append(f"result at   {_covered(audit.result.offsets)}")
    lines.append(f"read        {_read(audit)}")
    lines += [
        f"log         {each} begins with a record of {as_time(at_ms)}: nothing of this experiment is missing"
        for each, at_ms in sorted(audit.cut.items())
    ]
    lines += [
        f"partition {partition}: nothing published, {records} records in the log not covered"
        for partition, records in audit.uncovered.items()
    ]
    numbers, differences = audit.compared.numbers, audit.compared.differences
    if audit.equal and audit.uncovered:
        lines.append(f"cannot say: {numbers} numbers are equal to the last digit, and not all is covered")
        lines.append(
            "next: start python -m services.metrics ingest, wait until it has published these partitions, "
            "and audit again"
        )
        return "\n".join(lines)
    if audit.equal:
        return "\n".join([*lines, f"equal to the last digit: {numbers} numbers"])
    lines.append(f"DIFFERENT: {len(differences)} of {numbers} numbers")
    lines += _table(differences[:MAX_SHOWN])
    if len(differences) > MAX_SHOWN:
        lines.append(f"and {len(differences) - MAX_SHOWN} more: --json has them all")
    lines.append(
        "next: audit again, should a definition have changed just now; where it stays, keep the database and "
        "the log as evidence, then rebuild ingest's state from the log"
    )
    return "\n".join(lines)


def as_json(audit: Audit) -> str:
    """Return one JSON object; a whole number is exact, whatever its length."""
    result = audit.result
    return json.dumps(
        {
            "experiment_id": audit.experiment.experiment_id,
            "revision": audit.experiment.revision,
            "equal": None if audit.equal and audit.uncovered else audit.equal,
            "numbers": audit.compared.numbers,
            "offsets": _offsets(audit.offsets),
            "uncovered": {str(partition): records for partition, records in audit.uncovered.items()},
            "log_begins_ms": _offsets(audit.cut),
            "read": dict(sorted(audit.read.items())),
            "left_out": dict(sorted(audit.left_out.items())),
            "result": {
                "compared": result.offsets is not None,
                "why_not": result.why_not,
                "offsets": _offsets(result.offsets or {}),
            },
            "differences": [
                {
                    "where": list(each.where),
                    "published": _plain(each.published),
                    "recomputed": _plain(each.recomputed),
                }
                for each in audit.compared.differences
            ],
        },
        indent=1,
    )


def problem_as_text(error: TrimtabError) -> str:
    """Return why there is no audit, and what to do next."""
    return f"cannot audit: {error.message}" + (f"\nnext: {error.next_step}" if error.next_step else "")


def problem_as_json(error: TrimtabError) -> str:
    """Return the same for a program; `equal` is null."""
    return json.dumps({"equal": None, "problem": error.message, "next_step": error.next_step}, indent=1)


def _offsets(offsets: Offsets) -> dict[str, int]:
    return {str(each): offset for each, offset in sorted(offsets.items())}


def _covered(offsets: Offsets) -> str:
    return ", ".join(f"{each} to {offset}" for each, offset in _offsets(offsets).items())


def _read(audit: Audit) -> str:
    return ", ".join(
        f"{count} {topic} ({audit.left_out.get(topic, 0)} poison, skipped)"
        for topic, count in sorted(audit.read.items())
    )


def _table(differences: Sequence[Difference]) -> Iterable[str]:
    rows = [("where", "published", "recomputed")]
    rows += [
        (" / ".join(filter(None, each.where)), _shown(each.published), _shown(each.recomputed))
        for each in differences
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for where, published, recomputed in rows:
        yield f"  {where:<{widths[0]}}  {published:>{widths[1]}}  {recomputed:>{widths[2]}}"


def _shown(number: Expected) -> str:
    if isinstance(number, Between):
        return f"{number.low} to {number.high}"
    return "none" if number is None else f"{number:f}" if isinstance(number, Decimal) else str(number)


def _plain(number: Expected) -> int | float | str | dict[str, int] | None:
    if isinstance(number, Between):
        return {"from": number.low, "to": number.high}
    return f"{number:f}" if isinstance(number, Decimal) else number
