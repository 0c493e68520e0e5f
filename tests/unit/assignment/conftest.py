"""Assertions of the shared suite explain themselves as those in test files do."""

import pytest

pytest.register_assert_rewrite("tests.unit.assignment.store_contract")
pytest.register_assert_rewrite("tests.unit.assignment.laws")
