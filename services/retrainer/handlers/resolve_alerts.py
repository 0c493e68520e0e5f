"""End the episodes that something good has ended."""

from services.retrainer.domain import alerts
from services.retrainer.ports import Transaction


async def resolve_alerts(transaction: Transaction, *causes: str, detail: str, now_ms: int) -> None:
    """Resolve the open episodes of these causes, with the good news; those that are not open stay unsaid."""
    for cause in causes:
        if (alert := await transaction.open_alert(cause)) is not None:
            await transaction.save_alert(alerts.resolved(alert, detail, now_ms))
