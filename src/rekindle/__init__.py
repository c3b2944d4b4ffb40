"""rekindle runs workflows of jobs, and reruns exactly the jobs that must run again."""

TYPE_CHECKING = False  # `typing` takes milliseconds to import
if TYPE_CHECKING:
    from rekindle.api import Client, Workflow
    from rekindle.domain.actions import Action
    from rekindle.domain.batches.supervision import Budget, Guards
    from rekindle.domain.errors import RekindleError
    from rekindle.domain.overrides import Overrides
    from rekindle.domain.rerun.request import How
    from rekindle.engine.running.signals import StopHandle

__version__ = "0.1.0.dev0"

__all__ = [
    "Action",
    "Budget",
    "Client",
    "Guards",
    "How",
    "Overrides",
    "RekindleError",
    "StopHandle",
    "Workflow",
    "__version__",
]

_MODULES = {
    "Client": "rekindle.api",
    "Workflow": "rekindle.api",
    "Action": "rekindle.domain.actions",
    "Budget": "rekindle.domain.batches.supervision",
    "Guards": "rekindle.domain.batches.supervision",
    "Overrides": "rekindle.domain.overrides",
    "RekindleError": "rekindle.domain.errors",
    "How": "rekindle.domain.rerun.request",
    "StopHandle": "rekindle.engine.running.signals",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that the command line starts quickly."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(module), name)
