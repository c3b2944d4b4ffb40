"""The executable `rekindle`, and `python -m rekindle`."""

# `signal` takes milliseconds to import, and Ctrl-C shows a traceback until the handler is set.
import _signal  # type: ignore[import-not-found]
import gc
import os
import sys

GARBAGE = 50_000
"""Allocations between two garbage collections. A plan of 100,000 jobs makes a million objects without reference cycles:
with Python's default of 700 the collector takes a quarter of its time, and a tenth of that of all imports."""

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main() -> int:
    """Run the command line of the process.

    Ctrl-C ends the process at once, also during imports, which take most of the time of a short command: a
    KeyboardInterrupt in an import shows a traceback, or is lost in a callback. Commands that run jobs handle the signal
    themselves."""
    gc.set_threshold(GARBAGE)
    handled = _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN
    if handled:
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    if "_REKINDLE_COMPLETE" in os.environ:
        from rekindle.cli.completion import print_answer

        return print_answer()
    from rekindle.cli.main import DEBUG
    from rekindle.cli.main import main as run

    code = run()
    if handled:
        _signal.signal(_signal.SIGINT, lambda *_: os._exit(code))  # the command has ended, with this exit code
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return code
    if not (_has_threads() or os.environ.get(DEBUG)):  # a profiler needs the regular end
        os._exit(code)  # freeing every object takes a fifth of the time of a short command
    return code


def _has_threads() -> bool:
    """Return whether other threads run, which the interpreter joins before it ends."""
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1


if __name__ == "__main__":
    sys.exit(main())
