"""Is the candidate good enough, and better than the champion on the same held-out later examples?"""

from dataclasses import dataclass

from services.retrainer.domain.report import TrainingReport


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a candidate must reach. Shares of 1; precision and recall are those of the worst class."""

    min_held_out: int = 100
    """Held-out examples below which nothing is proven."""
    min_accuracy: float = 0.65
    min_f1: float = 0.65
    min_precision: float = 0.60
    min_recall: float = 0.60
    min_confidence: float = 0.70
    min_gain: float = 0.0
    """By how much its accuracy must exceed the champion's; it must exceed it in any case."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Passed or not, with all numbers in words."""

    passed: bool
    reason: str


def judge(report: TrainingReport, thresholds: Thresholds) -> Judgement:
    """Hold a training's report against the thresholds; every shortfall is named with its numbers."""
    problems = [*_shortfalls(report, thresholds), *_against_champion(report, thresholds)]
    if problems:
        return Judgement(passed=False, reason="; ".join(problems))
    return Judgement(passed=True, reason=_praise(report))


def _shortfalls(report: TrainingReport, thresholds: Thresholds) -> list[str]:
    if report.held_out < thresholds.min_held_out:
        return [f"{report.held_out} held-out examples: at least {thresholds.min_held_out} are needed"]
    wanted = {
        "accuracy": thresholds.min_accuracy,
        "f1": thresholds.min_f1,
        "precision_worst": thresholds.min_precision,
        "recall_worst": thresholds.min_recall,
        "confidence": thresholds.min_confidence,
    }
    return [
        f"{name} {report.scores[name]:.3f} is below {least:.3f}"
        for name, least in wanted.items()
        if report.scores[name] < least
    ]


def _against_champion(report: TrainingReport, thresholds: Thresholds) -> list[str]:
    if report.champion_version is None:
        return []
    name = f"champion {report.champion_version}"
    comparison = report.comparison
    if comparison is None or comparison.examples < thresholds.min_held_out:
        known = 0 if comparison is None else comparison.examples
        return [
            f"the {name} can be judged on {known} held-out examples only: {' '.join(report.notes)}".rstrip()
        ]
    gain, theirs = comparison.gain, comparison.champion["accuracy"]
    if gain <= 0 or gain < thresholds.min_gain:
        return [
            f"accuracy {comparison.candidate['accuracy']:.3f} against {theirs:.3f} of the {name} "
            f"on the same {comparison.examples} examples: a gain of {gain:+.3f} is not enough "
            f"(it must be positive and at least {thresholds.min_gain:.3f})"
        ]
    return []


def _praise(report: TrainingReport) -> str:
    accuracy, f1 = report.scores["accuracy"], report.scores["f1"]
    said = f"accuracy {accuracy:.3f}, F1 {f1:.3f} on {report.held_out} later examples"
    if report.comparison is None:
        return f"{said}; there is no champion to compare with"
    theirs = report.comparison.champion["accuracy"]
    return f"{said}; champion {report.champion_version}: {theirs:.3f} on the same"
