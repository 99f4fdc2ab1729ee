"""CMA-ES whose state in a study's storage, a pickle, creates numbers alone: a stranger's study runs no code."""

import io
import pickle
from itertools import product
from typing import Final

from optuna.trial import FrozenTrial

from sweeper.errors import StudyError
from sweeper.study.optuna_private import CmaEsState

PARTS: Final = frozenset(
    {
        ("cmaes._cma", "CMA"),
        ("cmaes._cmawm", "CMAwM"),
        ("cmaes._sepcma", "SepCMA"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        # In NumPy 1 and 2.
        *product(("numpy.core.multiarray", "numpy._core.multiarray"), ("_reconstruct", "scalar")),
    }
)
"""Module and name of all that a state of cmaes 0.12 and 0.13 consists of."""


class CmaEsSampler(CmaEsState):
    """Optuna's CMA-ES. `sample_relative` raises `StudyError` for a state that holds more than `PARTS`, or is damaged."""

    def load_state(self, trial: FrozenTrial, state: str) -> object:
        """Return the state that a trial holds as a pickle in hexadecimal digits."""
        try:
            return _Numbers(io.BytesIO(bytes.fromhex(state))).load()
        except Exception as error:  # a damaged pickle may raise anything
            raise StudyError(
                f"a search with hydra/sweeper/sampler=cmaes goes on from the state that its trials saved, but that of trial "
                f"{trial.number} is not one of cmaes ({error}): choose another sampler, or another hydra.sweeper.study_name"
            ) from error


class _Numbers(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        """Return one of `PARTS`. Raises `pickle.UnpicklingError` for any other."""
        if (module, name) not in PARTS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)
