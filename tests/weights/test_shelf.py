import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glacierseg.errors import CheckpointError, GlaciersegWarning, RequestError, ValuesError
from glacierseg.predict.calibration import read_calibration, store_calibration
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.scene import open_scene
from glacierseg.settings.predict import PredictSettings
from glacierseg.training.fit import start_from
from glacierseg.weights import find_weights, list_weights
from glacierseg.weights.shelf import model_folder
from tests.helpers import write_scene
from tests.weights.shelves import BANDS, calibration, packed, reflectances


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(tmp_path / "shelf"))
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def read(path: Path) -> np.ndarray:
    with open_scene(path).open() as reader:
        grid = reader.scene.grid
        return reader.read(0, 0, grid.height, grid.width)[0]


def test_weights_of_an_own_folder_are_found_by_name(shelf: Path) -> None:
    shipped = list_weights()
    packed(shelf.parent, "b-two", members=2)
    packed(shelf.parent, "a-one")
    assert [weights.name for weights in list_weights()[len(shipped) :]] == ["a-one", "b-two"]
    assert find_weights("weights:a-one").folder == find_weights("a-one").folder == shelf / "a-one"
    with pytest.raises(RequestError, match=r"no weights are named 'b-tow' \(did you mean 'b-two'\?\)"):
        find_weights("b-tow")
    assert find_weights("b-two").member(2).name == "member-2"
    for number in (None, 3):
        with pytest.raises(RequestError, match="has 2 members"):
            find_weights("b-two").member(number)


def test_weights_show_themselves_in_a_line(shelf: Path) -> None:
    for weights in list_weights():
        card = weights.card
        assert repr(weights) == f"Weights({card.name}: {card.summary})"
        assert repr(card) == str(card)
        assert len(repr(card)) < 400
        for fact in (card.name, card.summary, card.unit, card.sensor, *(band.name for band in card.bands)):
            assert fact in repr(card)


def test_a_model_folder_may_be_named_by_its_weights(shelf: Path) -> None:
    packed(shelf.parent, "b-two", members=2)
    assert model_folder("runs/x") == Path("runs/x")
    assert model_folder("weights:b-two/2") == shelf / "b-two" / "member-2"
    with pytest.raises(RequestError, match="has 2 members"):
        model_folder("weights:b-two")
    with pytest.raises(RequestError, match="no number of a member"):
        model_folder("weights:b-two/x")
    from tests.weights.shelves import model_folder as untrained

    network = __import__("glacierseg").load_model(untrained(shelf.parent / "other", 9))[0]
    assert start_from(network, BANDS, model_folder("weights:b-two/1"), "m_landsnet").kept == BANDS


def test_cards_say_what_may_be_done_with_the_weights_and_older_ones_are_read_without(shelf: Path) -> None:
    packed(shelf.parent)
    found = find_weights("valley-s2")
    assert (found.card.terms, found.card.terms_word) == ("free for any use", "free")
    stored = found.folder / "card.json"
    older = {key: value for key, value in json.loads(stored.read_text()).items() if key != "terms"}
    stored.write_text(json.dumps(older))
    card = find_weights("valley-s2").card
    assert (card.terms, card.terms_word) == ("", "-")
    assert type(card).model_validate_json(card.model_dump_json()) == card


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda f: (f / "card.json").write_text("{}"), CheckpointError, "is not a card of weights"),
        (lambda f: f.rename(f.with_name("moved")), CheckpointError, "give both the same name"),
        (lambda f: (f / "model.json").unlink(), CheckpointError, "holds no network"),
    ],
)
def test_damage_is_named_in_one_line(
    shelf: Path, damage: Callable[..., Any], error: type[Exception], words: str
) -> None:
    damage(packed(shelf.parent).weights.folder)
    with pytest.raises(error, match=words) as caught:
        find_weights("valley-s2").folders  # noqa: B018
    assert "\n" not in str(caught.value)


def test_two_of_one_name_and_a_missing_folder_are_refused(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(shelf.parent)
    monkeypatch.setattr("glacierseg.weights.shelf.SHIPPED", shelf)
    with pytest.raises(RequestError, match="has weights 'valley-s2' too"):
        list_weights()
    monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(shelf / "nowhere"))
    with pytest.raises(RequestError, match="is no folder"):
        list_weights()


def test_members_predict_their_mean_and_look_at_the_scene_first(shelf: Path) -> None:
    packed(shelf.parent, "two", members=2, threshold=0.6)
    weights, out = find_weights("two"), shelf.parent / "out"
    values = reflectances(70, 50, 4)
    path = write_scene(shelf.parent / "s.tif", values[::-1], ["nir", "red", "green", "blue"], nodata=0)
    files = predict_scene(weights, path, out, PredictSettings(precision="float32"))
    mean, spread = read(files.probability)
    plain = write_scene(shelf.parent / "plain.tif", values, BANDS, nodata=0)
    each = [
        read(
            predict_scene(
                weights.member(n), plain, out / str(n), PredictSettings(precision="float32")
            ).probability
        )[0]
        for n in (1, 2)
    ]
    assert np.abs(mean - np.mean(each, 0)).max() < 1e-6
    assert np.abs(spread - np.std(each, 0)).max() < 1e-6
    assert (read(files.mask)[0] == (mean >= np.float32(0.6))).all()  # the weights' own threshold
    half = predict_scene(weights, path, out, PredictSettings(threshold=0.5, precision="float32"))
    assert (read(half.mask)[0] == (mean >= np.float32(0.5))).all()
    tenth = write_scene(shelf.parent / "tenth.tif", (values / 1e4).astype(np.float32), BANDS)
    with pytest.raises(ValuesError, match="is unlike"):
        predict_scene(weights, tenth, out)


def test_weights_whose_card_says_so_look_in_eight_ways(shelf: Path) -> None:
    packed(shelf.parent, "two", members=2, symmetries=True)
    weights, out = find_weights("two"), shelf.parent / "out"
    path = write_scene(shelf.parent / "s.tif", reflectances(70, 50, 4), BANDS, nodata=0)
    each = [
        predict_scene(
            folder, path, out / folder.name, PredictSettings(symmetries=True, precision="float32")
        ).probability
        for folder in weights.folders
    ]
    mean = np.mean([read(file)[0] for file in each], axis=0)
    asked = predict_scene(weights, path, out, PredictSettings(precision="float32")).probability
    assert np.abs(read(asked)[0] - mean).max() < 1e-6
    once = predict_scene(
        weights, path, out / "once", PredictSettings(symmetries=False, precision="float32")
    ).probability
    assert np.abs(read(once)[0] - mean).max() > 1e-3


def test_warnings_reach_a_caller_in_python(shelf: Path) -> None:
    packed(shelf.parent, "one", sensor="sentinel2")
    values = reflectances(70, 50, 4) + 1000
    path = write_scene(shelf.parent / "s.tif", values, BANDS, nodata=0)
    with pytest.warns(GlaciersegWarning, match="offset of 1000"):
        predict_scene(find_weights("one"), path, shelf.parent / "out")


def test_a_calibration_belongs_to_the_network_or_to_the_mean(shelf: Path) -> None:
    own = calibration()
    single = packed(shelf.parent, "one").weights
    assert read_calibration(single) is None
    store_calibration(single.folder, own)
    assert read_calibration(single) == own
    pair = packed(shelf.parent, "two", members=2, calibration=own.to_dict()).weights
    store_calibration(pair.folders[0], own)
    found = find_weights("two")
    assert read_calibration(found) == read_calibration("weights:two") == own
    card = json.loads((found.folder / "card.json").read_text())
    (found.folder / "card.json").write_text(json.dumps(card | {"calibration": None}))
    # That of one member says nothing of their mean.
    assert read_calibration(find_weights("two")) is None
    (found.folder / "card.json").write_text(json.dumps(card | {"calibration": {"scale": 1}}))
    with pytest.raises(CheckpointError, match=r"card\.json: calibration has other fields"):
        read_calibration(find_weights("two"))
