"""A Hydra application with a typed config of dataclasses: a group, an enum, a path, and a value that must be given."""

import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


class Cache(Enum):
    """How rows are kept."""

    NONE = 1
    ALL = 2


@dataclass
class Database:
    """A database, and what a query costs."""

    cost: float = 2.0
    socket: Path = Path("mysql.sock")


@dataclass
class Config:
    """The application's config."""

    defaults: list[Any] = field(default_factory=lambda: ["_self_", {"db": "mysql"}])
    db: Database = MISSING
    cache: Cache = Cache.NONE
    rows: int = MISSING
    user: str = "${oc.env:USER,nobody}"


# A test runs the script more than once in its process.
store = ConfigStore.instance()
store.store(name="typed", node=Config, replace=True)
store.store(group="db", name="mysql", node=Database, replace=True)
store.store(group="db", name="postgres", node=Database(cost=0.5, socket=Path("postgres.sock")), replace=True)


@hydra.main(config_path=None, config_name="typed")
def main(cfg: Any) -> float:
    """Return what a query costs; leaves a file in the working directory."""
    assert isinstance(cfg.db.socket, Path)
    Path("query.txt").write_text(os.fspath(cfg.db.socket))
    return float(cfg.db.cost * cfg.rows + (cfg.cache is Cache.NONE))


if __name__ == "__main__":
    main()
