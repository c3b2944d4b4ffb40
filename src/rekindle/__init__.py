"""rekindle runs workflows of jobs, and runs again exactly what must run again."""

TYPE_CHECKING = False  # `typing` takes milliseconds to import
if TYPE_CHECKING:
    from rekindle.api import Client, Workflow
    from rekindle.domain.actions import Action
    from rekindle.domain.batches.guards import Budget, Guards
    from rekindle.domain.errors import RekindleError
    from rekindle.domain.overrides import Overrides
    from rekindle.domain.rerunning.rerun import How

__version__ = "0.1.0.dev0"

__all__ = ["Action", "Budget", "Client", "Guards", "How", "Overrides", "RekindleError", "Workflow", "__version__"]

_HOMES = {
    "Client": "rekindle.api",
    "Workflow": "rekindle.api",
    "Action": "rekindle.domain.actions",
    "Budget": "rekindle.domain.batches.guards",
    "Guards": "rekindle.domain.batches.guards",
    "Overrides": "rekindle.domain.overrides",
    "RekindleError": "rekindle.domain.errors",
    "How": "rekindle.domain.rerunning.rerun",
}


def __getattr__(name: str) -> object:
    """Public names are imported when they are first used, so that the command line starts quickly."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
