"""hydra-optuna-sweeper's example, which knows nothing of sweeper: x² + y², or an error."""

import hydra
from omegaconf import DictConfig


@hydra.main(config_path=".", config_name="sphere")
def sphere(cfg: DictConfig) -> float:
    """Return the square of the distance from the origin."""
    if cfg.error:
        raise RuntimeError("cfg.error is True")
    return float(cfg.x**2 + cfg.y**2)


if __name__ == "__main__":
    sphere()
