"""A made-up Himalayan basin with known truth, for the demo and for tests."""

from glacierseg.synthetic.basin import SyntheticBasin, make_basin
from glacierseg.synthetic.files import DEMO_REGIONS, BasinPaths, DemoRegion, write_basin, write_demo
from glacierseg.synthetic.sensor import BAND_NAMES, BAND_RANGES, NOISE_BANDS, OPTICAL_BANDS

__all__ = [
    "BAND_NAMES",
    "BAND_RANGES",
    "DEMO_REGIONS",
    "NOISE_BANDS",
    "OPTICAL_BANDS",
    "BasinPaths",
    "DemoRegion",
    "SyntheticBasin",
    "make_basin",
    "write_basin",
    "write_demo",
]
