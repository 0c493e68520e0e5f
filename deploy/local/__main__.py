"""python -m deploy.local {up,down,status,demo,stack}"""

import sys

try:
    from deploy.local.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"The package {error.name} is not installed. Run make install, and use .venv/bin/python.")

if __name__ == "__main__":
    sys.exit(main())
