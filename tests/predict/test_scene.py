import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate
from torch import nn

from glacierseg.errors import BandError, GlaciersegWarning, OutputError, RasterError, RequestError
from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.files import ScenePrediction
from glacierseg.predict.scene import finished_files, predict_scene
from glacierseg.raster.scene import open_scene
from glacierseg.refine.files import tuned_parameters
from glacierseg.settings import PredictSettings, RefineSettings
from tests.helpers import utm_grid, write_scene
from tests.weights.shelves import calibration

CARD = ModelCard(
    architecture="m_landsnet", bands=("red", "nir"), band_mean=(10.0, 5.0), band_std=(2.0, 4.0), patch_px=16
)


class Sigmoid(nn.Module):
    """Glacier probability is the logistic function of the first band minus the second."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = x[:, 0] - x[:, 1]
        return torch.stack([-margin / 2, margin / 2], 1)


def scene(folder: Path, names: tuple[str, ...] = ("nir", "green", "red")) -> Path:
    values = np.random.default_rng(0).integers(1, 20, (len(names), 37, 53)).astype(np.uint8)
    values[0, :5, :9] = 0
    return write_scene(folder / "valley.tif", values, names, nodata=0)


def test_files_lie_on_the_scenes_grid_and_hold_what_numpy_says(tmp_path: Path) -> None:
    path = scene(tmp_path)
    files = predict_scene(Sigmoid(), path, tmp_path / "out", card=CARD)
    assert files.probability.name == "valley_probability.tif"
    assert files.mask.name == "valley_mask.tif"
    nir, _, red = rasterio.open(path).read().astype(float)
    expected = 1 / (1 + np.exp(-((red - 10) / 2 - (nir - 5) / 4)))
    grid = utm_grid(37, 53)
    for file, name in ((files.probability, "glacier_probability"), (files.mask, "glacier")):
        with rasterio.open(file) as dataset:
            assert (dataset.crs, dataset.transform, dataset.shape) == (grid.crs, grid.transform, grid.shape)
            assert dataset.descriptions == (name,)
            assert dataset.tags()["model"] == "m_landsnet"
            assert dataset.tags()["bands"] == "red,nir"
        assert cog_validate(file, quiet=True)[0]
    with rasterio.open(files.probability) as dataset:
        probability = dataset.read(1)
        assert np.isnan(dataset.nodata)
    with rasterio.open(files.mask) as dataset:
        mask = dataset.read(1)
        assert dataset.nodata == 255
    np.testing.assert_allclose(probability[nir > 0], expected[nir > 0], atol=1e-5)
    assert np.isnan(probability[nir == 0]).all()
    np.testing.assert_array_equal(mask == 255, nir == 0)
    sure = (nir > 0) & (abs(expected - 0.5) > 1e-3)
    np.testing.assert_array_equal(mask[sure], expected[sure] > 0.5)


def test_a_scene_without_the_bands_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BandError, match="lacks red"):
        predict_scene(Sigmoid(), scene(tmp_path, ("nir", "green", "blue")), tmp_path, card=CARD)


FORGIVING = CARD.model_copy(update={"may_miss": ("nir",)})


def read_probability(files: ScenePrediction) -> np.ndarray:
    with rasterio.open(files.probability) as dataset:
        values: np.ndarray = dataset.read(1)
        return values


@pytest.mark.parametrize("floor", [(), (None, 0.5)])
def test_a_band_that_may_be_missing_is_its_mean(tmp_path: Path, floor: tuple[float | None, ...]) -> None:
    card = FORGIVING.model_copy(update={"band_mean": (10.0, 1.25), "band_log_floor": floor})
    lacking = scene(tmp_path, ("green", "red", "blue"))
    with pytest.warns(GlaciersegWarning, match=r"valley\.tif: has no data of nir; .* m_landsnet was trained"):
        files = predict_scene(Sigmoid(), lacking, tmp_path / "out", card=card)
    with rasterio.open(lacking) as dataset:
        green, red, _ = dataset.read()
    expected = 1 / (1 + np.exp(-(red.astype(float) - 10) / 2))
    # Where red has data, whatever stands in bands that nobody asked for.
    assert (green == 0).any()
    np.testing.assert_allclose(read_probability(files), expected, atol=1e-5)
    with rasterio.open(files.probability) as dataset:
        assert dataset.tags()["missing_bands"] == "nir"
    with pytest.raises(BandError, match=r"lacks red that the model was trained on; it has nir, green: name"):
        predict_scene(Sigmoid(), scene(tmp_path, ("nir", "green")), tmp_path, card=card)
    with pytest.raises(BandError, match="lacks red, nir"):
        predict_scene(Sigmoid(), scene(tmp_path, ("green", "blue")), tmp_path, card=card)


def test_gaps_of_a_band_that_may_be_missing_are_predicted(tmp_path: Path) -> None:
    path = scene(tmp_path)
    with pytest.warns(GlaciersegWarning, match=r"has no data of nir in 2% of the pixels"):
        files = predict_scene(Sigmoid(), path, tmp_path / "out", card=FORGIVING)
    with rasterio.open(path) as dataset:
        nir, _, red = dataset.read().astype(float)
    expected = 1 / (1 + np.exp(-((red - 10) / 2 - np.where(nir == 0, 0, (nir - 5) / 4))))
    np.testing.assert_allclose(read_probability(files), expected, atol=1e-5)
    # A gap in a band that is needed stays one.
    needed = predict_scene(
        Sigmoid(), path, tmp_path / "strict", card=CARD.model_copy(update={"may_miss": ("red",)})
    )
    np.testing.assert_array_equal(np.isnan(read_probability(needed)), nir == 0)


def test_a_band_without_any_data_is_missing(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 20, (2, 37, 53)).astype(np.uint8)
    values[1] = 0
    path = write_scene(tmp_path / "valley.tif", values, ("red", "nir"), nodata=0)
    with pytest.warns(GlaciersegWarning, match=r"has no data of nir;"):
        files = predict_scene(Sigmoid(), path, tmp_path / "out", card=FORGIVING)
    np.testing.assert_allclose(read_probability(files), 1 / (1 + np.exp(-(values[0] - 10.0) / 2)), atol=1e-5)


def test_where_every_band_may_be_missing_one_is_needed(tmp_path: Path) -> None:
    path = scene(tmp_path)
    with rasterio.open(path, "r+") as dataset:
        values = dataset.read()
        values[:, :3, :3] = 0
        dataset.write(values)
    card = CARD.model_copy(update={"may_miss": ("red", "nir")})
    with pytest.warns(GlaciersegWarning, match="has no data of nir in 2% of the pixels"):
        files = predict_scene(Sigmoid(), path, tmp_path / "out", card=card)
    np.testing.assert_array_equal(np.isnan(read_probability(files)), (values[0] == 0) & (values[2] == 0))


def test_a_missing_direction_is_not_turned(tmp_path: Path) -> None:
    card = CARD.model_copy(update={"bands": ("red", "aspect"), "may_miss": ("aspect",)})
    path = scene(tmp_path)
    with pytest.warns(GlaciersegWarning, match="has no data of aspect"):
        files = predict_scene(
            Sigmoid(), path, tmp_path / "out", settings=PredictSettings(symmetries=True), card=card
        )
    with rasterio.open(path) as dataset:
        red = dataset.read(3).astype(float)
    np.testing.assert_allclose(read_probability(files), 1 / (1 + np.exp(-(red - 10) / 2)), atol=1e-5)


def test_several_files_make_one_scene(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 20, (2, 20, 20)).astype(np.uint8)
    one = write_scene(tmp_path / "a.tif", values[:1], ["red"])
    two = write_scene(tmp_path / "b.tif", values[1:], ["nir"])
    both = predict_scene(Sigmoid(), open_scene([one, two]), tmp_path / "out", card=CARD)
    together = write_scene(tmp_path / "c.tif", values, ["red", "nir"])
    single = predict_scene(Sigmoid(), together, tmp_path / "out", card=CARD)
    np.testing.assert_array_equal(
        rasterio.open(both.probability).read(), rasterio.open(single.probability).read()
    )


@pytest.mark.parametrize("wrong", [{"window_px": 0}, {"overlap": 1.0}, {"batch_size": 0}, {"threshold": 1.0}])
def test_senseless_requests_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(
        RequestError, match=rf"^{next(iter(wrong))} must be (greater|less) than .* \(got [01]"
    ):
        predict_scene(Sigmoid(), scene(tmp_path), tmp_path, card=CARD, **wrong)


def test_a_failure_leaves_no_file_behind(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(Broken(), scene(tmp_path), tmp_path / "out", card=CARD)
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        predict_scene(Sigmoid(), scene(tmp_path), tmp_path / "file" / "out", card=CARD)


class Neighbourly(nn.Module):
    """Sees its surroundings, so that windows differ where they overlap; `after` windows it breaks down."""

    def __init__(self, after: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.mix = nn.Conv2d(2, 2, 5, padding=2)
        nn.init.normal_(self.mix.weight)
        self.left = after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.left is not None:
            self.left -= len(x)
            if self.left < 0:
                raise RuntimeError("broken")
        result: torch.Tensor = self.mix(x)
        return result


def contents(files: ScenePrediction) -> tuple[bytes, bytes]:
    return files.probability.read_bytes(), files.mask.read_bytes()


# Four strips of six windows; those that reach into the first missing strip are predicted once more.
@pytest.mark.parametrize(("after", "finished", "windows"), [(1, 0, 24), (9, 1, 24), (14, 2, 18), (20, 3, 18)])
def test_an_interrupted_prediction_goes_on_to_the_same_bytes(
    tmp_path: Path, after: int, finished: int, windows: int
) -> None:
    path = scene(tmp_path)
    settings: dict[str, Any] = {"card": CARD, "batch_size": 3, "window_px": 16}
    whole = predict_scene(Neighbourly(), path, tmp_path / "whole", **settings)
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(Neighbourly(after), path, out, **settings)
    assert not list(out.glob("*.tif"))
    assert len(list(out.glob(".*/strip-*.npy"))) == finished
    again = Neighbourly(10**6)
    files = predict_scene(again, path, out, **settings)
    assert again.left == 10**6 - windows
    assert contents(files) == contents(whole)
    assert [p.name for p in sorted(out.iterdir())] == ["valley_mask.tif", "valley_probability.tif"]


def test_strips_of_another_network_or_setting_are_not_used(tmp_path: Path) -> None:
    path, out = scene(tmp_path), tmp_path / "out"
    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(Neighbourly(20), path, out, card=CARD, settings=PredictSettings(batch_size=3))
    assert list(out.glob(".*/strip-*.npy"))
    other = Neighbourly()
    nn.init.normal_(other.mix.weight)
    files = predict_scene(other, path, out, card=CARD, settings=PredictSettings(batch_size=3))
    fresh = predict_scene(other, path, tmp_path / "fresh", card=CARD, settings=PredictSettings(batch_size=3))
    assert contents(files) == contents(fresh)


@pytest.mark.parametrize("first", [True, False])
def test_strips_of_several_networks_that_looked_in_another_way_are_not_used(
    tmp_path: Path, first: bool
) -> None:
    path, out = scene(tmp_path), tmp_path / "out"

    def pair(after: int | None = None) -> Ensemble:
        return Ensemble((Neighbourly(after), Neighbourly()), (CARD, CARD))

    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(
            pair(20 * (8 if first else 1)), path, out, PredictSettings(batch_size=3, symmetries=first)
        )
    assert list(out.glob(".*/strip-*.npy"))
    files = predict_scene(pair(), path, out, PredictSettings(batch_size=3, symmetries=not first))
    fresh = predict_scene(
        pair(), path, tmp_path / "fresh", PredictSettings(batch_size=3, symmetries=not first)
    )
    assert contents(files) == contents(fresh)
    with rasterio.open(files.probability) as dataset:
        assert dataset.tags().get("symmetries") == (None if first else "mean")


def test_several_networks_give_mean_and_spread(tmp_path: Path) -> None:
    folders, networks = [], []
    for seed, bands in enumerate((("red", "nir"), ("nir", "green"), ("red", "nir"))):
        torch.manual_seed(seed)
        card = CARD.model_copy(update={"bands": bands, "width": 0.125})
        networks.append((card.build(), card))
        folders.append(tmp_path / f"model{seed}")
        save_model(folders[-1], *networks[-1])
    path = scene(tmp_path)
    together = predict_scene(folders, path, tmp_path / "out", PredictSettings(precision="float32"))
    alone = [
        rasterio.open(
            predict_scene(
                folder, path, tmp_path / folder.name, PredictSettings(precision="float32")
            ).probability
        ).read(1)
        for folder in folders
    ]
    with rasterio.open(together.probability) as dataset:
        assert dataset.descriptions == ("glacier_probability", "spread")
        assert dataset.tags()["spread_of"] == "3 networks"
        mean, spread = dataset.read()
    # A pixel counts only where all bands of all networks have data.
    inside = ~np.isnan(mean)
    np.testing.assert_allclose(mean[inside], np.mean(alone, 0)[inside], atol=1e-5)
    np.testing.assert_allclose(spread[inside], np.std(alone, 0)[inside], atol=1e-5)


def test_the_eight_symmetries_are_averaged_and_spread(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(1, 20, (2, 16, 16)).astype(np.uint8)
    path = write_scene(tmp_path / "square.tif", values, ["red", "nir"])
    network = Neighbourly()
    file = predict_scene(
        network, path, tmp_path, card=CARD, settings=PredictSettings(symmetries=True, precision="float32")
    ).probability
    image = torch.from_numpy(CARD.scaling.apply(values, np.ones((16, 16), bool)))
    ways = []
    for flip in (False, True):
        for turns in range(4):
            seen = torch.rot90(image.flip(-1) if flip else image, turns, (-2, -1))
            with torch.no_grad():
                back = torch.rot90(network(seen[None]).softmax(1)[0, 1], -turns, (-2, -1))
            ways.append((back.flip(-1) if flip else back).numpy())
    mean, spread = rasterio.open(file).read()
    np.testing.assert_allclose(mean, np.mean(ways, 0), atol=1e-5)
    np.testing.assert_allclose(spread, np.std(ways, 0), atol=1e-5)


def test_calibrated_probabilities_need_a_calibration_and_leave_the_mask(tmp_path: Path) -> None:
    path = scene(tmp_path)
    with pytest.raises(RequestError, match="m_landsnet: has no calibration"):
        predict_scene(Sigmoid(), path, tmp_path / "out", card=CARD, settings=PredictSettings(calibrated=True))
    card = CARD.model_copy(update={"calibration": calibration().to_dict()})
    plain = predict_scene(Sigmoid(), path, tmp_path / "plain", card=card)
    stored = predict_scene(
        Sigmoid(), path, tmp_path / "stored", card=card, settings=PredictSettings(calibrated=True)
    )
    own = rasterio.open(plain.probability).read(1)
    np.testing.assert_array_equal(rasterio.open(stored.probability).read(1), calibration().apply(own))
    assert stored.mask.read_bytes() == plain.mask.read_bytes()


def test_several_networks_pass_on_what_was_tuned_for_all_of_them(tmp_path: Path) -> None:
    path, one, other = scene(tmp_path), RefineSettings(iterations=1), RefineSettings(iterations=2)
    for members, expected in (([one, one], one), ([one, other], None), ([one, None], None)):
        cards = tuple(CARD.model_copy(update={"refinement": own}) for own in members)
        ensemble = Ensemble((Sigmoid(), Sigmoid()), cards)
        mask = predict_scene(ensemble, path, tmp_path / "out", again=True).mask
        assert tuned_parameters(mask) == expected


def test_eight_bits_hold_the_probability_to_half_a_level(tmp_path: Path) -> None:
    path = scene(tmp_path)
    fine = rasterio.open(predict_scene(Sigmoid(), path, tmp_path / "a", card=CARD).probability).read(1)
    files = predict_scene(Sigmoid(), path, tmp_path / "b", card=CARD, settings=PredictSettings(dtype="uint8"))
    with rasterio.open(files.probability) as dataset:
        levels = dataset.read(1)
        assert dataset.nodata == 255
        assert dataset.scales == (1 / 254,)
        assert cog_validate(files.probability, quiet=True)[0]
    np.testing.assert_array_equal(levels == 255, np.isnan(fine))
    inside = levels != 255
    np.testing.assert_allclose(levels[inside] / 254, fine[inside], atol=0.5 / 254 + 1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 40), (40, 1), (1, 1), (3, 5)])
def test_scenes_of_one_row_or_column_come_out_whole(tmp_path: Path, height: int, width: int) -> None:
    values = np.random.default_rng(3).integers(1, 20, (2, height, width)).astype(np.uint8)
    path = write_scene(tmp_path / "thin.tif", values, ["red", "nir"])
    file = predict_scene(Sigmoid(), path, tmp_path, card=CARD).probability
    probability = rasterio.open(file).read(1)
    expected = 1 / (1 + np.exp(-((values[0] - 10.0) / 2 - (values[1] - 5.0) / 4)))
    np.testing.assert_allclose(probability, expected, atol=1e-5)


def test_a_scene_without_any_data_comes_out_as_nodata(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "e.tif", np.zeros((2, 30, 30), np.uint8), ["red", "nir"], nodata=0)
    files = predict_scene(Sigmoid(), path, tmp_path, card=CARD)
    assert np.isnan(rasterio.open(files.probability).read(1)).all()
    assert (rasterio.open(files.mask).read(1) == 255).all()


def test_a_truncated_scene_leaves_no_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 200, (2, 600, 300)).astype(np.uint8)
    path = write_scene(tmp_path / "cut.tif", values, ["red", "nir"])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    with pytest.raises(RasterError, match=r"cut\.tif"):
        predict_scene(Sigmoid(), path, tmp_path / "out", card=CARD, settings=PredictSettings(window_px=64))
    assert not list((tmp_path / "out").glob("*.tif"))


def mosaic_of_two(tmp_path: Path) -> tuple[Path, Path]:
    """Writes a scene whole, and as a virtual mosaic of `tile0.tif`, its left half, and `tile1.tif`."""
    values = np.random.default_rng(0).integers(1, 20, (2, 40, 64)).astype(np.uint8)
    whole = write_scene(tmp_path / "whole.tif", values, ["red", "nir"])
    sources = ""
    for number, left in enumerate((0, 32)):
        with rasterio.open(whole) as dataset:
            window = Window(left, 0, 32, 40)
            profile = {**dataset.profile, "width": 32, "transform": dataset.window_transform(window)}
            with rasterio.open(tmp_path / f"tile{number}.tif", "w", **profile) as tile:
                tile.write(dataset.read(window=window))
            crs, transform = dataset.crs.to_wkt(), ",".join(map(str, dataset.transform.to_gdal()))
    bands = ""
    for band, name in ((1, "red"), (2, "nir")):
        sources = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">tile{number}.tif</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="32" ySize="40"/>'
            f'<DstRect xOff="{left}" yOff="0" xSize="32" ySize="40"/></SimpleSource>'
            for number, left in enumerate((0, 32))
        )
        bands += (
            f'<VRTRasterBand dataType="Byte" band="{band}"><Description>{name}</Description>'
            f"{sources}</VRTRasterBand>"
        )
    mosaic = tmp_path / "mosaic.vrt"
    mosaic.write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="40"><SRS>{escape(crs)}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{bands}</VRTDataset>"
    )
    return whole, mosaic


def test_a_virtual_mosaic_is_a_scene(tmp_path: Path) -> None:
    whole, mosaic = mosaic_of_two(tmp_path)
    network = Neighbourly()
    one = predict_scene(network, whole, tmp_path / "a", card=CARD).probability
    other = predict_scene(network, mosaic, tmp_path / "b", card=CARD).probability
    np.testing.assert_array_equal(rasterio.open(one).read(), rasterio.open(other).read())


@pytest.mark.parametrize("bf16", [True, False])
def test_the_files_tell_what_automatic_was_and_strips_of_another_precision_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16: bool
) -> None:
    monkeypatch.setattr("glacierseg.predict.engines.has_native_bf16", lambda: bf16)
    path = write_scene(tmp_path / "s.tif", np.full((2, 20, 20), 7.0, np.float32), ("red", "nir"))
    network = CARD.build()
    settings: dict[str, Any] = {"card": CARD, "window_px": 16}
    files = predict_scene(network, path, tmp_path / "auto", **settings)
    with rasterio.open(files.probability) as dataset:
        assert dataset.tags()["engine"] == ("torch bfloat16" if bf16 else "torch float32")
    asked: list[object] = []

    def note(_: Path, key: dict[str, object]) -> None:
        asked.append(key["engine"])
        raise KeyboardInterrupt

    monkeypatch.setattr("glacierseg.predict.scene.StripsFolder", note)
    for precision in ("auto", "float32"):
        with pytest.raises(KeyboardInterrupt):
            predict_scene(network, path, tmp_path / "key", **{**settings, "precision": precision})
    assert (asked[0] == asked[1]) is not bf16


def test_a_network_without_a_card_is_predicted_in_float32(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", np.full((2, 20, 20), 7.0, np.float32), ("red", "nir"))
    files = predict_scene(CARD.build(), path, tmp_path, PredictSettings(window_px=16))
    with rasterio.open(files.probability) as dataset:
        assert dataset.tags()["engine"] == "torch float32"


def test_a_tile_of_a_mosaic_that_changes_makes_its_strips_useless(tmp_path: Path) -> None:
    _, mosaic = mosaic_of_two(tmp_path)
    out = tmp_path / "out"
    settings: dict[str, Any] = {"card": CARD, "batch_size": 3, "window_px": 16}
    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(Neighbourly(20), mosaic, out, **settings)
    assert list(out.glob(".*/strip-*.npy"))
    with rasterio.open(tmp_path / "tile1.tif", "r+") as tile:
        tile.write(tile.read()[:, ::-1])
    files = predict_scene(Neighbourly(), mosaic, out, **settings)
    fresh = predict_scene(Neighbourly(), mosaic, tmp_path / "fresh", **settings)
    assert contents(files) == contents(fresh)


def test_strips_of_other_weights_without_a_card_are_not_used(tmp_path: Path) -> None:
    path, out = scene(tmp_path, ("nir", "red")), tmp_path / "out"
    settings: dict[str, Any] = {"batch_size": 3, "window_px": 16}
    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(Neighbourly(20), path, out, **settings)
    assert list(out.glob(".*/strip-*.npy"))
    other = Neighbourly()
    nn.init.normal_(other.mix.weight)
    files = predict_scene(other, path, out, **settings)
    fresh = predict_scene(other, path, tmp_path / "fresh", **settings)
    assert contents(files) == contents(fresh)


@pytest.mark.parametrize("damaged", [lambda _: b"", lambda b: b[:40], lambda b: b[:-7], lambda _: b"PK" * 99])
def test_a_strip_that_was_damaged_is_predicted_again(
    tmp_path: Path, damaged: Callable[[bytes], bytes]
) -> None:
    path = scene(tmp_path)
    settings: dict[str, Any] = {"card": CARD, "batch_size": 3, "window_px": 16}
    whole = predict_scene(Neighbourly(), path, tmp_path / "whole", **settings)
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(Neighbourly(20), path, out, **settings)
    first = min(out.glob(".*/strip-*.npy"))
    first.write_bytes(damaged(first.read_bytes()))
    assert contents(predict_scene(Neighbourly(), path, out, **settings)) == contents(whole)


def turn_over(path: Path) -> None:
    """Gives a scene other pixels, and leaves its name, size and time as they were."""
    old = path.stat()
    with rasterio.open(path) as dataset:
        profile, values, names = dataset.profile, dataset.read(), dataset.descriptions
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values[:, ::-1])
        dataset.descriptions = names
    with path.open("ab") as file:
        file.write(bytes(old.st_size - path.stat().st_size))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert path.stat().st_size == old.st_size


def test_finished_files_are_known_by_all_that_made_them(tmp_path: Path) -> None:
    path, out = scene(tmp_path), tmp_path / "out"
    card = CARD.model_copy(update={"calibration": calibration().to_dict()})
    ensemble, opened = Ensemble((Neighbourly(),), (card,)), open_scene(path)
    settings = PredictSettings(batch_size=3, window_px=16, dtype="uint8")
    assert finished_files(ensemble, opened, out, settings) is None
    files = predict_scene(ensemble, opened, out, settings)
    assert finished_files(ensemble, opened, out, settings) == files
    scaled = opened.rescaled(["red"], 2.0)
    other = Neighbourly()
    nn.init.normal_(other.mix.weight)
    for network, seen, changed in (
        (Ensemble((other,), (CARD,)), opened, {}),
        (ensemble, scaled, {}),
        (ensemble, opened, {"window_px": 8}),
        (ensemble, opened, {"threshold": 0.4}),
        (ensemble, opened, {"dtype": "float32"}),
        (ensemble, opened, {"calibrated": True}),
    ):
        assert finished_files(network, seen, out, settings.replaced(**changed)) is None
    assert finished_files(ensemble, opened, out, settings, tags={"attribution": "somebody"}) is None
    path.write_bytes(path.read_bytes())
    assert finished_files(ensemble, opened, out, settings) == files
    turn_over(path)
    assert finished_files(ensemble, opened, out, settings) is None
    predict_scene(ensemble, opened, out, settings)
    assert finished_files(ensemble, opened, out, settings) == files
    for cut in (40, 10**6):
        whole = files.probability.read_bytes()
        files.probability.write_bytes(whole[:-cut])
        assert finished_files(ensemble, opened, out, settings) is None
        files.probability.write_bytes(whole)
    assert finished_files(ensemble, opened, out, settings) == files
    files.mask.unlink()
    assert finished_files(ensemble, opened, out, settings) is None


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_map_is_not_taken_for_that_of_a_namesake(tmp_path: Path, *, through_a_link: bool) -> None:
    ensemble, out, settings = (
        Ensemble((Neighbourly(),), (CARD,)),
        tmp_path / "out",
        PredictSettings(window_px=16),
    )
    for year in ("2019", "2020", "copy"):
        (tmp_path / year).mkdir()
    first, second = scene(tmp_path / "2019"), tmp_path / "2020" / "valley.tif"
    copied = tmp_path / "copy" / "valley.tif"
    for path in (second, copied):
        shutil.copy2(first, path)
    turn_over(second)
    link = tmp_path / "valley.tif"
    link.symlink_to(first)
    files = predict_scene(ensemble, link if through_a_link else first, out, settings)
    before = files.mask.read_bytes(), files.probability.read_bytes()
    # The same ground under another address is the same scene.
    assert finished_files(ensemble, open_scene(copied), out, settings) == files
    if through_a_link:
        link.unlink()
        link.symlink_to(second)
    other = open_scene(link if through_a_link else second)
    message = r"valley_probability\.tif: exists and was not made from .*valley\.tif; .*--again"
    with pytest.raises(RequestError, match=message):
        finished_files(ensemble, other, out, settings)
    with pytest.raises(RequestError, match=message):
        predict_scene(ensemble, other, out, settings)
    assert (files.mask.read_bytes(), files.probability.read_bytes()) == before
    predict_scene(ensemble, other, out, settings, again=True)
    assert finished_files(ensemble, other, out, settings) == files
    files.probability.unlink()
    with pytest.raises(RequestError, match="valley_mask"):  # one of the two is enough
        predict_scene(ensemble, copied, out, settings)


def test_what_lies_in_an_archive_is_known_by_its_pixels(tmp_path: Path) -> None:
    ensemble, out, settings = (
        Ensemble((Neighbourly(),), (CARD,)),
        tmp_path / "out",
        PredictSettings(window_px=16),
    )
    path, archive, mosaic = scene(tmp_path), tmp_path / "a.zip", tmp_path / "mosaic.vrt"

    def pack() -> None:
        with ZipFile(archive, "w") as packed:
            packed.write(path, "tile.tif")

    pack()
    rasterio.shutil.copy(f"/vsizip/{archive}/tile.tif", mosaic, driver="VRT")
    files = predict_scene(ensemble, mosaic, out, settings)
    assert finished_files(ensemble, open_scene(mosaic), out, settings) == files
    before = mosaic.read_bytes()
    turn_over(path)
    pack()
    assert mosaic.read_bytes() == before
    assert finished_files(ensemble, open_scene(mosaic), out, settings) is None


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "width": 20, "height": 20, "count": 2, "dtype": "complex64"}
    grid = utm_grid(20, 20)
    with rasterio.open(
        tmp_path / "radar.tif", "w", crs=grid.crs, transform=grid.transform, **profile
    ) as file:
        file.write(np.ones((2, 20, 20), np.complex64))
        file.descriptions = ("red", "nir")
    with pytest.raises(RasterError, match=r"radar\.tif: band red holds complex numbers"):
        predict_scene(Sigmoid(), tmp_path / "radar.tif", tmp_path / "out", card=CARD)
    assert not (tmp_path / "out").exists()


def test_maps_made_with_another_value_of_a_new_option_are_not_taken(tmp_path: Path) -> None:
    class Later(PredictSettings):
        margin: float = 0.0

    path = open_scene(scene(tmp_path))
    ensemble = Ensemble((Sigmoid(),), (CARD,))
    files = predict_scene(ensemble, path, tmp_path / "out", Later(margin=0.25))
    with rasterio.open(files.mask) as dataset:
        assert dataset.tags()["margin"] == "0.25"
    assert finished_files(ensemble, path, tmp_path / "out", Later(margin=0.25)) == files
    for other in (Later(margin=0.5), Later(), PredictSettings()):
        assert finished_files(ensemble, path, tmp_path / "out", other) is None
