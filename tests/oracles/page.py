"""`python -m tests.oracles.page > docs/reference/oracles.md`: every disagreement with other programs.

The page is what the headers of the tests say, so that it cannot differ from what is tested.
"""

import ast
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "unit" / "statistics"
HEADER = """# Beside other programs

What `libs/statistics` gives is compared with statsmodels, scipy and tea-tasting, which run in the tests, and
with answers of gbstats and confseq, which do not go with our environment and are kept in `tests/oracles/`
beside the scripts that made them. Where they differ it says why, and who is right. These are the headers of
the tests; `make test ARGS="tests/unit/statistics -k oracles"` runs them.

<!-- Written by `python -m tests.oracles.page`. -->
"""


def page() -> str:
    """Return the page."""
    parts = [HEADER]
    for file in sorted(TESTS.glob("test_oracles_*.py")):
        said = ast.get_docstring(ast.parse(file.read_text())) or ""
        first, _, rest = said.partition("\n")
        parts.append(f"## {first.rstrip('.:')}\n\n`{file.name}`\n\n{rest.strip()}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
