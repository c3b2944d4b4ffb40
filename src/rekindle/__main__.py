"""`python -m rekindle` is `rekindle`."""

from rekindle.cli.main import main

if __name__ == "__main__":
    main()
