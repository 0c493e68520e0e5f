"""statsmodels on the judge's sums: two-proportion z with its interval, Welch's t with its interval.

It takes raw values where we have sums: a mean is given to it as two weighted values with the same mean and
variance. It has no ratios and no CUPED from sums: these questions are left out.
"""

import json
import math
import sys
import time
from statistics import median

import numpy as np
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW


def described(row):
    units, total, squares = row[:3]
    mean = total / units
    spread = math.sqrt(squares / units - mean * mean)
    return DescrStatsW(np.array([mean - spread, mean + spread]), weights=np.array([units / 2, units / 2]))


def judge(question):
    treatment, control = question["treatment"], question["control"]
    if question["kind"] == "proportion":
        counts, units = [treatment[1], control[1]], [treatment[0], control[0]]
        proportions_ztest(counts, units)
        confint_proportions_2indep(counts[0], units[0], counts[1], units[1], method="wald")
        return
    means = CompareMeans(described(treatment), described(control))
    means.ttest_ind(usevar="unequal")
    means.tconfint_diff(usevar="unequal")


def judged(questions):
    began = time.perf_counter()
    for question in questions:
        judge(question)
    return time.perf_counter() - began


def main():
    with open(sys.argv[1]) as file:
        questions = [each for each in json.load(file) if each["kind"] not in ("ratio", "cuped")]
    seconds = median(judged(questions) for _ in range(int(sys.argv[2])))
    note = "no lift; without ratios and CUPED"
    print(json.dumps({"difference": {"seconds": seconds, "comparisons": len(questions), "note": note}}))


main()
