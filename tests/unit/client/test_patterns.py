"""Patterns whose time is bounded."""

import re
import time

import pytest

from trimtab.patterns import MAX_PATTERN_CHARS, MAX_TEXT_CHARS, found


@pytest.mark.parametrize(
    "pattern",
    [
        r"@example\.com$",
        r"^[^@]+@(mail|post)\.example\.(com|org)$",
        r"^/checkout/.*/step-[0-9]{1,3}",
        r"iPhone|iPad|Android.*Mobile",
        r"Chrome/.*Safari",
        r"^Mozilla.*Windows NT.*Chrome/.*",
        r"^(\d{3}-){2}\d{4}$",
        r"^(?P<lang>de|fr)(-[A-Z]{2})?$",
        r"colou?r",
    ],
)
def test_everyday_patterns_are_taken(pattern: str) -> None:
    """What people write to target pages, mails and browsers is taken."""
    found(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+b",
        r"(a|a)*b",
        r"(a|ab)*c",
        r"(a?){50}b",
        r"a?" * 30 + "a" * 30,
        r"a*a*a*b",
        r"^a*a*a*a*b",
        r"(?:a{0,50}){50}b",
        r"(.*)\1b*c",
        r"((((a*)*)*)*)b",
        r"(){1000000}",
        r"(?:(?:){60000}){60000}",
        r"(?=(a+)+b)a",
        "x" * (MAX_PATTERN_CHARS + 1),
    ],
)
def test_patterns_that_could_take_for_ever_are_refused(pattern: str) -> None:
    """A pattern that can be tried in too many ways on one text is refused."""
    with pytest.raises(ValueError, match=r"too long|at most|no pattern"):
        found(pattern)


@pytest.mark.parametrize(
    "pattern", [r"a*a*b", r"^a*a*a*b", r"(a|a)(a|a)(a|a)a*b", r"a*[a-z]*b", r"(?:aa)*(?:aaa)*b"]
)
def test_the_worst_that_is_taken_ends_soon(pattern: str) -> None:
    """The worst text for the worst pattern takes less than a second of the processor."""
    check, text = found(pattern), "a" * MAX_TEXT_CHARS
    began = time.process_time()
    assert not check(text)
    assert time.process_time() - began < 1.0


def test_long_texts_hold_nothing() -> None:
    """Nothing is found in a text longer than the limit, and everything is up to it."""
    check = found("a$")
    assert check("a" * MAX_TEXT_CHARS)
    assert not check("a" * (MAX_TEXT_CHARS + 1))


def test_the_answers_are_those_of_re() -> None:
    """What is found is what `re.search` finds."""
    for pattern in ("a.c", "^a", "c$", "[^a]+", "(a)(b)?"):
        for text in ("", "a", "abc", "aXc\n", "c"):
            assert found(pattern)(text) == (re.search(pattern, text) is not None)
