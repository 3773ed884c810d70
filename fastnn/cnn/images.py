"""Conversion of pictures of single digits to the format of MNIST."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.cnn.data import SIDE

BOX = 20  # MNIST's digits fit into 20 by 20 pixels
MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG")

# Fractions of the contrast between the background and the strongest ink.
NOISE = 0.1  # lower values count as background: grain, JPEG artefacts
EDGE = 0.25  # threshold for the bounding box of the digit
# On the scale from 0 to 255:
MIN_CONTRAST = 16  # a picture with less contrast is blank
UNEVEN = 12  # difference between the medians of the sides above which the light is uneven
FITTED = 96  # side, in pixels, of the reduced copy to which a background is fitted


def read(path: str | os.PathLike, notes: list[str] | None = None) -> np.ndarray:
    """Read a picture of a digit and convert it to the format of MNIST.

    The picture may have any size and either polarity, which is determined from its border. Uneven
    light is corrected: if the brightness of the border varies, the background is modelled as a
    smooth surface instead of a constant. The digit is scaled to fit into 20 by 20 pixels, and its
    centre of mass is placed at the centre of 28 by 28 pixels, white on black.

    Parameters
    ----------
    path : path
        A PNG or JPEG file.
    notes : list of str, optional
        A message is appended if the light is uneven.

    Returns
    -------
    ndarray of uint8, shape (28, 28)

    Raises
    ------
    ValueError
        If the file is not a PNG or JPEG picture, or is damaged, too large or blank.
    OSError
        If the file cannot be read.
    """
    import warnings

    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    raw = path.open("rb")
    with raw, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pictures that are too large are refused below
        try:
            picture = Image.open(raw, formats=FORMATS)
            pixels = picture.width * picture.height
            gray = _gray(ImageOps.exif_transpose(picture)) if pixels <= MAX_PIXELS else None
        except UnidentifiedImageError:
            raise ValueError(f"{path}: not a PNG or JPEG picture") from None
        except Exception as error:  # Pillow raises many types for damaged files
            raise ValueError(f"{path}: damaged ({error})") from None
    if gray is None:
        raise ValueError(
            f"{path}: {picture.width} x {picture.height} pixels are more than {MAX_PIXELS:,}"
        )
    try:
        low, high = border_range(gray)
        if notes is not None and high - low > UNEVEN:
            notes.append(
                f"{path}: uneven light, the border goes from {low:.0f} to {high:.0f} of 255; the "
                "background was estimated (--save-input shows what the network sees)"
            )
        return centered(gray)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write(folder: str | os.PathLike, names: list[str], images: np.ndarray) -> list[Path]:
    """Write images as PNG files.

    Parameters
    ----------
    folder : path
        Created if absent.
    names : list of str
        File names without suffix. A number is appended to repeated names.
    images : ndarray of uint8, shape (images, 28, 28)

    Returns
    -------
    list of Path
    """
    from PIL import Image

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, image in zip(names, images, strict=True):
        path, number = folder / f"{name}.png", 2
        while path in paths:
            path, number = folder / f"{name}-{number}.png", number + 1
        Image.fromarray(image).save(path)
        paths.append(path)
    return paths


def _gray(picture: Any) -> np.ndarray:
    """Brightness from 0 to 255; transparent pixels become background."""
    if picture.mode in ("I", "I;16", "F"):  # Pillow would clip 16 bits to 8
        values = np.asarray(picture, np.float64)
        return values * (255 / max(values.max(), 255))
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return np.asarray(picture.convert("L"), np.float64)
    gray, alpha = (np.asarray(band, np.float64) for band in picture.convert("LA").split())
    share = alpha / 255
    if not share.any():
        return np.zeros_like(gray)
    background = 0.0 if np.average(gray, weights=share) > 127 else 255.0
    return gray * share + background * (1 - share)


def centered(gray: np.ndarray) -> np.ndarray:
    """The digit in a picture, scaled and centred as in MNIST.

    Parameters
    ----------
    gray : ndarray, shape (height, width)
        Brightness from 0 to 255; dark on bright, or bright on dark.

    Returns
    -------
    ndarray of uint8, shape (28, 28)

    Raises
    ------
    ValueError
        If the picture is blank.
    """
    from PIL import Image

    low, high = border_range(gray)
    background = np.median(_border(gray)) if high - low <= UNEVEN else surface(gray)
    ink = gray - background
    if -ink.min() > ink.max():
        # dark ink reflects a fraction of the local light
        ink = -ink if high - low <= UNEVEN else -ink / np.maximum(background, 1) * background.max()
    if ink.max() < MIN_CONTRAST:
        raise ValueError("blank, there is no digit to see")
    ink = np.maximum(ink / ink.max(), 0.0)
    ink[ink < NOISE] = 0.0
    rows, columns = (np.flatnonzero((ink > EDGE).any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    scale = BOX / max(ink.shape)
    height, width = (max(1, round(scale * length)) for length in ink.shape)
    small = Image.fromarray(ink.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    ink = np.clip(np.asarray(small, np.float64), 0, 1)
    ink /= ink.max()

    image = np.zeros((SIDE, SIDE))
    top, left = (
        _offset(ink.sum(axis=1 - axis), SIDE - length) for axis, length in enumerate(ink.shape)
    )
    image[top : top + height, left : left + width] = ink
    return np.rint(255 * image).astype(np.uint8)


def _border(gray: np.ndarray) -> np.ndarray:
    return np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])


def border_range(gray: np.ndarray) -> tuple[float, float]:
    """Median brightness of the darkest and of the brightest side.

    A stroke that reaches the border hardly changes a median.
    """
    medians = [np.median(side) for side in (gray[0], gray[-1], gray[:, 0], gray[:, -1])]
    return float(min(medians)), float(max(medians))


def surface(gray: np.ndarray) -> np.ndarray:
    """Background under uneven light: a quadratic surface fitted to the pixels without ink.

    The least-squares fit uses a reduced copy: first the pixels of a frame (the outer fifth on each
    side of the centre), then, repeatedly, all pixels with residuals of at most 2.5 standard
    deviations, estimated from the residuals in the frame.
    """
    from PIL import Image

    side = min(FITTED, *gray.shape)
    small = Image.fromarray(gray.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
    values = np.asarray(small, np.float64).ravel()
    places = _terms(side, side).reshape(-1, 6)
    outer = np.abs(places[:, 1:3]).max(axis=1) > 0.8
    kept = outer
    for _ in range(5):
        coefficients = np.linalg.lstsq(places[kept], values[kept], rcond=None)[0]
        residuals = np.abs(values - places @ coefficients)
        # 1.4826 times the median absolute residual estimates the standard deviation (if normal)
        kept = residuals <= max(2.5 * 1.4826 * np.median(residuals[outer]), 1.0)
    return _terms(*gray.shape) @ coefficients


def _terms(height: int, width: int) -> np.ndarray:
    """Terms 1, x, y, x², x y, y² at pixel centres in [-1, 1]; shape (height, width, 6)."""
    y, x = np.meshgrid(
        (2 * np.arange(height) + 1) / height - 1,
        (2 * np.arange(width) + 1) / width - 1,
        indexing="ij",
    )
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _offset(profile: np.ndarray, room: int) -> int:
    """Offset of the first pixel that moves the centre of mass to the middle, within ``room``."""
    center = np.average(np.arange(len(profile)), weights=profile)
    return int(np.clip(round(SIDE / 2 - center), 0, room))
