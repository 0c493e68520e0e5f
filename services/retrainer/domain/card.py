"""The model card: what a version is, where it comes from, how good it was, in one page of Markdown."""

from services.retrainer.domain.report import TrainingOrder, TrainingReport


def write_card(order: TrainingOrder, report: TrainingReport) -> str:
    """Return the card of a trained candidate."""
    rows = [f"| {name} | {value:.4f} |" for name, value in sorted(report.all_scores().items())]
    parameters = [f"- {name}: {value}" for name, value in sorted(report.parameters.items())]
    notes = [f"- {note}" for note in report.notes] or ["- none"]
    lines = [
        f"# {order.model}: candidate of retraining {order.retraining_id}",
        "",
        f"A {report.trainer}: {len(report.classes)} classes from {len(report.features)} features.",
        "",
        "## Why it exists",
        "",
        f"Cause: {order.cause}. {order.reason}",
        "",
        "## Data",
        "",
        f"- {report.examples} labelled production examples: trained on the earlier {report.trained_on}, "
        f"held out the later {report.held_out}",
        f"- from {report.first_ms} to {report.last_ms} ms since 1970-01-01T00:00:00Z, "
        f"held out from {report.split_ms} on",
        f"- SHA-256 of the examples: {report.data_hash}",
        "",
        "## Scores on the held-out later examples",
        "",
        f"Against champion: {_against(report)}",
        "",
        "| score | value |",
        "|---|---|",
        *rows,
        "",
        "## Parameters",
        "",
        *parameters,
        "",
        "## Notes",
        "",
        *notes,
        "",
    ]
    return "\n".join(lines)


def _against(report: TrainingReport) -> str:
    if report.champion_version is None:
        return "there was none."
    if report.comparison is None:
        return f"version {report.champion_version}, which could not be judged."
    return (
        f"version {report.champion_version}, on {report.comparison.examples} of them; its answers: "
        f"{report.comparison.source}."
    )
