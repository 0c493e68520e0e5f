"""What gbstats (GrowthBook's statistics) answers to a table of cases, frozen in `gbstats.json`.

gbstats 0.8 wants older numpy and pandas than the product has: it runs in an environment of its own. To write
the file again, from the repository's root:

    python3 -m venv /tmp/oracles
    /tmp/oracles/bin/pip install --require-hashes -r requirements/oracles.txt
    /tmp/oracles/bin/python tests/oracles/gbstats_cases.py

The test that reads it, `tests/unit/statistics/test_oracles_gbstats.py`, says where we disagree, and why.
"""

import json
import math
from importlib.metadata import version
from pathlib import Path

from gbstats.frequentist.tests import (
    FrequentistConfig,
    OneSidedTreatmentLesserTTest,
    SequentialConfig,
    SequentialTwoSidedTTest,
    TwoSidedTTest,
)
from gbstats.models.statistics import (
    ProportionStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)

ALPHAS = (0.05, 0.001)
TUNINGS = (5_000, 500)

# Per variant: units, Σy, Σy², Σx, Σx², Σxy; x is the past (CUPED) or the denominator (ratio).
ROWS = {
    "even": ((1_000, 5_200, 31_000, 9_900, 110_000, 55_100), (1_000, 5_000, 30_000, 10_000, 112_000, 54_000)),
    "uneven": ((300, 1_350, 9_000, 2_950, 32_000, 15_400), (2_700, 13_500, 85_000, 27_200, 300_000, 148_000)),
    "small": ((12, 40, 180, 60, 420, 240), (15, 30, 90, 90, 700, 210)),
    "far": ((50_000, 500_000, 6_000_000, 400_000, 4_400_000, 4_600_000),
            (50_000, 250_000, 2_500_000, 401_000, 4_450_000, 2_300_000)),
    "sparse": ((20_000, 260, 4_900, 21_000, 60_000, 420), (20_000, 400, 8_000, 20_800, 59_000, 610)),
}  # fmt: skip
RATES = {
    "rate even": ((1_000, 60), (1_000, 45)),
    "rate uneven": ((500, 20), (9_500, 500)),
    "rate large": ((1_000_000, 50_500), (1_000_000, 50_000)),
}


def mean(row):
    """Return Σy of a variant as a mean."""
    return SampleMeanStatistic(n=row[0], sum=row[1], sum_squares=row[2])


def past(row):
    """Return Σx of a variant as a mean."""
    return SampleMeanStatistic(n=row[0], sum=row[3], sum_squares=row[4])


def ratio(row):
    """Return Σy / Σx of a variant."""
    return RatioStatistic(n=row[0], m_statistic=mean(row), d_statistic=past(row), m_d_sum_of_products=row[5])


def adjusted(row, theta):
    """Return a variant's mean with its past taken out."""
    return RegressionAdjustedStatistic(
        n=row[0],
        post_statistic=mean(row),
        pre_statistic=past(row),
        post_pre_sum_of_products=row[5],
        theta=theta,
    )


def asked(treatment, control):
    """Return every test's answer at every alpha: estimate, interval, p-value."""
    found = {}
    for alpha in ALPHAS:
        for scale in ("absolute", "relative"):
            plain = FrequentistConfig(alpha=alpha, difference_type=scale)
            found[f"two-sided {scale} {alpha}"] = shown(TwoSidedTTest(control, treatment, plain))
            found[f"lesser {scale} {alpha}"] = shown(OneSidedTreatmentLesserTTest(control, treatment, plain))
            for tuned in TUNINGS:
                always = SequentialConfig(
                    alpha=alpha, difference_type=scale, sequential_tuning_parameter=tuned
                )
                found[f"sequential {scale} {alpha} {tuned}"] = shown(
                    SequentialTwoSidedTTest(control, treatment, always)
                )
    return found


def shown(test):
    """Return a result as numbers that JSON has: None for an infinite end."""
    result = test.compute_result()
    lower, upper = (float(end) if math.isfinite(end) else None for end in result.ci)
    return {"estimate": float(result.expected), "ends": [lower, upper], "p": float(result.p_value)}


def cases():
    """Return every case with its inputs, treatment first."""
    for name, (treatment, control) in ROWS.items():
        rows = {"name": name, "treatment": treatment, "control": control}
        yield {"kind": "mean", **rows, "answers": asked(mean(treatment), mean(control))}
        yield {"kind": "ratio", **rows, "answers": asked(ratio(treatment), ratio(control))}
        theta = compute_theta(adjusted(control, 0.0), adjusted(treatment, 0.0))
        answers = asked(adjusted(treatment, theta), adjusted(control, theta))
        yield {"kind": "cuped", **rows, "theta": float(theta), "answers": answers}
    for name, (treatment, control) in RATES.items():
        answers = asked(*(ProportionStatistic(n=n, sum=k) for n, k in (treatment, control)))
        yield {
            "kind": "proportion",
            "name": name,
            "treatment": treatment,
            "control": control,
            "answers": answers,
        }


if __name__ == "__main__":
    frozen = {"gbstats": version("gbstats"), "cases": list(cases())}
    path = Path(__file__).with_name("gbstats.json")
    path.write_text(json.dumps(frozen, indent=1) + "\n")
