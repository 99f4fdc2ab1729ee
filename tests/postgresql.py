"""A real PostgreSQL server."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "very-secret-word"  # noqa: S105 - of a server that lives as long as the test


class Server:
    """A real PostgreSQL server on this machine, with a password."""

    def __init__(self, root: Path, binaries: Path) -> None:
        """Create its files in `root` with the programs in `binaries`; it does not run yet."""
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

    def _quietly(self, program: str, *arguments: str) -> None:
        quiet = subprocess.DEVNULL
        command = [*self._as_server, str(self._binaries / program), "-D", str(self._root / "data"), *arguments]
        subprocess.run(command, check=True, stdout=quiet, stderr=quiet, cwd=self._root)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs. Skips where none is installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    server = Server(tmp_path_factory.mktemp("postgresql"), Path(found).parent)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def postgresql(server: Server) -> str:
    """The URL of a server that runs."""
    return server.url
