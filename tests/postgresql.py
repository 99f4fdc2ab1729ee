"""A real PostgreSQL server."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "very-secret-word"  # noqa: S105 - of a server that lives as long as the test


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server on this machine, with a password; its URL. Skips where none is installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    binaries = Path(found).parent
    root = tmp_path_factory.mktemp("postgresql")
    as_server = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (root / "password").write_text(PASSWORD)
    if as_server:
        for parent in [root, *root.parents[:2]]:
            parent.chmod(0o755)
        (root / "password").chmod(0o644)
        shutil.chown(root, "postgres")
    data = ["-D", str(root / "data")]
    options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1 -c fsync=off"
    secret = ["--auth=scram-sha-256", f"--pwfile={root / 'password'}", "-U", "sweeper"]

    def quietly(*arguments: str) -> None:
        quiet = subprocess.DEVNULL
        subprocess.run(
            [*as_server, str(binaries / arguments[0]), *data, *arguments[1:]],
            check=True,
            stdout=quiet,
            stderr=quiet,
            cwd=root,
        )

    quietly("initdb", *secret)
    quietly("pg_ctl", "-w", "-o", options, "-l", str(root / "log"), "start")
    yield f"postgresql://sweeper:{PASSWORD}@127.0.0.1:{port}/postgres"
    quietly("pg_ctl", "-w", "-m", "immediate", "stop")
