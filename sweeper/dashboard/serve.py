"""The verb `dashboard`: optuna-dashboard over this directory's studies, on this machine alone, which can only look.

A browser's requests to change something (a note edited, a study deleted, a trial's tags) are refused with a message:
a search may be running in the storage, and its own folder says the rest. Notes and files are made as they are asked
for, see `answers`; storages are opened read-only, see `storage_reader`.
"""

import errno
import json
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna_dashboard

from sweeper.dashboard.answers import Annotations, NoStore
from sweeper.errors import DashboardError
from sweeper.reading.locations import STUDIES, find_locations
from sweeper.reading.read_only_storage import ReadOnlyStorage, none_of_that_name

HOST: Final = "127.0.0.1"
LOCAL_NAMES: Final = {"127.0.0.1", "localhost"}
"""What a browser on this machine calls it. Another name that resolves to it is a stranger's page reading ours."""
READING: Final = {"GET", "HEAD"}
IDLE_SECONDS: Final = 60
"""How long a connection may say nothing: browsers open some in reserve."""
HEADERS: Final = {
    # Nothing is loaded from, or sent to, anywhere else. The plots compile their shaders' code: unsafe-eval.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
DROPPED: Final = {"content-security-policy", "access-control-allow-origin"}
"""Headers of the dashboard's own: a weaker policy, and a leave for all sites to read a trial's files."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def dashboard(study: str | None, *, storage: str | None, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM; `port` 0 takes any that is free.

    Raises `DashboardError` where there is no study or the port is taken, `StudyError` for a storage that cannot be read.
    """
    problems = _Problems()
    shelf = ReadOnlyStorage(lambda: find_locations(study, storage, problems), problems)
    try:
        count = len(shelf.get_all_studies())
        if not count:
            if study is not None and problems.first is None:
                raise none_of_that_name(*find_locations(study, storage, problems))
            raise DashboardError(problems.first or _nothing(storage))
        with suppress(KeyboardInterrupt), warnings.catch_warnings(), _listen(port) as server:
            # Of two trials no importance can be told, and the page says so itself.
            warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, signal.default_int_handler)
            server.set_app(cast("Any", application(shelf)))
            problems.show()
            studies = "1 study" if count == 1 else f"{count} studies"
            print(f"dashboard: http://{HOST}:{server.server_port}/ · {studies} · Ctrl-C ends it", flush=True)
            server.serve_forever()
    finally:
        shelf.close()


def application(shelf: ReadOnlyStorage) -> Application:
    """Return the dashboard of that shelf as a WSGI application that refuses strangers and changes."""
    app: Any = optuna_dashboard.wsgi(shelf, artifact_store=NoStore())
    app.install(Annotations(shelf))

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            kept = [(name, value) for name, value in headers if name.lower() not in DROPPED]
            return start_response(status, [*kept, *HEADERS.items()], exc_info)

        refusal = _refusal(environ)
        if refusal is not None:
            body = json.dumps({"reason": refusal}).encode()
            begin("403 Forbidden", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        environ.setdefault("HTTP_ACCEPT_ENCODING", "identity")  # the dashboard fails for a client that says none
        return cast("Iterable[bytes]", app(environ, begin))

    return guarded


def _refusal(environ: dict[str, Any]) -> str | None:
    """Say why a request is refused; None for one that is answered."""
    host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0] or str(environ.get("HTTP_HOST", ""))
    if host not in LOCAL_NAMES:
        return f"this dashboard is for this machine alone: open http://{HOST}"
    if environ["REQUEST_METHOD"] not in READING:
        return "this dashboard only shows studies: nothing was changed"
    return None


class _Problems:
    """What cannot be shown: a line each on stderr, said once, and not before the dashboard is up."""

    def __init__(self) -> None:
        self.first: str | None = None
        self._known: dict[str, None] = {}
        self._is_shown = False

    def __call__(self, text: str) -> None:
        self.first = self.first or text
        if text not in self._known and self._is_shown:
            self._print(text)
        self._known[text] = None

    def show(self) -> None:
        """Say what is known, and from now on at once."""
        self._is_shown = True
        for text in self._known:
            self._print(text)

    def _print(self, text: str) -> None:
        print(f"sweeper: {' '.join(text.splitlines())}", file=sys.stderr, flush=True)


def _nothing(storage: str | None) -> str:
    where = STUDIES if storage is None else "the storage"
    return f"{where} must hold a study, but there is none: search with python -m sweeper -m search=card, or give another with --storage URL"


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request: a connection that a browser keeps in reserve holds up no other."""

    daemon_threads = True
    allow_reuse_port = False  # newer Pythons let two servers share a port

    def server_bind(self) -> None:
        """Bind without looking the host's name up, which may ask the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing of requests that went well, and of others only what the page says."""


def _listen(port: int) -> _Server:
    """Listen on the loopback interface. Raises `DashboardError`."""
    try:
        return _Server((HOST, port), _Handler)
    except OSError as error:
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise DashboardError(
            f"port {port} cannot be had ({reason}): give another with --port N, or --port 0 for any that is free"
        ) from error
