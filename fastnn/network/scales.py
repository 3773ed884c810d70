"""Standardisation: shift and factor in float64, then the cast to the network's dtype.

The order counts. A timestamp of 1.7e9 has steps of 128 in float32, so that a cast before the mean
is subtracted would leave a dozen different values of an hour's 3,600.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.network.spec import NetworkSpec

BLOCK = 1 << 15  # numbers standardised at a time, so that they stay in the cache
# A column with less than this many roundings of float32 between its ends has lost its spread.
FEWEST_ROUNDINGS = 1000
FAR = 3.0  # deviations beyond the training range that count as far outside


@dataclass
class Scales:
    """Shifts and factors of features and real targets; None before they are learned.

    Attributes
    ----------
    input_shift, input_scale : ndarray of float64, shape (features,), or None
    input_low, input_high : ndarray of float64, shape (features,), or None
        Range of the features in training; None too of files before format 3.
    target_shift, target_scale : ndarray of float64, shape (outputs,), or None
        None too where targets are not scaled.
    """

    input_shift: np.ndarray | None = None
    input_scale: np.ndarray | None = None
    target_shift: np.ndarray | None = None
    target_scale: np.ndarray | None = None
    input_low: np.ndarray | None = None
    input_high: np.ndarray | None = None

    @classmethod
    def learned(cls, spec: NetworkSpec, x: np.ndarray, targets: np.ndarray) -> Scales:
        """Those that give features (and real targets) mean 0 and standard deviation 1."""
        of_targets = shift_and_scale(targets, "y")[:2] if spec.scales_targets else (None, None)
        shift, scale, low, high = shift_and_scale(x, "X")
        return cls(shift, scale, *of_targets, low, high)

    def inputs(self, x: np.ndarray, spec: NetworkSpec) -> np.ndarray:
        """Samples standardised, in the network's dtype."""
        return self._standardized("input", x, spec.dtype, spec.smooth_clip)

    def targets(self, targets: np.ndarray, spec: NetworkSpec) -> np.ndarray:
        """Real targets standardised, in the network's dtype."""
        return self._standardized("target", targets, spec.dtype, None)

    def outputs(self, z: np.ndarray) -> np.ndarray:
        """Predictions in the units of the targets, float64 where there are scales."""
        return z if self.target_shift is None else z / self.target_scale + self.target_shift

    def arrays(self) -> dict[str, np.ndarray]:
        """Those that have been learned, by name."""
        found = ((name, getattr(self, name)) for name in ARRAYS)
        return {name: array for name, array in found if array is not None}

    def far_outside(self, x: np.ndarray, deviations: float) -> np.ndarray:
        """Mask of samples with a feature so many deviations outside the training range."""
        mask = np.zeros(len(x), bool)
        for rows in _blocks(x):
            part, scale = x[rows], self.input_scale
            below, above = (self.input_low - part) * scale, (part - self.input_high) * scale
            mask[rows] = (np.maximum(below, above) > deviations).any(axis=1)
        return mask

    def _standardized(
        self, kind: str, x: np.ndarray, dtype: np.dtype, clip: float | None
    ) -> np.ndarray:
        """``(x - shift) * scale``, with a smooth clip if there is one."""
        shift, scale = getattr(self, f"{kind}_shift"), getattr(self, f"{kind}_scale")
        if shift is None:
            with np.errstate(over="ignore"):
                return np.ascontiguousarray(x, dtype)
        if dtype == np.float32 and np.can_cast(x.dtype, dtype):
            halves = self._halves(kind, shift, scale)
            if halves is not None:
                return _in_single(x, *halves, clip)
        return _in_double(x, shift, scale, dtype, clip)

    def _halves(self, kind: str, shift: np.ndarray, scale: np.ndarray) -> tuple | None:
        """Shift as the sum of two float32, and the factor; None if that needs float64."""
        known = self.__dict__.get(f"_{kind}_halves")
        if known is not None and known[0] is shift and known[1] is scale:
            return known[2]
        with np.errstate(over="ignore", invalid="ignore"):
            high, factor = shift.astype(np.float32), scale.astype(np.float32)
            low = (shift - high).astype(np.float32)
        normal = np.isfinite(factor) & np.isfinite(high) & (factor >= np.finfo(np.float32).tiny)
        halves = (high, low, factor) if normal.all() else None
        self.__dict__[f"_{kind}_halves"] = (shift, scale, halves)
        return halves

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = ("input_shift", "input_scale", "target_shift", "target_scale", "input_low", "input_high")


def clip_smoothly(z: np.ndarray, bound: float | None) -> None:
    """``z`` becomes ``z / sqrt(1 + (z / bound)^2)``, in place: slope 1 at 0, within the bound."""
    if bound is not None:
        z /= np.sqrt(1 + np.square(z / bound))


def _blocks(x: np.ndarray) -> list[slice]:
    """Consecutive rows that fit into the cache."""
    rows = max(1, BLOCK // x.shape[1])
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


def _in_double(
    x: np.ndarray, shift: np.ndarray, scale: np.ndarray, dtype: np.dtype, clip: float | None
) -> np.ndarray:
    """Block by block in float64, then cast; a column beyond the dtype becomes infinite."""
    out = np.empty(x.shape, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in _blocks(x):
            z = x[rows].astype(np.float64)
            z -= shift
            z *= scale
            clip_smoothly(z, clip)
            out[rows] = z
    return out


def _in_single(
    x: np.ndarray, high: np.ndarray, low: np.ndarray, scale: np.ndarray, clip: float | None
) -> np.ndarray:
    """The same to rounding for what float32 holds exactly: near the mean ``x - high`` is exact."""
    out = np.empty(x.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in _blocks(x):
            z = out[rows]
            np.subtract(x[rows], high, out=z)
            z -= low
            z *= scale
            clip_smoothly(z, clip)
    return out


def shift_and_scale(matrix: np.ndarray, name: str) -> tuple[np.ndarray, ...]:
    """Mean, 1 / standard deviation (1 where it is zero), smallest and largest of the columns.

    In float64, relative to the first row, so that a constant column has the deviation zero.
    """
    pivot = matrix[0].astype(np.float64)
    low, high, total = pivot.copy(), pivot.copy(), np.zeros_like(pivot)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in _blocks(matrix):
            part = matrix[rows].astype(np.float64)
            np.minimum(low, part.min(axis=0), out=low)
            np.maximum(high, part.max(axis=0), out=high)
            part -= pivot
            total += part.sum(axis=0)
        mean, square = pivot + total / len(matrix), np.zeros_like(pivot)
        for rows in _blocks(matrix):
            part = matrix[rows].astype(np.float64)
            part -= mean
            part *= part
            square += part.sum(axis=0)
        deviation = np.sqrt(square / len(matrix))
    if not np.isfinite(deviation).all():
        raise ValueError(
            f"{name} has values too large to standardise in column {int(deviation.argmax())}"
        )
    # Of numbers that were computed, a constant column may differ in the last bits.
    eps = np.finfo(matrix.dtype).eps if matrix.dtype.kind == "f" else 0.0
    noise = (10 if matrix.dtype == np.float64 else 1) * eps * np.abs(mean)
    scale = 1.0 / np.where(deviation <= np.maximum(noise, 1e-300), 1.0, deviation)
    return mean, scale, low, high


def warn_lost_spread(name: str, given: Any, cast: np.ndarray, advice: str) -> None:
    """Warn of columns whose spread is lost to the rounding of float32.

    Parameters
    ----------
    name : str
    given : array-like
        As it came in.
    cast : ndarray, shape (samples, columns)
        The same in float32.
    advice : str
        What to do.
    """
    if cast is given or cast.dtype != np.float32 or getattr(given, "dtype", None) == cast.dtype:
        return
    low, high = cast.min(axis=0), cast.max(axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    narrow = high - low < FEWEST_ROUNDINGS * np.finfo(np.float32).eps * largest
    for column in np.flatnonzero(narrow):
        exact = np.asarray(given).reshape(cast.shape)[:, column].astype(np.float64)
        spread = float(exact.max() - exact.min())
        rounding = float(np.abs(exact - cast[:, column]).max())
        # what float64 itself rounds is noise
        if rounding and spread > 1e-14 * largest[column]:
            warnings.warn(
                f"{name}: column {column} lies in [{exact.min():.10g}, {exact.max():.10g}], where "
                f"float32 has steps of {float(np.spacing(largest[column])):.3g}; most of its "
                f"spread is lost. {advice}",
                stacklevel=4,
            )
            return
