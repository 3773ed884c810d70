"""Result of Bayesian regularisation: precisions, and the variance of predictions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Posterior:
    """Posterior of a network trained with ``LevenbergMarquardt(regularization="bayesian")``.

    Parameters and noise are assumed to be Gaussian. If the network standardises the targets, all
    values refer to the standardised targets.

    Attributes
    ----------
    alpha : float
        Precision (inverse variance) of the prior of the parameters.
    beta : float
        Precision of the noise of the targets.
    n_effective : float
        Effective number of parameters, those determined by the data; from 0 to ``n_params``.
    params : ndarray of float64, shape (n_params,)
        The parameters around which the posterior was computed.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> y = x[:, 0] ** 2 + 0.1 * np.random.default_rng(0).normal(size=50)
    >>> net = fastnn.Network([1, 10, 1], loss="squared_error", dtype="float64", random_state=0)
    >>> rule = fastnn.LevenbergMarquardt(regularization="bayesian")
    >>> history = net.fit(x, y, optimizer=rule)
    >>> 2 < net.posterior_.n_effective < 8, 0.08 < net.posterior_.beta**-0.5 < 0.12
    (True, True)
    >>> values, std = net.predict(x, return_std=True)
    >>> bool((std > 0.08).all())
    True
    """

    alpha: float
    beta: float
    n_effective: float
    params: np.ndarray = field(repr=False)
    _factor: np.ndarray = field(repr=False)  # lower Cholesky factor of the inverse covariance

    def variance(self, gradients: np.ndarray) -> np.ndarray:
        """Return the variance of predictions, without the noise, by the delta method.

        Parameters
        ----------
        gradients : ndarray, shape (n_params, n)
            Gradient of each prediction with respect to the parameters.

        Returns
        -------
        ndarray, shape (n,)

        Examples
        --------
        >>> import numpy as np, fastnn
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> net = fastnn.Network([1, 5, 1], loss="squared_error", dtype="float64", random_state=0)
        >>> rule = fastnn.LevenbergMarquardt(regularization="bayesian")
        >>> history = net.fit(x, x[:, 0] ** 2, optimizer=rule, epochs=20)
        >>> net.posterior_.variance(net.jacobian_by_params(x)[:, 0].T).shape
        (50,)
        """
        from scipy.linalg import solve_triangular

        half = solve_triangular(self._factor, gradients, lower=True, check_finite=False)
        return np.einsum("pn,pn->n", half, half)
