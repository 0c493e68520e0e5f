"""Evidence in words, for the timeline and the closing table."""

from typing import Any

from deploy.demo.api import Json


def _number(value: Any, form: str = "+.3f") -> str:
    return "unknown" if value is None else format(value, form)


def evidence(found: Json, kind: str) -> str:
    """Return the evidence of an experiment's last verdict of this kind."""
    matching = [verdict for verdict in found["verdicts"] if verdict["kind"] == kind]
    if not matching or not matching[-1]["evidence"]:
        return ""
    first = matching[-1]["evidence"][0]
    interval = f"[{_number(first['lower'])}, {_number(first['upper'])}]"
    return (
        f"{first['metric']}: {_number(first['estimate'])} {interval}"
        f" always-valid at {1 - first['alpha']:.0%}, {_number(first['relative'], '+.0%')} relative;"
        f" {first['units']:,} against {first['control_units']:,} units"
    )


def performance(health: Json) -> str:
    """Return how right a model version has been."""
    known = health["performance"]
    return (
        f"{known['metric']} {_number(known['score'], '.3f')} over recent labels,"
        f" reference {_number(known['reference_score'], '.3f')}; {health['labelled']:,} labelled"
    )


def validation(retraining: Json) -> str:
    """Return what a new version was trained on, and how it compares on the same later examples."""
    scores = retraining["scores"]
    return (
        f"trained and validated on {retraining['examples']:,} labelled examples; on the latest of them"
        f" accuracy {_number(scores.get('accuracy'), '.3f')},"
        f" the champion {_number(scores.get('champion_accuracy'), '.3f')}"
    )


def drift(health: Json) -> str:
    """Return how many features drifted, and the worst of them."""
    worst = max(health["features"], key=lambda each: each["psi"] or 0.0, default=None)
    if worst is None:
        return str(health["reason"])[:200]
    return (
        f"{health['drifted_features']} of {len(health['features'])} features drifted;"
        f" most {worst['feature']}: PSI {_number(worst['psi'], '.2f')}, KS {_number(worst['ks'], '.2f')}"
    )
