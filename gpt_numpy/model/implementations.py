"""The implementations of the layers, by name, and the types that each computes in."""

import importlib
from types import ModuleType
from typing import Any

import numpy as np

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.base.threads import check_numba_variables
from gpt_numpy.config.choices import DTYPES, IMPLEMENTATIONS
from gpt_numpy.reference.linear import BFLOAT16


def load_ops(name: str) -> ModuleType:
    """The package of layer functions of this name, imported when it is first asked for.

    Raises
    ------
    InputError : there is no such implementation, or a variable keeps the kernels from running.
    """
    if not isinstance(name, str) or name not in IMPLEMENTATIONS:
        raise InputError(f"ops={shown(name)}: {did_you_mean(str(name), IMPLEMENTATIONS)}")
    if name == "kernels":
        check_numba_variables()  # before Numba, which reads them when it is imported
    return importlib.import_module(f"gpt_numpy.{name}")


def checked_dtype(dtype: str, ops: str) -> str:
    """The name of a type that the layers `ops` compute in.

    Raises
    ------
    InputError : they do not.
    """
    allowed = DTYPES if ops == "reference" else DTYPES[:3]
    try:
        named = isinstance(dtype, type | np.dtype)  # np.dtype(None) would be float64
        name = np.dtype(dtype).name if named else str(dtype)
    except TypeError:
        name = ""
    if name not in allowed:
        raise InputError(
            f"dtype={shown(dtype)} with ops={ops!r}: must be one of {', '.join(allowed)}"
        )
    return name


def array_type(precision: str) -> np.dtype[Any]:
    """The type of a model's arrays: with "bfloat16", which rounds copies of them, float32."""
    return np.dtype("float32" if precision == BFLOAT16 else precision)
