"""What confseq (the confidence sequences of Howard, Ramdas and others) answers, frozen in `confseq.json`.

confseq 0.0.11 is built from C++ and its own build requirements no longer compile on Python 3.11, hence newer
ones by hand, and the Boost headers (on Debian: `apt-get install libboost-dev`). To write the file again, from
the repository's root:

    python3 -m venv /tmp/confseq
    /tmp/confseq/bin/pip install pybind11 scikit-build "cmake<4" ninja setuptools wheel numpy scipy
    /tmp/confseq/bin/pip install --no-build-isolation confseq==0.0.11
    /tmp/confseq/bin/python tests/oracles/confseq_cases.py

It is read by `tests/unit/statistics/test_oracles_confseq.py`.
"""

import json
from importlib.metadata import version
from itertools import product
from pathlib import Path

from confseq.boundaries import (
    bernoulli_confidence_interval,
    beta_binomial_log_mixture,
    normal_log_mixture,
    normal_mixture_bound,
)

ALPHAS = (0.05, 0.001)
TUNED = (500.0, 5_000.0)


def normal_bounds():
    """Return two-sided bounds of a sum of unit variance after v units, and ln of the mixture."""
    for v, alpha, tuned in product((100.0, 1_000.0, 50_000.0), ALPHAS, TUNED):
        bound = normal_mixture_bound(v, alpha, tuned, alpha, is_one_sided=False)
        log_e = normal_log_mixture(3.5 * v**0.5, v, tuned, alpha, is_one_sided=False)
        yield {"v": v, "alpha": alpha, "tuned": tuned, "bound": bound, "log_e": log_e}


def binomial_mixtures():
    """Return ln of the mixture of k hits in n trials against p, two-sided and for more than p."""
    for p, n, z, tuned in product((0.05, 0.5, 0.95), (200, 20_000), (-4, -1, 0, 2, 5), TUNED):
        k = round(n * p + z * (n * p * (1.0 - p)) ** 0.5)
        if not 0 <= k <= n:
            continue
        v, s, tuned_v = p * (1.0 - p) * n, k - n * p, p * (1.0 - p) * tuned
        either, more = (
            beta_binomial_log_mixture(s, v, tuned_v, p, 1.0 - p, 0.05, is_one_sided=one)
            for one in (False, True)
        )
        yield {"p": p, "n": n, "k": k, "tuned": tuned, "either": either, "more": more}


def rates():
    """Return intervals of a Bernoulli rate."""
    for n, k in ((200, 1), (1_000, 30), (5_000, 2_500), (100_000, 99_000)):
        lower, upper = bernoulli_confidence_interval(k, n, 0.05, 1_000.0)
        yield {"n": n, "k": k, "lower": lower, "upper": upper}


if __name__ == "__main__":
    frozen = {
        "confseq": version("confseq"),
        "normal": list(normal_bounds()),
        "binomial": list(binomial_mixtures()),
        "rates": list(rates()),
    }
    path = Path(__file__).with_name("confseq.json")
    path.write_text(json.dumps(frozen, indent=1, default=float) + "\n")
