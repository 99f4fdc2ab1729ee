"""hydra-optuna-sweeper's example with two values: the functions of Binh and Korn."""

import hydra
from omegaconf import DictConfig


@hydra.main(config_path=".", config_name="binh_and_korn")
def binh_and_korn(cfg: DictConfig) -> tuple[float, ...]:
    """Return both functions, or what the config says instead."""
    values = 4 * cfg.x**2 + 4 * cfg.y**2, (cfg.x - 5) ** 2 + (cfg.y - 5) ** 2
    return values[: cfg.count]


if __name__ == "__main__":
    binh_and_korn()
