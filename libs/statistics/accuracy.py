"""Is a classifier as right as it was? Valid at every look: each spends a part of the error rate."""

import math

from scipy.stats import beta, binom


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


def lowest_score(score: float, labelled: int, level: float) -> float:
    """Return the lower confidence bound of an accuracy that was estimated on `labelled` labels.

    Clopper and Pearson (1934), one-sided: it lies above the true accuracy with a probability of at most
    `level`. Without labels it is 0: nothing is known. Raises ValueError for a level outside 0..1.
    """
    if not 0 < level < 1:
        raise ValueError("a level lies between 0 and 1")
    correct = round(min(1.0, max(0.0, score)) * labelled)
    return float(beta.ppf(level, correct, labelled - correct + 1)) if correct else 0.0
