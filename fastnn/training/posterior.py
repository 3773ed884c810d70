"""What Bayesian regularisation found: precisions, and how certain a prediction is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Posterior:
    """Of a network trained with ``LevenbergMarquardt(regularization="bayesian")``.

    Parameters and noise have Gaussian distributions; targets are standardised where the network
    standardises.

    Attributes
    ----------
    alpha : float
        Precision (inverse variance) of the parameters before the data.
    beta : float
        Precision of the targets' noise.
    n_effective : float
        How many parameters the data determine, from 0 to ``n_params``.
    params : ndarray of float64, shape (n_params,)
        The parameters that this belongs to.
    """

    alpha: float
    beta: float
    n_effective: float
    params: np.ndarray = field(repr=False)
    _factor: np.ndarray = field(repr=False)  # lower Cholesky factor of their inverse covariance

    def variance(self, gradients: np.ndarray) -> np.ndarray:
        """Variance of predictions, without noise, by the delta method.

        Parameters
        ----------
        gradients : ndarray, shape (n_params, n)
            Of each prediction by the parameters.

        Returns
        -------
        ndarray, shape (n,)
        """
        from scipy.linalg import solve_triangular

        half = solve_triangular(self._factor, gradients, lower=True, check_finite=False)
        return np.einsum("pn,pn->n", half, half)
