"""Assertions of the shared suite explain themselves as those in test files do."""

import pytest

for name in ("place", "sending", "reading", "groups"):
    pytest.register_assert_rewrite(f"tests.contract.bus.{name}")
