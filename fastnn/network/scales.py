"""Standardisation: shift and factor in float64, then the cast to the network's dtype.

The order matters. At a timestamp of 1.7e9, float32 has a spacing of 128: a cast before the mean
is subtracted would leave about 28 distinct values of the 3,600 seconds of an hour.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from fastnn.network.spec import NetworkSpec

BLOCK_ELEMENTS = 1 << 15  # elements standardised at a time, so that they stay in the cache
# A column with fewer float32 spacings than this between its ends has lost its spread.
MIN_SPACINGS = 1000
_NARROW = np.float32(MIN_SPACINGS * np.finfo(np.float32).eps)  # relative to the largest value
FAR = 3.0  # standard deviations beyond the training range that count as far outside


@dataclass
class Scales:
    """Shifts and factors of features and real targets; None until they are learned.

    Attributes
    ----------
    input_shift, input_scale : ndarray of float64, shape (features,), or None
    input_low, input_high : ndarray of float64, shape (features,), or None
        Range of the features in training. Also None in files before format 3.
    target_shift, target_scale : ndarray of float64, shape (outputs,), or None
        Also None if targets are not scaled. With several outputs per target, the first output of
        a target has the shift and factor of the target itself.
    """

    input_shift: np.ndarray | None = None
    input_scale: np.ndarray | None = None
    target_shift: np.ndarray | None = None
    target_scale: np.ndarray | None = None
    input_low: np.ndarray | None = None
    input_high: np.ndarray | None = None

    @classmethod
    def fit(cls, spec: NetworkSpec, x: np.ndarray, targets: np.ndarray) -> Scales:
        """Learn the scales that give features and real targets mean 0 and standard deviation 1."""
        target_shift = target_scale = None
        if spec.scales_targets:
            own_shift, own_scale = shift_and_scale(targets, "y")[:2]
            target_shift, target_scale = output_scales(own_shift, own_scale, spec)
        shift, scale, low, high = shift_and_scale(x, "X")
        return cls(shift, scale, target_shift, target_scale, low, high)

    def inputs(self, x: np.ndarray, spec: NetworkSpec) -> np.ndarray:
        """Standardise samples, in the network's dtype."""
        if self.input_shift is None:
            return _cast(x, spec.dtype)
        return self.input_standardizer.apply(x, spec.dtype, spec.smooth_clip)

    def input_derivatives(
        self, x: np.ndarray, spec: NetworkSpec
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """First and second derivative of :meth:`inputs` by the features; None for 1 and for 0."""
        if self.input_shift is None or self.input_scale is None:
            return None, None
        scale, clip = self.input_scale, spec.smooth_clip
        if clip is None:
            return scale[None], None
        z = (x - self.input_shift) * scale
        inside = 1 / (1 + np.square(z / clip))  # derivatives of z / sqrt(1 + (z / clip)^2)
        slope = inside * np.sqrt(inside)
        return scale * slope, np.square(scale) * (-3 / clip**2) * z * slope * inside

    def targets(self, targets: np.ndarray, spec: NetworkSpec) -> np.ndarray:
        """Standardise real targets, in the network's dtype."""
        if self.target_shift is None:
            return _cast(targets, spec.dtype)
        if spec.outputs_per_target > 1:
            assert self.target_scale is not None
            first = slice(None, None, spec.outputs_per_target)
            factors = Standardizer.create(self.target_shift[first], self.target_scale[first])
            return factors.apply(targets, spec.dtype, None)
        return self._target_standardizer.apply(targets, spec.dtype, None)

    def outputs(self, z: np.ndarray) -> np.ndarray:
        """Convert predictions to the units of the targets; float64 if targets are scaled."""
        if self.target_shift is None:
            return z
        with np.errstate(over="ignore", invalid="ignore"):  # scales in a file may have any value
            return z / self.target_scale + self.target_shift

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that have been learned, by name."""
        found = ((name, getattr(self, name)) for name in ARRAYS)
        return {name: array for name, array in found if array is not None}

    def far_outside(self, x: np.ndarray, deviations: float) -> np.ndarray:
        """Mask of samples with a feature more than ``deviations`` outside the training range."""
        mask = np.zeros(len(x), bool)
        for rows in _blocks(x):
            mask[rows] = self._far(x[rows], deviations).any(axis=1)
        return mask

    def far_features(self, x: np.ndarray, deviations: float = FAR) -> np.ndarray:
        """Mask of features that are so far outside in some sample."""
        mask = np.zeros(x.shape[1], bool)
        for rows in _blocks(x):
            mask |= self._far(x[rows], deviations).any(axis=0)
        return mask

    def _far(self, part: np.ndarray, deviations: float) -> np.ndarray:
        scale = self.input_scale
        below, above = (self.input_low - part) * scale, (part - self.input_high) * scale
        return np.maximum(below, above) > deviations

    @cached_property
    def input_standardizer(self) -> Standardizer:
        """The standardisation of the features, which must have been learned."""
        assert self.input_shift is not None
        assert self.input_scale is not None
        return Standardizer.create(self.input_shift, self.input_scale)

    @cached_property
    def _target_standardizer(self) -> Standardizer:
        assert self.target_shift is not None
        assert self.target_scale is not None
        return Standardizer.create(self.target_shift, self.target_scale)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = ("input_shift", "input_scale", "target_shift", "target_scale", "input_low", "input_high")


def output_scales(
    shift: np.ndarray, scale: np.ndarray, spec: NetworkSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Shifts and factors of outputs, from those of the targets.

    Parameters
    ----------
    shift, scale : ndarray of float64, shape (targets,)
    spec : NetworkSpec

    Returns
    -------
    shift, scale : ndarray of float64, shape (outputs,)
    """
    shift, scale = (np.repeat(each, spec.outputs_per_target) for each in (shift, scale))
    if spec.loss == "gaussian":  # every second output is the logarithm of a variance
        shift[1::2], scale[1::2] = -2.0 * np.log(scale[1::2]), 1.0
    return shift, scale


class Standardizer(NamedTuple):
    """Computation of ``(x - shift) * scale``.

    Attributes
    ----------
    shift, scale : ndarray of float64
    high, low, factor : ndarray of float32, or None
        ``shift`` as the sum ``high + low``, and ``scale``, in float32. If x is exactly
        representable in float32, the result is the same up to rounding, since ``x - high`` is
        exact near the mean. None if ``scale`` is out of the range of float32.
    """

    shift: np.ndarray
    scale: np.ndarray
    high: np.ndarray | None
    low: np.ndarray | None
    factor: np.ndarray | None

    @classmethod
    def create(cls, shift: np.ndarray, scale: np.ndarray) -> Standardizer:
        """From learned shifts and factors."""
        with np.errstate(over="ignore", invalid="ignore"):
            high, factor = shift.astype(np.float32), scale.astype(np.float32)
            low = (shift - high).astype(np.float32)
        normal = np.isfinite(factor) & np.isfinite(high) & (factor >= np.finfo(np.float32).tiny)
        return (
            cls(shift, scale, high, low, factor) if normal.all() else cls(shift, scale, *[None] * 3)
        )

    def apply(self, x: np.ndarray, dtype: np.dtype, clip: float | None) -> np.ndarray:
        """Standardise block by block; values beyond the range of the dtype become infinite."""
        single = self.factor is not None and dtype == np.float32 and _fits_float32(x.dtype)
        block = self._apply_float32 if single else self._apply_float64
        out = np.empty(x.shape, dtype)
        if x.size <= BLOCK_ELEMENTS:
            block(x, out, clip)
        else:
            for rows in _blocks(x):
                block(x[rows], out[rows], clip)
        return out

    def _apply_float32(self, x: np.ndarray, out: np.ndarray, clip: float | None) -> None:
        assert self.high is not None
        np.subtract(x, self.high, out=out)
        out -= self.low
        out *= self.factor
        if clip is not None:
            apply_smooth_clip(out, clip)

    def _apply_float64(self, x: np.ndarray, out: np.ndarray, clip: float | None) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            z = x - self.shift
            z *= self.scale
            if clip is not None:
                apply_smooth_clip(z, clip)
            out[...] = z


@cache
def _fits_float32(dtype: np.dtype) -> bool:
    """Whether float32 represents all values of a dtype exactly."""
    return np.can_cast(dtype, np.float32)


def apply_smooth_clip(z: np.ndarray, bound: float) -> None:
    """Replace ``z`` by ``z / sqrt(1 + (z / bound)^2)`` in place: slope 1 at 0, within the bound.

    Uses hypot, since the square of a large number would overflow and the result become zero.
    Infinity becomes NaN, which a later check rejects.
    """
    with np.errstate(invalid="ignore"):
        z /= np.hypot(1, z / bound)


def _blocks(x: np.ndarray) -> list[slice]:
    """Consecutive rows that fit into the cache."""
    rows = max(1, BLOCK_ELEMENTS // x.shape[1])
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


def _cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if x.dtype == dtype and x.flags.c_contiguous:
        return x
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(x, dtype)


def _columns(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Yield copies of blocks of rows, transposed, in float64.

    With few columns, the samples of each column are contiguous, since NumPy is slow along a short
    contiguous axis.
    """
    few = matrix.shape[1] < 64
    for rows in _blocks(matrix):
        part = matrix[rows].T
        yield np.array(part, np.float64, order="C" if few else "F")


def shift_and_scale(matrix: np.ndarray, name: str) -> tuple[np.ndarray, ...]:
    """Mean, 1 / standard deviation (1 if that is zero), minimum and maximum of each column.

    Computed in float64 relative to the first row, so that a constant column has exactly zero
    deviation.
    """
    pivot = matrix[0].astype(np.float64)
    low, high, total = pivot.copy(), pivot.copy(), np.zeros_like(pivot)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in _columns(matrix):
            np.minimum(low, part.min(axis=1), out=low)
            np.maximum(high, part.max(axis=1), out=high)
            part -= pivot[:, None]
            total += part.sum(axis=1)
        mean, square = pivot + total / len(matrix), np.zeros_like(pivot)
        for part in _columns(matrix):
            part -= mean[:, None]
            part *= part
            square += part.sum(axis=1)
        deviation = np.sqrt(square / len(matrix))
    if not np.isfinite(deviation).all():
        raise ValueError(
            f"{name} has values too large to standardise in column {int(deviation.argmax())}"
        )
    # A constant column of computed values may vary in the last bits.
    eps = np.finfo(matrix.dtype).eps if matrix.dtype.kind == "f" else 0.0
    noise = (10 if matrix.dtype == np.float64 else 1) * eps * np.abs(mean)
    scale = 1.0 / np.where(deviation <= np.maximum(noise, 1e-300), 1.0, deviation)
    return mean, scale, low, high


def warn_lost_spread(
    name: str, given: Any, cast: np.ndarray, advice: str, stacklevel: int = 4
) -> bool:
    """Warn of columns whose spread is lost to the rounding of float32.

    Parameters
    ----------
    name : str
    given : array-like
        The data as the user gave them.
    cast : ndarray, shape (samples, columns)
        The data in float32.
    advice : str
        Advice that ends the warning.
    stacklevel : int
        Stack level of the user's call.

    Returns
    -------
    bool
        Whether there was something to warn of.
    """
    if cast is given or cast.dtype != np.float32 or getattr(given, "dtype", None) == cast.dtype:
        return False
    # A column that is not narrow in a part of the rows is not narrow in all rows. Two rows are
    # halved, so that their difference cannot overflow.
    first, last = 0.5 * cast[0], 0.5 * cast[-1]
    if (np.abs(first - last) > _NARROW * (np.abs(first) + np.abs(last))).all() or len(cast) == 1:
        return False
    if not _narrow_columns(cast[:: 1 + len(cast) // 100]).any():
        return False
    narrow = _narrow_columns(cast)
    largest = np.abs(cast).max(axis=0)
    array, names = np.asarray(given).reshape(cast.shape), getattr(given, "columns", None)
    for column in np.flatnonzero(narrow):
        exact = array[:, column].astype(np.float64)
        spread = float(exact.max() - exact.min())
        rounding = float(np.abs(exact - cast[:, column]).max())
        # a spread within the rounding of float64 is noise
        if rounding and spread > 1e-14 * largest[column]:
            which = column if names is None else repr(names[column])
            warnings.warn(
                f"{name}: column {which} lies in [{exact.min():.10g}, {exact.max():.10g}], where "
                f"float32 has steps of {float(np.spacing(largest[column])):.3g}; most of its "
                f"spread is lost. {advice}",
                stacklevel=stacklevel,
            )
            return True
    return False


def _narrow_columns(cast: np.ndarray) -> np.ndarray:
    """Mask of columns whose spread is only a few float32 spacings of their largest value."""
    low, high = cast.min(axis=0), cast.max(axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore"):
        spread = high - low
    return spread < _NARROW * largest
