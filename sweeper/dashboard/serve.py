"""Serves studies to a browser with optuna-dashboard, read-only, on this machine only.

Requests that would change something (edit a note, delete a study, tag a trial) are refused with a message, because a
search may be running in the storage. `answers` adds notes and files, `storage_reader` opens the storages.
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
from sweeper.dashboard.pages import PAGES, ROUTE, Pages
from sweeper.dashboard.read_only_storage import ReadOnlyStorage
from sweeper.errors import DashboardError
from sweeper.reading.locations import STUDIES, find_locations
from sweeper.reading.storage_reader import StorageReader, study_name
from sweeper.shell import sweeper_command
from sweeper.untrusted import printable

HOST: Final = "127.0.0.1"
LOCAL_NAMES: Final = {"127.0.0.1", "localhost"}
"""The values of a request's Host header that are served. Any other value comes from a page of another site whose name
resolves to this machine (DNS rebinding)."""
READ_METHODS: Final = {"GET", "HEAD"}
IDLE_SECONDS: Final = 60
"""Maximum idle time of a connection: browsers open some in reserve."""
HEADERS: Final = {
    # Nothing is loaded from, or sent to, another host. unsafe-eval: the plots compile their shaders.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
POLICY: Final = {"content-security-policy"}
DROPPED: Final = POLICY | {"access-control-allow-origin"}
"""Response headers of the dashboard to remove: a weaker policy, and permission for any site to read a trial's files."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def dashboard(study: str | None, *, storage: str | None, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM; `port` 0 means any free port.

    Raises `DashboardError` if there is no study or the port is in use, `StudyError` if `study` does not exist.
    """
    problems = _Problems()
    studies = ReadOnlyStorage(lambda: find_locations(study, storage, problems), problems)
    try:
        count = len(studies.get_all_studies())
        if not count:
            if study is not None and problems.first is None:
                (location,) = find_locations(study, storage, problems)
                with StorageReader(location.url) as reader:
                    reader.read(lambda opened: study_name(opened, location))  # raises: the storage lacks the study
            raise DashboardError(problems.first or _nothing(storage))
        with suppress(KeyboardInterrupt), warnings.catch_warnings(), _listen(port) as server:
            # Two trials are too few for parameter importances; the page says so itself.
            warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, signal.default_int_handler)
            server.set_app(cast("Any", application(studies)))
            problems.show()
            counted = "1 study" if count == 1 else f"{count} studies"
            print(f"dashboard: http://{HOST}:{server.server_port}/ · {counted} · Ctrl-C ends it", flush=True)
            server.serve_forever()
    finally:
        studies.close()


def application(studies: ReadOnlyStorage) -> Application:
    """Return the dashboard as a WSGI application that refuses writes and requests for other hosts."""
    app: Any = optuna_dashboard.wsgi(studies, artifact_store=NoStore())
    app.install(Annotations(studies))
    app.get(ROUTE, callback=Pages(studies).serve)

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            # Our own pages have a policy of their own.
            dropped = DROPPED - POLICY if environ["PATH_INFO"].startswith(PAGES) else DROPPED
            kept = [(name, value) for name, value in headers if name.lower() not in dropped]
            named = {name.lower() for name, _ in kept}
            added = [(name, value) for name, value in HEADERS.items() if name.lower() not in named]
            return start_response(status, [*kept, *added], exc_info)

        refusal = _refusal(environ)
        if refusal is not None:
            body = json.dumps({"reason": refusal}).encode()
            begin("403 Forbidden", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        environ.setdefault("HTTP_ACCEPT_ENCODING", "identity")  # the dashboard fails without this header
        return cast("Iterable[bytes]", app(environ, begin))

    return guarded


def _refusal(environ: dict[str, Any]) -> str | None:
    """Return the reason to refuse a request; None to serve it."""
    host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0] or str(environ.get("HTTP_HOST", ""))
    if host not in LOCAL_NAMES:
        return f"this dashboard serves this machine only: open http://{HOST}"
    if environ["REQUEST_METHOD"] not in READ_METHODS:
        return "this dashboard only shows studies: nothing was changed"
    return None


class _Problems:
    """Prints the reasons why studies cannot be shown: one line each on stderr, once, after the dashboard started."""

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
        """Print the reasons known so far; from now on print each new one at once."""
        self._is_shown = True
        for text in self._known:
            self._print(text)

    def _print(self, text: str) -> None:
        print(f"sweeper: {printable(' '.join(text.splitlines()))}", file=sys.stderr, flush=True)


def _nothing(storage: str | None) -> str:
    where = STUDIES if storage is None else "the storage"
    return (
        f"{where} must hold a study, but holds none: give another storage with --storage URL, or search with "
        f"{sweeper_command('-m', 'search=card')}"
    )


class _Server(ThreadingMixIn, WSGIServer):
    """One thread per connection: an idle one that a browser keeps in reserve does not block the others."""

    daemon_threads = True
    allow_reuse_port = False  # newer Pythons would let two servers share a port

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which may need the network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that disconnected."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Log nothing: the response to a failed request has the reason."""


def _listen(port: int) -> _Server:
    """Listen on the loopback interface. Raises `DashboardError`."""
    try:
        return _Server((HOST, port), _Handler)
    except OSError as error:
        reason = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
        raise DashboardError(
            f"port {port} cannot be opened ({reason}): give another with --port N, or --port 0 for any free port"
        ) from error
