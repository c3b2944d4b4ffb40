"""`python -m rekindle` is `rekindle`."""

import sys

from rekindle.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
