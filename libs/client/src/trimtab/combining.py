"""Tests made of tests: of what lies at a path, of all, of any, of a list's elements."""

from collections.abc import Mapping
from typing import Any

from trimtab.comparisons import LIST, Test


def negated(test: Test) -> Test:
    """Return the opposite test."""
    return lambda value: not test(value)


def at(path: tuple[str, ...], test: Test) -> Test:
    """Return the test of what lies at the path; nothing there is null."""
    first, *rest = path
    if not rest:  # nearly all conditions: no loop, and no call but the test's

        def check(thing: Any) -> bool:
            return test(thing.get(first) if type(thing) is dict else _step(thing, first))

        return check

    def check_deep(thing: Any) -> bool:
        for name in path:
            thing = _step(thing, name)
            if thing is None:
                break
        return test(thing)

    return check_deep


def _step(thing: Any, name: str) -> Any:
    if isinstance(thing, Mapping):
        return thing.get(name)
    if isinstance(thing, LIST):
        if name == "length":
            return len(thing)
        if len(name) <= 10 and name.isascii() and name.isdigit() and str(int(name)) == name:
            return thing[int(name)] if int(name) < len(thing) else None
    return None


def every(tests: tuple[Test, ...]) -> Test:
    """Return the test that all of these pass; of none: true."""
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda value: first(value) and second(value)

    def all_pass(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would cost as much as the tests
            if not test(value):
                return False
        return True

    return all_pass


def some(tests: tuple[Test, ...]) -> Test:
    """Return the test that any of these passes; of none: true, as GrowthBook has it."""
    if not tests:
        return lambda _: True

    def one_passes(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - as above
            if test(value):
                return True
        return False

    return one_passes


def none(tests: tuple[Test, ...]) -> Test:
    """Return the test that none of these passes; of none: false, as GrowthBook has it."""
    return negated(some(tests))


def sized(test: Test) -> Test:
    """Return the test of a list's length; what is no list fails."""
    return lambda value: isinstance(value, LIST) and test(len(value))


def any_element(test: Test) -> Test:
    """Return the test that some element of a list passes; null never does."""
    return lambda value: isinstance(value, LIST) and any(test(each) for each in value if each is not None)


def all_found(tests: tuple[Test, ...]) -> Test:
    """Return the test that each of these is passed by some element of a list."""
    return lambda value: isinstance(value, LIST) and all(any(test(each) for each in value) for test in tests)
