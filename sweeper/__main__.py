"""Runs the command line as ``python -m sweeper``, the same as ``sweeper``."""

import sys

if __name__ == "__main__":
    try:
        from sweeper.cli.main import main

        status = main()
    except KeyboardInterrupt:  # during the imports
        status = 130
    sys.exit(status)
