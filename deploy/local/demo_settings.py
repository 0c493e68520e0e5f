"""What differs in the demo: seconds where production has hours, so that the loop closes while one watches."""

DEMO_SETTINGS: dict[str, str] = {
    "DRIFT_WINDOW_MS": "5000",
    "DRIFT_LATENESS_MS": "1000",
    "DRIFT_IDLE_MS": "3000",
    "DRIFT_TICK_MS": "500",
    "DRIFT_LATE_MS": "60000",
    "DRIFT_LABEL_WAIT_MS": "60000",
    "DRIFT_PUBLISH_INTERVAL_MS": "500",
    "DRIFT_FLUSH_INTERVAL_MS": "2000",
    "DRIFT_REFERENCE_PREDICTIONS": "1500",
    "DRIFT_REFERENCE_LABELS": "400",
    "RETRAINER_COOLDOWN_MS": "60000",
    "RETRAINER_MIN_EXAMPLES": "2000",
    "RETRAINER_COLLECT_DEADLINE_MS": "120000",
    "RETRAINER_POLL_MS": "1000",
    "RETRAINER_RETRY_MS": "2000",
    "RETRAINER_NICENESS": "0",
    # A forest averages its trees' votes, so it is right more often than it is sure.
    "RETRAINER_MIN_CONFIDENCE": "0.5",
}
