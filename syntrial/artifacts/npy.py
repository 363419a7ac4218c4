"""The header of a .npy file from somewhere else, where NumPy's own reader raises whatever its parsers do."""

import tokenize
import warnings
from typing import IO, Final

import numpy as np
from numpy.lib import format as npy

_RAISED: Final = (
    *(OSError, EOFError, TypeError, LookupError, AttributeError, ArithmeticError, SyntaxError, tokenize.TokenError),
    *(RecursionError, MemoryError, AssertionError),
)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether it is written column by column, and type; the file then stands where the data begins.

    Raises ValueError where it is none, or an element or a side has no size.
    """
    try:
        with warnings.catch_warnings():
            # Of headers that Python 2 wrote.
            warnings.simplefilter("ignore")
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, is_fortran, dtype = read(file)
    except _RAISED as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    sides = tuple(int(side) for side in shape)
    if min(sides, default=0) < 0:
        raise ValueError(f"an array of shape {sides}")
    return sides, bool(is_fortran), dtype
