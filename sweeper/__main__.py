"""Makes ``python -m sweeper`` the same as the ``sweeper`` command."""

import sys

if __name__ == "__main__":
    try:
        from sweeper.cli.main import main

        status = main()
    except KeyboardInterrupt:  # while the imports were still going on
        status = 130
    sys.exit(status)
