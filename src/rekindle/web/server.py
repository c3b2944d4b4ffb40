"""`rekindle serve`: run the HTTP interface of a store until a signal ends it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import uvicorn

from rekindle.domain.errors import Refused
from rekindle.web.access import Access
from rekindle.web.api import PilotApi, api_routes
from rekindle.web.application import application
from rekindle.web.connections import configured, log_to_stderr
from rekindle.web.console import Console
from rekindle.web.live import Live
from rekindle.web.pilots import Pilots
from rekindle.web.readers import Readers
from rekindle.web.runner import ServerRunner
from rekindle.web.security import allowed_hosts
from rekindle.web.supervisors import Supervisors

if TYPE_CHECKING:
    from rekindle.engine.results import WorkOptions
    from rekindle.engine.session import Session
    from rekindle.presentation.rerun_modes import ModeSet


def serve(
    opened: Callable[[], Session],
    host: str,
    port: int,
    announce: Callable[[str, str], None],
    *,
    working: WorkOptions | None = None,
    read_only: bool = False,
    silence: float = 120.0,
    allowed: Iterable[str] = (),
    modes: Sequence[ModeSet] = (),
) -> None:
    """Serve a store until SIGINT or SIGTERM. `opened` opens a session; `announce` gets the server's URL and the
    one-time link once it accepts connections, also for port 0. `working`: run jobs here too. `silence`: see
    `RemotePool`. `allowed`: further names of this server, as a proxy's. `modes`: see application."""
    names = [*allowed]
    log_to_stderr()
    with ExitStack() as ends:
        listening = ends.enter_context(_listen(host, port))
        readers, watcher = Readers(opened), Readers(opened, threads=1)
        checker = Readers(opened, threads=1)  # tokens are checked beside slow requests
        ends.callback(checker.close)
        ends.callback(watcher.close)
        ends.callback(readers.close)
        pilots = Pilots(opened, silence)
        ends.callback(pilots.leave)
        with opened() as session:
            access = Access(checker, session.store.identity, read_only=read_only)
            pilot_api = PilotApi(session, pilots)
            console = Console(access, readers, Live(readers, watcher), session.store.name, works=working is not None)
        runner = supervisors = None
        if working is not None:
            runner = ServerRunner(opened, working)
            runner.start()
            ends.callback(runner.stop, cancel=True)
            supervisors = Supervisors(opened)
            ends.callback(supervisors.leave)
        routes = api_routes(access, readers, pilot_api)
        served = application(console, routes, allowed_hosts(host, names), runner, modes, supervisors)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        announce(url, f"{url}/login?once={access.one_time_secret()}")
        _Server(configured(served, proxied=bool(names))).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as error:
        raise Refused(f"cannot listen on {host}:{port}: {error.strerror}", hint="--port names another port") from error


class _Server(uvicorn.Server):
    """A server that ends at SIGINT or SIGTERM, and returns. uvicorn's own raises the signal again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals while the context lasts."""
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
