"""Pictures of single digits, brought into the form of MNIST's images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.cnn.data import SIDE

BOX = 20  # MNIST's digits fit into 20 by 20 pixels
MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG")

# Shares of the contrast between background and the strongest ink.
NOISE = 0.1  # less is taken for background: grain, traces of JPEG
EDGE = 0.25  # where the digit ends
MIN_CONTRAST = 16  # of 255; less is a blank page


def read(path: str | os.PathLike) -> np.ndarray:
    """A picture of a digit as an image of MNIST's kind.

    It may have any size and either polarity, which its border tells. The digit is scaled to
    fit into 20 by 20 pixels and its centre of mass put into the middle of 28 by 28, white on
    black.

    Parameters
    ----------
    path : path
        A PNG or JPEG file.

    Returns
    -------
    ndarray of uint8, shape (28, 28)

    Raises
    ------
    ValueError
        If it is not such a file, is damaged, too large or blank.
    OSError
        If it cannot be read.
    """
    import warnings

    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    raw = path.open("rb")
    with raw, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is too large is refused below
        try:
            picture = Image.open(raw, formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{path}: {picture.width} x {picture.height} pixels are more than "
                    f"{MAX_PIXELS:,}"
                )
            gray = _gray(ImageOps.exif_transpose(picture))
        except UnidentifiedImageError:
            raise ValueError(f"{path}: not a PNG or JPEG picture") from None
        except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: damaged ({error})") from None
    try:
        return centered(gray)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _gray(picture: Any) -> np.ndarray:
    """Brightness from 0 to 255; what is transparent becomes background."""
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
    """The digit in a picture, scaled and centred as MNIST's are.

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
        If there is nothing to see.
    """
    from PIL import Image

    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    background = np.median(border)
    ink = gray - background
    if -ink.min() > ink.max():
        ink = -ink
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


def _offset(profile: np.ndarray, room: int) -> int:
    """Where the first pixel goes so that the centre of mass comes into the middle."""
    center = np.average(np.arange(len(profile)), weights=profile)
    return int(np.clip(round(SIDE / 2 - center), 0, room))
