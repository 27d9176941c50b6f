"""Student's t distribution, as intervals and tests of few values need it.

With t = sqrt(n) tan(a) its density in the angle a is proportional to cos(a)^(n - 1), a smooth function that
Gauss-Legendre integrates to ten digits.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@lru_cache(maxsize=64)
def student_quantile(share: float, degrees_of_freedom: float) -> float:
    """Returns below what a share of the distribution lies, the angle found by bisection.

    Args:
        share: At least 0.5 and less than 1.
        degrees_of_freedom: 1 or more, not necessarily whole.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        density = np.cos((_NODES + 1) * angle / 2) ** (degrees_of_freedom - 1)
        below = 0.5 + _height(degrees_of_freedom) * float(_WEIGHTS @ density) * angle / 2
        low, high = (angle, high) if below < share else (low, angle)
    return math.sqrt(degrees_of_freedom) * math.tan(low)


def student_tail(t: ArrayLike, degrees_of_freedom: float) -> NDArray[np.float64]:
    """Returns how likely a value above `t` is.

    Args:
        t: `(...)`; infinite ones are allowed.
        degrees_of_freedom: 1 or more.
    """
    angle = np.arctan(np.asarray(t, np.float64) / math.sqrt(degrees_of_freedom))
    # Integrated from |t| outwards, so that small shares keep their digits.
    reach = math.pi / 2 - np.abs(angle)
    # With few degrees of freedom the density rises from its end like a root, which is smooth in this share of
    # the way, squared.
    way = (_NODES + 1) / 2
    density = np.sin(reach[..., None] * way**2) ** (degrees_of_freedom - 1)
    beyond = _height(degrees_of_freedom) * (density @ (_WEIGHTS * way)) * reach
    tail: NDArray[np.float64] = np.where(angle < 0, 1 - beyond, beyond)
    return tail


def _height(degrees_of_freedom: float) -> float:
    gammas = math.lgamma((degrees_of_freedom + 1) / 2) - math.lgamma(degrees_of_freedom / 2)
    return math.exp(gammas) / math.sqrt(math.pi)
