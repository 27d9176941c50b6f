"""The steps of refinement on arrays."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from glacierseg.refine import steps


def _on_arrays(step: Callable[..., steps.PackedMask]) -> Callable[..., Any]:
    @wraps(step)
    def packed(mask: np.ndarray, *args: Any, **settings: Any) -> np.ndarray:
        return steps.unpack_mask(step(steps.pack_mask(mask), *args, **settings))

    return packed


remove_fragments = _on_arrays(steps.remove_fragments)
fill_holes = _on_arrays(steps.fill_holes)
merge_fragments = _on_arrays(steps.merge_fragments)
smooth = _on_arrays(steps.smooth)
