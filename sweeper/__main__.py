"""Makes ``python -m sweeper`` the same as the ``sweeper`` command."""

import sys

from sweeper.cli import main

if __name__ == "__main__":
    sys.exit(main())
