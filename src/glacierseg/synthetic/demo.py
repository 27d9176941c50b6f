"""The two demos: the main job on a made-up basin, and on Landsat 7 over Khumbu."""

import logging
import os
from pathlib import Path
from typing import Any, Literal

from glacierseg.errors import DownloadError
from glacierseg.settings import RunConfig, parse_config

_log = logging.getLogger(__name__)

EVEREST_FILES = {
    "LE71400412000304SGS00_RGB.tif": "7d0505a8610fd7784cb71c03e5b242715cd1574e978c2c86553d60fd82372c30",
    "LE71400412000304SGS00_B4.tif": "271fa34e248f016f87109c8e81960caaa737558fbae110ec9e0d9e2d30d80c26",
    "15_rgi60_glacier_outlines.gpkg": "d1a5bcd4bd4731a24c2398c016a6f5a8064160fedd5bab10609adacda9ba41ef",
}
_EVEREST_URL = (
    "https://raw.githubusercontent.com/GlacioHack/geoutils-data/"
    "bd45050f82f552fc2a1c977993f20b0c13eeb05b/Everest_Landsat/"
)


def demo_config(data: Literal["synthetic", "everest"], folder: Path) -> RunConfig:
    """Makes or finds the data of a demo and returns its configuration.

    Args:
        data: Which demo.
        folder: The run's folder; the synthetic scenes are written to its `data`.

    Raises:
        DownloadError: The Everest data are neither given nor to be had.
        OutputError: The folder cannot be written to.
    """
    if data == "everest":
        return _parse(everest_settings(everest_folder()), folder)
    return _parse(synthetic_settings(synthetic_scenes(folder / "data")), folder)


def synthetic_scenes(folder: Path, *, noise: bool = False) -> Path:
    """Writes the three synthetic regions, unless they are there; returns their folder.

    Args:
        folder: Where.
        noise: Three bands of noise before the others, for tests of band importance.
    """
    from glacierseg.synthetic import DEMO_REGIONS, write_demo  # noqa: PLC0415

    wanted = [folder / f"{name}_{kind}.tif" for name in DEMO_REGIONS for kind in ("scene", "mask")]
    if not all(path.exists() for path in wanted):
        _log.info("making three synthetic basins (made-up ground, not a satellite's)")
        write_demo(folder, noise=noise)
    return folder


def synthetic_settings(folder: Path) -> dict[str, Any]:
    """Returns the settings of the synthetic demo: narrow networks and few epochs, for two cores."""
    return {
        "name": "demo-synthetic",
        "notices": [
            "Synthetic data: made-up basins. Scores show that the chain works, not how it maps real ice.",
            "Short training: few epochs on two cores. Real work takes full-size networks and more time.",
        ],
        "regions": [
            {
                "name": name,
                "scene": str((folder / f"{name}_scene.tif").resolve()),
                "truth": str((folder / f"{name}_mask.tif").resolve()),
                "roles": role,
            }
            for name, role in (("basin_a", "train"), ("basin_b", "validate"), ("basin_c", "test"))
        ],
        "models": [
            {"name": "glavitu", "width": 0.25, "patch_px": 64, "learning_rate": 1e-3},
            {"name": "m_landsnet", "width": 0.25, "patch_px": 64, "learning_rate": 3e-3},
            {"name": "unetplusplus", "width": 0.125, "patch_px": 64, "learning_rate": 2e-3},
        ],
        "training": {
            "epochs": 8,
            "schedule": "cosine",
            "batch_size": 8,
            "patches_per_epoch": 192,
            "weight_decay": 0.01,
        },
        # The gradient alone: what checks it costs as much as half a training.
        "bands": {"check": False},
    }


def everest_folder() -> Path:
    """Finds the Everest scene in `$GLACIERSEG_DATA_DIR/everest_landsat7`, else downloads it once.

    Raises:
        DownloadError: It is neither there nor to be had.
    """
    given = os.environ.get("GLACIERSEG_DATA_DIR")
    if given and all((Path(given) / "everest_landsat7" / name).is_file() for name in EVEREST_FILES):
        return Path(given).resolve() / "everest_landsat7"
    import pooch  # noqa: PLC0415

    cache = Path(pooch.os_cache("glacierseg")) / "everest_landsat7"
    fetcher = pooch.create(cache, _EVEREST_URL, registry={n: f"sha256:{s}" for n, s in EVEREST_FILES.items()})
    pooch.get_logger().setLevel("ERROR")
    if not all((cache / name).is_file() for name in EVEREST_FILES):
        _log.info("downloading the Everest scene (2.5 MB, once)")
    try:
        for name in EVEREST_FILES:
            fetcher.fetch(name)
    except Exception as error:
        # Every layer below (requests, urllib3, ssl) has its own kinds, and all mean the same to a user.
        raise DownloadError(
            "the Everest scene cannot be downloaded (no network?); set GLACIERSEG_DATA_DIR to a folder that "
            "holds everest_landsat7, or run `glacierseg demo --data synthetic`, which needs no network"
        ) from error
    return cache


def everest_settings(folder: Path) -> dict[str, Any]:
    """Returns the settings of the Everest demo: the east trains, a strip validates, the west tests."""
    return {
        "name": "demo-everest",
        "notices": [
            "Landsat 7 of 2000-10-30 (USGS); outlines of RGI 6.0 (RGI Consortium 2017, CC BY 4.0).",
            "Four bands without thermal or terrain: debris-covered tongues are hard to tell from rock.",
        ],
        "regions": [
            {
                "name": "khumbu",
                "scene": [
                    str(folder / "LE71400412000304SGS00_RGB.tif"),
                    str(folder / "LE71400412000304SGS00_B4.tif"),
                ],
                "bands": ["red", "green", "blue", "nir"],
                "truth": str(folder / "15_rgi60_glacier_outlines.gpkg"),
                "roles": {
                    "train": {"x": [0.5, 1.0]},
                    "validate": {"x": [0.4, 0.5]},
                    "test": {"x": [0.0, 0.4]},
                },
            }
        ],
        "models": [
            {"name": "glavitu", "width": 0.25, "patch_px": 64, "learning_rate": 5e-4},
            {"name": "m_landsnet", "width": 0.25, "patch_px": 64, "learning_rate": 1e-3},
            {"name": "unetplusplus", "width": 0.25, "patch_px": 64, "learning_rate": 1e-3},
        ],
        "training": {
            "epochs": 24,
            "schedule": "cosine",
            "batch_size": 8,
            "patches_per_epoch": 480,
            "weight_decay": 0.01,
        },
        "refinement": {
            "merge_distances_m": [0, 30, 60],
        },
    }


def _parse(settings: dict[str, Any], folder: Path) -> RunConfig:
    return parse_config(settings, folder / "demo.yaml")
