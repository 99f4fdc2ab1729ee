"""A Hydra application of which one job gets stuck: it sleeps, always or once, is stopped, or ignores SIGTERM."""

import os
import signal
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig


@hydra.main(config_path=".", config_name="stuck")
def main(cfg: DictConfig) -> float:
    """Return x, unless it is the one that gets stuck."""
    if cfg.x != cfg.stuck:
        return float(cfg.x)
    match cfg.how:
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "once" if Path("stuck-once").exists():
            return float(cfg.x)
        case "once":
            Path("stuck-once").touch()
    time.sleep(600)
    return 0.0


if __name__ == "__main__":
    main()
