"""gbstats (GrowthBook) on the judge's sums: its sequential test per comparison, as its own engine builds them."""

import json
import sys
import time
from statistics import median

from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import (
    ProportionStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)


def mean(row):
    return SampleMeanStatistic(n=row[0], sum=row[1], sum_squares=row[2])


def past(row):
    return SampleMeanStatistic(n=row[0], sum=row[3], sum_squares=row[4])


def adjusted(row, theta):
    return RegressionAdjustedStatistic(
        n=row[0], post_statistic=mean(row), pre_statistic=past(row), post_pre_sum_of_products=row[5], theta=theta
    )


def ratio(row):
    return RatioStatistic(n=row[0], m_statistic=mean(row), d_statistic=past(row), m_d_sum_of_products=row[5])


def arms(question):
    kind, rows = question["kind"], (question["treatment"], question["control"])
    if kind == "proportion":
        return [ProportionStatistic(n=row[0], sum=row[1]) for row in rows]
    if kind == "ratio":
        return [ratio(row) for row in rows]
    if kind == "cuped":
        theta = compute_theta(adjusted(rows[1], 0.0), adjusted(rows[0], 0.0))
        return [adjusted(row, theta) for row in rows]
    return [mean(row) for row in rows]


def judged(questions, scales):
    began = time.perf_counter()
    for question in questions:
        treatment, control = arms(question)
        for scale in scales:
            config = SequentialConfig(alpha=0.05, difference_type=scale, sequential_tuning_parameter=5_000)
            SequentialTwoSidedTTest(control, treatment, config).compute_result()
    return time.perf_counter() - began


def main():
    with open(sys.argv[1]) as file:
        questions = json.load(file)
    found = {}
    for name, scales in (("difference", ("absolute",)), ("difference and lift", ("absolute", "relative"))):
        seconds = median(judged(questions, scales) for _ in range(int(sys.argv[2])))
        found[name] = {"seconds": seconds, "comparisons": len(questions), "note": "no result, no verdict"}
    print(json.dumps(found))


main()
