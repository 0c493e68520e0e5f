"""Is a classifier as right as it was? Valid at every look: each spends a part of the error rate."""

import math

from scipy.stats import binom


def level_at_look(alpha: float, look: int) -> float:
    """Return the level of the `look`-th look (from 1) so that all looks there will ever be spend `alpha`.

    α / (k (k + 1)): the sum over k = 1, 2, ... is α. By the union bound the chance that any look ever errs
    is at most α, however the looks depend on each other. It costs little: the 100th look needs a deviation
    about 1.6 times as large as the first.
    """
    if look < 1:
        raise ValueError("looks are counted from 1")
    return alpha / (look * (look + 1))


def accuracy(correct: int, labelled: int) -> float | None:
    """Return the share of right answers, None without labels."""
    return correct / labelled if labelled else None


def shortfall_p_value(correct: int, labelled: int, score: float) -> float:
    """Return the probability of at most `correct` right answers of `labelled` if each is right with
    probability `score`: the exact one-sided binomial test of "not worse than the reference".

    A score outside 0..1 is taken to the nearer end. Without labels it is 1.
    """
    if not labelled:
        return 1.0
    p_value = float(binom.cdf(correct, labelled, min(1.0, max(0.0, score))))
    return 1.0 if math.isnan(p_value) else p_value
