"""`python -m services.metrics.audit EXPERIMENT [--json]`."""

import sys

from services.metrics.audit.command import answer


def main() -> int:
    """Print the answer and return the exit code."""
    text, code = answer(sys.argv[1:])
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
