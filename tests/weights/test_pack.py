import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from glacierseg.errors import CheckpointError, DataError, OutputError, RequestError
from glacierseg.models.card import WEIGHTS, is_large_kernel, load_model, read_card
from glacierseg.models.registry import count_parameters
from glacierseg.predict.calibration import read_calibration, store_calibration
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.scene import open_scene
from glacierseg.settings.predict import PredictSettings
from glacierseg.weights import pack
from glacierseg.weights.pack import pack_weights, read_facts
from glacierseg.weights.shelf import megabytes
from tests.helpers import write_scene
from tests.weights.shelves import (
    BANDS,
    calibration,
    facts,
    model_folder,
    packed,
    reflectances,
    training_scene,
)


def test_packing_halves_the_kernels_and_keeps_the_answers(tmp_path: Path) -> None:
    done = packed(tmp_path)
    original = tmp_path / "models" / "valley-s2-0"
    small, large = (folder / WEIGHTS for folder in (done.weights.folder, original))
    stored, before = load_file(small), load_file(large)
    assert small.stat().st_size < 0.6 * large.stat().st_size
    for key, values in before.items():
        assert stored[key].dtype == (torch.float16 if is_large_kernel(values) else values.dtype)
    assert {values.dtype for values in stored.values() if values.ndim > 1} == {torch.float16, torch.float32}
    network, card = load_model(done.weights.folder)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert card.training == {"seed": 0}  # no path of the machine that it was trained on
    scene = training_scene(tmp_path, seed=5)
    answers = []
    for folder in (original, done.weights.folder):
        predict_scene(folder, scene, tmp_path / "out", PredictSettings(precision="float32"))
        with open_scene(tmp_path / "out" / "training5_probability.tif").open() as reader:
            answers.append(reader.read(0, 0, 160, 160)[0][0])
    change = np.abs(answers[0] - answers[1]).max()
    assert 0 < change < pack.MOST_CHANGE
    assert 0 < done.largest_change < pack.MOST_CHANGE
    assert answers[0].std() > 0.05  # an answer that is everywhere the same would prove nothing


def test_the_card_holds_what_the_scenes_show(tmp_path: Path) -> None:
    card = packed(tmp_path).weights.card
    values = reflectances(160, 160).reshape(4, -1)
    assert card.pixel_m == 10
    assert card.sensor == "sentinel2"
    assert [(band.name, band.role) for band in card.bands] == [
        ("B2", "blue"), ("B3", "green"), ("B4", "red"), ("B8", "nir")
    ]  # fmt: skip
    for band, own in zip(card.bands, values, strict=True):
        found = [band.values.low, band.values.p25, band.values.median, band.values.high]
        # The sample holds about two thirds of the pixels.
        assert found == pytest.approx(np.percentile(own, [0.1, 25, 50, 99.9]), rel=0.25)
        assert band.values.median == pytest.approx(np.median(own), rel=0.02)
    assert card.parameters == sum(p.numel() for p in load_model(tmp_path / "shelf/valley-s2")[0].parameters())


def test_the_card_holds_the_days_of_all_members_trainings(tmp_path: Path) -> None:
    days = [("2020-08-20", "2021-09-01"), ("2019-08-05", "2020-08-20")]
    folders = [model_folder(tmp_path / str(i), i, training_dates=own) for i, own in enumerate(days)]
    made = pack_weights(folders, "dated", facts(), [training_scene(tmp_path)], tmp_path / "shelf")
    stored = json.loads((made.weights.folder / "card.json").read_text())
    assert stored["training_dates"] == ["2019-08-05", "2020-08-20", "2021-09-01"]


def test_members_lie_side_by_side_and_their_mean_is_compared(tmp_path: Path) -> None:
    done = packed(tmp_path, members=3)
    assert [folder.name for folder in done.weights.folders] == ["member-1", "member-2", "member-3"]
    assert [read_card(folder).training["seed"] for folder in done.weights.folders] == [0, 1, 2]
    assert done.weights.megabytes == pytest.approx(megabytes(tmp_path / "shelf"))


def test_packing_again_replaces_what_was_there(tmp_path: Path) -> None:
    packed(tmp_path, members=2)
    again = packed(tmp_path, members=1)
    assert not (again.weights.folder / "member-1").exists()
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["valley-s2"]
    # What is not weights is nobody's to remove.
    (tmp_path / "shelf" / "run").mkdir()
    (tmp_path / "shelf" / "run" / "precious.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds no weights"):
        packed(tmp_path, "run")
    assert (tmp_path / "shelf" / "run" / "precious.txt").exists()


def test_indices_and_terrain_have_units_of_their_own_and_names_may_be_explained(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", bands=("one", "B3", "ndwi", "slope"))
    path = write_scene(tmp_path / "s.tif", reflectances(), ["one", "B3", "ndwi", "slope"], nodata=0)
    asked = ([folder], "mixed"), ([open_scene(path)], tmp_path / "shelf")
    with pytest.raises(RequestError, match="slope is not in reflectance x 10000; give its unit"):
        pack_weights(*asked[0], facts(), *asked[1])
    moving = write_scene(tmp_path / "v.tif", reflectances(), ["one", "B3", "ndwi", "velocity"], nodata=0)
    other = model_folder(tmp_path / "n", bands=("one", "B3", "ndwi", "velocity"))
    with pytest.raises(RequestError, match="velocity is not in reflectance x 10000; give its unit"):
        pack_weights([other], "moving", facts(), [open_scene(moving)], tmp_path / "shelf")
    known = facts(units={"slope": "degrees"}, roles={"one": "blue"})
    bands = pack_weights(*asked[0], known, *asked[1]).weights.card.bands
    assert [(band.role, band.unit) for band in bands] == [
        ("blue", "reflectance x 10000"), ("green", "reflectance x 10000"), (None, "index"), (None, "degrees")
    ]  # fmt: skip


def test_what_changes_predictions_or_is_too_large_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pack, "MOST_CHANGE", 0.0)
        with pytest.raises(RequestError, match="a probability changes by"):
            packed(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pack, "MOST_MEGABYTES", 0.1)
        with pytest.raises(RequestError, match=r"takes 0\.\d MB"):
            packed(tmp_path)
    assert list((tmp_path / "shelf").iterdir()) == []


def test_kernels_beyond_float16_are_refused(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    tensors = load_file(folder / WEIGHTS)
    key = next(key for key, values in tensors.items() if values.ndim == 4)
    tensors[key][0, 0, 0, 0] = 1e6
    from safetensors.torch import save_file

    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(RequestError, match="changes by nan"):
        pack_weights([folder], "far", facts(), [training_scene(tmp_path)], tmp_path / "shelf")
    kept = pack_weights(
        [folder], "far", facts(), [training_scene(tmp_path)], tmp_path / "shelf", storage="float32"
    )
    assert kept.largest_change == 0


def test_networks_of_several_kinds_predict_their_mean_in_windows_of_one_size(tmp_path: Path) -> None:
    one = model_folder(tmp_path / "a", 1)
    other = model_folder(tmp_path / "b", 2, architecture="glavitu", patch_px=64)
    scene = training_scene(tmp_path)
    with pytest.raises(CheckpointError, match=r"patches of 64 px and .* on 32 px; say with `window_px:`"):
        pack_weights([one, other], "both", facts(), [scene], tmp_path)
    weights = pack_weights([one, other], "both", facts(window_px=48), [scene], tmp_path / "shelf").weights
    assert weights.card.parameters == sum(count_parameters(load_model(path)[0]) for path in (one, other))
    assert (weights.window_px, [card.architecture for card in weights.model_cards]) == (
        48, ["m_landsnet", "glavitu"]
    )  # fmt: skip
    found = {}
    ways: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("both", weights, {}),
        ("one", weights.folders[0], {"window_px": 48}),
        ("other", weights.folders[1], {"window_px": 48}),
    )
    for name, models, settings in ways:
        files = predict_scene(
            models, scene, tmp_path / name, PredictSettings(precision="float32", **settings)
        )
        with open_scene(files.probability).open() as reader:
            found[name] = reader.read(0, 0, 160, 160)[0]
    mean = (found["one"][0] + found["other"][0]) / 2
    np.testing.assert_allclose(found["both"][0], mean, atol=1e-6)
    np.testing.assert_allclose(found["both"][1], np.abs(found["one"][0] - mean), atol=1e-6)
    assert found["both"][1].max() > 0.01


def test_what_does_not_belong_together_is_not_packed(tmp_path: Path) -> None:
    one, other = model_folder(tmp_path / "a"), model_folder(tmp_path / "b", bands=BANDS[::-1])
    with pytest.raises(CheckpointError, match=r"has other bands \(B8, B4, B3, B2\)"):
        pack_weights([one, other], "both", facts(), [training_scene(tmp_path)], tmp_path)
    with pytest.raises(RequestError, match="is no name for weights"):
        pack_weights([one], "Both of them", facts(), [training_scene(tmp_path)], tmp_path)
    with pytest.raises(RequestError, match="give some"):
        pack_weights([one], "one", facts(), [], tmp_path)
    empty = write_scene(tmp_path / "empty.tif", np.zeros((4, 40, 40), np.uint16), BANDS, nodata=0)
    with pytest.raises(RequestError, match="hold next to no data"):
        pack_weights([one], "one", facts(), [open_scene(empty)], tmp_path)


@pytest.mark.parametrize("symmetries", [True, False])
@pytest.mark.parametrize("members", [1, 2])
def test_a_calibration_of_what_the_weights_do_not_predict_is_refused(
    tmp_path: Path, members: int, symmetries: bool
) -> None:
    own = calibration(symmetries=symmetries)
    folders = [model_folder(tmp_path / str(number), number) for number in range(members)]
    if members == 1:
        store_calibration(folders[0], own)
    stored = own.to_dict() if members == 2 else None
    scenes = [training_scene(tmp_path)]
    wrong = facts(calibration=stored, symmetries=not symmetries)
    made = "with the eight" if symmetries else "without the eight"
    with pytest.raises(RequestError, match=made):
        pack_weights(folders, "x", wrong, scenes, tmp_path / "shelf")
    assert not (tmp_path / "shelf").exists()
    right = facts(calibration=stored, symmetries=symmetries)
    weights = pack_weights(folders, "x", right, scenes, tmp_path / "shelf").weights
    assert read_calibration(weights) == own


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sensor": "Sentinel-3"}, "sensor: .*unknown"),
        ({"roles": {"B2": "bleu"}}, "roles.B2: 'bleu' is no role"),
        ({"scores": []}, "scores"),
        ({"colour": "blue"}, "colour: .*known facts are summary"),
        ({"terms": None}, "terms: .*valid string"),
        ({"terms": ""}, "terms: '' is no line"),
        ({"terms": "research"}, "terms: 'research' is no line such as 'research and comparison only'"),
        ({"terms": "free for\nany use"}, "terms: .* is no line"),
        ({"terms": "scientifically only"}, "terms: .*first word, of at most 10 characters, stands in"),
        (
            {"scores": [{"metric": "IoU", "value": 0.9, "low": 0.1, "high": 0.2, "ground": "x"}]},
            "outside its",
        ),
        ({"scores": [{"metric": "IoU", "value": 0.9, "low": 0.1, "ground": "x"}]}, "one end of an interval"),
        (None, "cannot be read as YAML"),
    ],
)
def test_wrong_facts_are_named(tmp_path: Path, change: dict[str, object] | None, words: str) -> None:
    path = tmp_path / "facts.yaml"
    known = json.loads(facts().model_dump_json())
    path.write_text("a: [" if change is None else yaml.safe_dump(known | change))
    with pytest.raises(DataError, match=words) as caught:
        read_facts(path)
    assert "\n" not in str(caught.value)
    path.write_text(yaml.safe_dump(known))
    assert read_facts(path) == facts()
