"""Regular expressions from outside, tried on text from outside: only those whose time is bounded.

Python's `re` backtracks. A pattern is therefore refused when there are too many ways to try it on a text of
MAX_TEXT_CHARS: `(a+)+b` has two to the power of that many. Roughly, a pattern may hold two free repeats
(`*`, `+`), three when it begins with `^`, and a repeated group neither a repeat nor an alternative.
"""

import importlib
import re
from collections.abc import Iterable
from typing import Any, Final

from trimtab.comparisons import Test

MAX_PATTERN_CHARS: Final = 500
MAX_TEXT_CHARS: Final = 512
"""Nothing is found in a longer text."""
MAX_WAYS: Final = (MAX_TEXT_CHARS + 1) ** 3
"""Starts x repeats, an upper bound: the first two repeats alone have half as many."""

# What is counted is what the parser of `re` itself read. It is not public: on a Python that has another, all
# patterns are refused, and whoever uses none goes on.
_UNREADABLE: Final = (ImportError, AttributeError, TypeError)


def found(wanted: Any, *, any_case: bool = False) -> Test:
    """Return the test for a string in which the pattern is found.

    Raises ValueError when it is no pattern, too long, or could take too long.
    """
    if not isinstance(wanted, str) or len(wanted) > MAX_PATTERN_CHARS:
        raise ValueError(f"needs a pattern of at most {MAX_PATTERN_CHARS} characters")
    flags = re.IGNORECASE if any_case else re.NOFLAG
    try:
        ways = _ways_of(wanted, flags)
        search = re.compile(wanted, flags).search
    except _UNREADABLE as error:
        raise ValueError(f"patterns cannot be checked on this version of Python: {error!r}") from error
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise ValueError(f"{wanted!r:.80} is no pattern: {error}") from error
    if ways > MAX_WAYS:
        raise ValueError(
            f"{wanted!r:.80} could take too long: begin it with ^, use fewer * and +, and inside a group "
            "that is repeated neither of these nor |"
        )
    return lambda value: isinstance(value, str) and len(value) <= MAX_TEXT_CHARS and search(value) is not None


def _ways_of(pattern: str, flags: re.RegexFlag) -> int:
    parsed: Any = importlib.import_module("re._parser").parse(pattern, flags)
    anchored = bool(parsed.data) and str(parsed.data[0][0]) == "AT" and "BEGINNING" in str(parsed.data[0][1])
    starts = 1 if anchored and not parsed.state.flags & re.MULTILINE else MAX_TEXT_CHARS + 1
    return starts * _product(parsed)


def _product(items: Iterable[tuple[Any, Any]]) -> int:
    """Return in how many ways a sequence can be tried, capped a little above the limit."""
    ways = 1
    for name, argument in items:
        ways = min(ways * _ways(str(name), argument), MAX_WAYS + 1)
    return ways


def _ways(name: str, argument: Any) -> int:
    if name.endswith("REPEAT"):
        return _repeat(*argument)
    if name == "BRANCH":
        return sum(_product(each) for each in argument[1])
    if name == "GROUPREF_EXISTS":
        return sum(_product(each) for each in argument[1:] if each is not None)
    if name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
        return _product(argument[-1])
    if name == "ATOMIC_GROUP":
        return _product(argument)
    # A back reference is compared character by character; all else looks at one.
    return MAX_TEXT_CHARS if name.startswith("GROUPREF") else 1


def _repeat(least: int, most: int, body: Any) -> int:
    spread = max(1, min(int(most), MAX_TEXT_CHARS) - least + 1)
    inside = _product(body)
    if int(most) <= 1:
        return inside * spread
    if inside > 1 or body.getwidth()[0] == 0:
        return MAX_WAYS + 1
    return spread
