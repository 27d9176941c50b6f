"""What candidates show is counted of their own classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.looking import ground_of, look_at, plan_looks
from glacierseg.catalogues.place import place_of_box
from glacierseg.catalogues.tally import Tally
from glacierseg.catalogues.web import Web
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.looks import candidate
from tests.catalogues.server import serving

BOX = (86.8, 27.9, 87.0, 28.1)


def test_overviews_that_mix_classes_are_not_looked_at(tmp_path: Path) -> None:
    # Snow and rock in turns, whose mean is a number of cloud.
    classes = np.where(np.indices((1500, 1500)).sum(0) % 2, 11, 5).astype(np.uint8)
    profile = {"width": 1500, "height": 1500, "count": 1, "dtype": "uint8", "crs": "EPSG:32645"}
    plain = tmp_path / "plain.tif"
    with rasterio.open(plain, "w", transform=from_origin(475_000, 3_114_000, 20, 20), **profile) as file:
        file.write(classes, 1)
    rasterio.shutil.copy(
        plain, tmp_path / "SCL.tif", driver="COG", COMPRESS="DEFLATE", OVERVIEW_RESAMPLING="AVERAGE"
    )
    ground, settings = ground_of(place_of_box(BOX), None, None), FetchSettings()
    with serving(tmp_path) as server, Web(settings, cache=Cache(tmp_path / "cache", 0)) as web:
        one = replace(candidate(), images={"SCL": Asset(server.address("SCL.tif"))})
        looks = plan_looks(web, [one], ground)
        (seen,), left_out = look_at(web, looks, ground, Tally("looking", ()))
    assert not left_out
    assert (seen.cloud, round(seen.snow or 0, 2)) == (0, 0.5)
