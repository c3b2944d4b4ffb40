"""The executable `rekindle`, and `python -m rekindle`."""

# `signal` takes milliseconds to import, in which Ctrl-C shows a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main() -> int:
    """Run the command line of the process. Ctrl-C ends it at once, also amid the imports that take most of the time of
    a short command: a KeyboardInterrupt raised there would show a traceback, or get lost in a callback of an import.
    Commands that work handle the signal themselves."""
    heeded = _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN
    if heeded:
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from rekindle.cli.main import main as run

    code = run()
    if heeded:
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(code))  # the command has ended, with this exit code
    return code


if __name__ == "__main__":
    sys.exit(main())
