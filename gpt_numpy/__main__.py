"""`python -m gpt_numpy` is the `gpt-numpy` command."""

import sys

from gpt_numpy.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
