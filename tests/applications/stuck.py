"""A Hydra application of which one job gets stuck: it sleeps, always or once, or is stopped."""

import fcntl
import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


@hydra.main(config_path=".", config_name="stuck")
def main(cfg: DictConfig) -> float:
    """Return x, unless it is the one that gets stuck."""
    if cfg.x != cfg.stuck:
        return float(cfg.x)
    match cfg.how:
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "locked":  # as a process that is stopped while it writes to the study's journal
            journal = Path(HydraConfig.get().sweeper.storage.removeprefix("journal://"))
            with journal.with_suffix(".lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                os.kill(os.getpid(), signal.SIGSTOP)
        case "once" if Path("stuck-once").exists():
            return float(cfg.x)
        case "once":
            Path("stuck-once").touch()
    time.sleep(600)
    return 0.0


if __name__ == "__main__":
    main()
