"""A real PostgreSQL server."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

PASSWORD = "very-secret-word"  # noqa: S105 - of a server that lives as long as the test


class Server:
    """A real PostgreSQL server on this machine, with a password."""

    def __init__(self, root: Path, binaries: Path) -> None:
        """Create its files in the folder `root`, which exists, with the programs in `binaries`; it does not run yet."""
        self._root, self._binaries = root, binaries
        self._as_server = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"postgresql://sweeper:{PASSWORD}@127.0.0.1:{port}/postgres"
        self._options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1 -c fsync=off -c timezone=Asia/Tokyo"
        (root / "password").write_text(PASSWORD)
        if self._as_server:
            temporary = Path(tempfile.gettempdir()).resolve()
            for folder in (root, *root.parents):  # the server's user must reach its files
                if temporary in folder.parents:
                    folder.chmod(0o755)
            (root / "password").chmod(0o644)
            shutil.chown(root, "postgres")
        self._quietly("initdb", "--auth=scram-sha-256", f"--pwfile={root / 'password'}", "-U", "sweeper")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._quietly("pg_ctl", "-w", "-o", self._options, "-l", str(self._root / "log"), "start")

    def stop(self) -> None:
        """Stop it at once; connections are cut."""
        self._quietly("pg_ctl", "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """Kill -9 every process of it; `start` recovers what was committed."""
        server = int((self._root / "data" / "postmaster.pid").read_text().splitlines()[0])
        # First the one that starts the others, and which would start them again.
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        pids = [server, *map(int, children)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(Path(f"/proc/{pid}").exists() for pid in pids):  # a new server refuses to start beside the old one
            time.sleep(0.01)

    def _quietly(self, program: str, *arguments: str) -> None:
        quiet = subprocess.DEVNULL
        command = [*self._as_server, str(self._binaries / program), "-D", str(self._root / "data"), *arguments]
        subprocess.run(command, check=True, stdout=quiet, stderr=quiet, cwd=self._root)


def installed_programs() -> Path:
    """The folder of the server's programs. Skips where none is installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    return Path(found).parent


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs. Skips where none is installed."""
    server = Server(tmp_path_factory.mktemp("postgresql"), installed_programs())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def postgresql(server: Server) -> str:
    """The URL of a server that runs."""
    return server.url
