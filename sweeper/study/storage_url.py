"""What a storage's URL says: whether it is a PostgreSQL server's, what of it is secret, and why it cannot be opened."""

import re
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from sweeper.errors import StudyError

JOURNAL: Final = "journal://"
"""Scheme of a journal file's URL, defined by sweeper: Optuna has none."""
DRIVER: Final = "postgresql+psycopg://"
"""Start of the URL of a PostgreSQL server, with the driver that sweeper names."""
MORE: Final = "allow more of them on the server, or run fewer jobs at a time"
INSTALL: Final = "pip install 'psycopg[binary]'"


def is_postgresql(url: str) -> bool:
    """Whether the storage is on a PostgreSQL server, whatever its driver. Any other storage is a file of this machine."""
    return url.partition(":")[0].partition("+")[0] in {"postgresql", "postgres"}


def redacted(url: str) -> str:
    """Return the URL without its password and without its query, which may hold one too.

    >>> redacted("postgresql://me:a/b#c@host/db?password=secret")
    'postgresql://me:***@host/db'
    >>> redacted("postgresql://me:wo@rd@host/db")
    'postgresql://me:***@host/db'
    """
    parsed = _parsed(url)
    if url.startswith(JOURNAL):
        return url
    if parsed is None:
        # Before an @ may be a password, and libpq has a form with password=.
        return "(a URL that cannot be read)" if re.search("[@=]", url) else url
    if _has_raw_at(parsed):
        end = url.rpartition("@")[2].partition("?")[0]
        return f"{parsed.drivername}://{parsed.username}:***@{end}"
    return parsed.set(query={}).render_as_string(hide_password=True)


def has_password(url: str) -> bool:
    """Whether a storage's URL, as it was typed, may hold a password itself, rather than refer to a variable."""
    given = re.sub(r"\$\{[^}]*\}", "", url)
    if given.startswith(JOURNAL):
        return False
    parsed = _parsed(given)
    if parsed is None:
        return "@" in given
    return bool(parsed.password or (parsed.query and parsed.get_backend_name() != "sqlite"))


def check_typed(url: str, option: str) -> None:
    """Raise `StudyError` for a URL that may hold a password: it was typed after `option`, or stands in a config."""
    if has_password(url):
        raise StudyError(
            f"a password would be in files and in the list of processes, but {option} holds one: write the URL into a variable, "
            f"as in export STUDY_URL=..., and give {option}'${{oc.env:STUDY_URL}}'"
        )


def why_not_opened(error: BaseException, url: str) -> tuple[str, str | None]:
    """Return why a storage cannot be opened, in one line without the password, and the fix if one is known."""
    while error.__cause__ is not None:  # Optuna's own message hides the driver's
        error = error.__cause__
    parsed = _parsed(url)
    if isinstance(error, ImportError):
        return _without_driver(error, url)
    if isinstance(error, NoSuchModuleError) and url.startswith("postgres:"):
        return "SQLAlchemy knows no postgres://", f"begin it with {DRIVER}"
    if parsed is not None and _has_raw_at(parsed):
        return "more than one @ is in it", "write an @ in the password as %40 and a % as %25"
    if isinstance(error, ValueError) and parsed is None:
        return "a character of its password is not written as %40 is for @, or its port is no number", None
    reason = " ".join(next(iter(str(error).strip().splitlines()), type(error).__name__).split())
    fix = MORE if re.search(r"too many (connections|clients)|connection slots", reason) else None
    password = parsed.password if parsed is not None else None
    # Within a word, a short password is no password.
    return (re.sub(rf"(?<!\w){re.escape(password)}(?!\w)", "***", reason) if password else reason), fix


def _without_driver(error: ImportError, url: str) -> tuple[str, str | None]:
    reason = f"it needs the package {error.name}, which is not installed"
    if not is_postgresql(url):
        return reason, None
    return reason, INSTALL if error.name == "psycopg" else f"begin it with {DRIVER}, and {INSTALL}"


def _has_raw_at(parsed: URL) -> bool:
    """Whether a part of the password was read as that of a host or a database: SQLAlchemy ends it at the first @."""
    return bool(parsed.password) and "@" in f"{parsed.host}{parsed.database}"


def _parsed(url: str) -> URL | None:
    """Return the parts of a URL; None for one that cannot be read, such as one whose port is no number."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None
