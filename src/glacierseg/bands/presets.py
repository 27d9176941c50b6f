"""The six bands that the original study found for each of its networks."""

from collections.abc import Mapping, Sequence

from glacierseg.errors import BandError

ORIGINAL_SIX: Mapping[str, tuple[int, ...]] = {
    "glavitu": (8, 4, 5, 1, 11, 14),
    "m_landsnet": (5, 4, 1, 8, 11, 6),
    "unetplusplus": (5, 17, 1, 2, 16, 7),
}
"""1-based positions in the study's own stack of 18 bands, the most important first.

They are positions and no names: the study's rasters name no bands, so no recipe of ours can be said to have
the same ones.
"""
ORIGINAL_BANDS = 18


def preset_bands(network: str, bands: Sequence[str]) -> tuple[str, ...] | None:
    """Returns the names of the original six bands of a network, in scene order.

    Args:
        network: Its name.
        bands: All bands of the scene.

    Returns:
        None for a network that the study did not have.

    Raises:
        BandError: The scene has other than 18 bands.
    """
    if network not in ORIGINAL_SIX:
        return None
    if len(bands) != ORIGINAL_BANDS:
        raise BandError(
            f"the original study's six bands are positions in a stack of {ORIGINAL_BANDS} bands, and these "
            f"scenes have {len(bands)}; leave `bands: top_preset:` out to measure the best ones"
        )
    return tuple(bands[position - 1] for position in sorted(ORIGINAL_SIX[network]))
