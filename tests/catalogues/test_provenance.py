"""The record of a fetch: what is asked for again, what was changed, and what others wrote there."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from glacierseg.catalogues.place import place_of_box
from glacierseg.catalogues.provenance import Provenance, Request
from glacierseg.errors import GlaciersegWarning, RequestError
from glacierseg.settings.fetch import FetchSettings

BOX = (86.5, 27.7, 87.1, 28.2)


def request(
    roles: tuple[str, ...] = ("red",), *, elevation: bool = False, box: Any = BOX, **settings: Any
) -> Request:
    how = FetchSettings.model_validate({"date": "2024-08-01/2024-10-31", **settings})
    return Request.of(place_of_box(box), how, roles, glaciers=(None, None), elevation=elevation)


def written(folder: Path, asked: Request) -> Provenance:
    (folder / "products/a").mkdir(parents=True)
    (folder / "products/a/b.tif").write_bytes(b"pixels")
    dem = [{"file": "dem/x.tif"}] if asked.elevation else None
    products = [{"folder": "products/a", "acquired": "2024-09-30T04:57:00+00:00"}]
    Provenance(folder).write(asked, products, dem, [], [folder / "products/a/b.tif"])
    return Provenance(folder)


def test_the_same_and_less_is_answered(tmp_path: Path) -> None:
    assert not Provenance(tmp_path).answers(request())
    record = written(tmp_path, request(("nir", "red"), elevation=True))
    for asked in (request(("red", "nir"), elevation=True), request(("red",)), request(max_gb=1, retries=0)):
        assert record.answers(asked)
    for asked in (request(("blue",)), request(max_cloud=0.1), request(satellite="landsat")):
        assert not record.answers(asked)
    (tmp_path / "products/a/b.tif").write_bytes(b"pixelz")
    assert not record.answers(request())
    (tmp_path / "products/a/b.tif").unlink()
    assert not record.answers(request())


def test_more_is_joined_with_what_is_there(tmp_path: Path) -> None:
    record = written(tmp_path, request(("red",), elevation=True))
    joined = record.begin(request(("blue",)), again=False)
    assert (joined.roles, joined.elevation) == (("blue", "red"), True)
    assert record.begin(request(("blue",)), again=True) == request(("blue",))


@pytest.mark.parametrize("name", ["../theirs.tif", "products/mine.tif", ".", "products", "{theirs}"])
@pytest.mark.parametrize("scene", [{"files": {"{name}": "{facts}"}}, {"files": ["{name}"]}, ["{name}"]])
def test_a_record_that_names_files_of_others_removes_none(tmp_path: Path, name: str, scene: object) -> None:
    out, theirs = tmp_path / "out", tmp_path / "theirs.tif"
    (out / "products").mkdir(parents=True)
    for path in (theirs, out / "products/mine.tif"):
        path.write_bytes(b"pixels")
    facts = {"bytes": 6, "sha256": hashlib.sha256(b"pixels").hexdigest()}
    text = json.dumps(scene).replace('"{facts}"', json.dumps(facts)).replace("{name}", name)
    record = Provenance(out)
    record.content = {"scene": json.loads(text.replace("{theirs}", str(theirs)))}
    record.tidy([], "new")
    assert theirs.is_file()
    assert (out / "products/mine.tif").is_file()


def earlier_scene(folder: Path, stages: str) -> Provenance:
    record = written(folder, request())
    for name, text in (("old.tif", "scene"), ("old_dates.tif", "days"), ("old_stages.json", stages)):
        (folder / name).write_text(text)
    record.add_scene({}, [folder / "old.tif", folder / "old_dates.tif"])
    return record


def scenes_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith("old")}


def test_a_scene_goes_with_its_products_unless_it_was_changed_by_hand(tmp_path: Path) -> None:
    every = {"old.tif", "old_dates.tif", "old_stages.json"}
    record = earlier_scene(tmp_path / "a", '{"scene": {}}')
    record.tidy([], "old")
    assert scenes_in(tmp_path / "a") == every  # replaced when it is made
    record.tidy([], "new")
    assert scenes_in(tmp_path / "a") == set()
    earlier_scene(tmp_path / "b", '{"scene": {}, "mask": {}}').tidy([], "new")
    assert scenes_in(tmp_path / "b") == {"old_stages.json"}  # of a map too
    record = earlier_scene(tmp_path / "c", '{"scene": {}}')
    (tmp_path / "c/old.tif").write_text("scenf")
    with pytest.warns(GlaciersegWarning, match=r"old\.tif: stays, since it was changed by hand"):
        record.tidy([], "new")
    assert scenes_in(tmp_path / "c") == every


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (request(max_cloud=0.5), "max_cloud 0.2, not 0.5"),
        (request(date="2023-08-01"), "date 2024-08-01/2024-10-31, not 2023-08-01/2023-08-01"),
        (request(box=(86.5, 27.7, 87.2, 28.2)), "another place"),
        (request(catalogue="planetary-computer"), "catalogue earth-search, not planetary-computer"),
    ],
)
def test_another_request_is_refused_with_the_difference(tmp_path: Path, other: Request, said: str) -> None:
    record = written(tmp_path, request())
    with pytest.raises(RequestError, match=said):
        record.begin(other, again=False)
    assert (tmp_path / "products/a/b.tif").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"request": 3}', '{"files": {}, "products": [2]}'])
def test_what_others_wrote_answers_nothing_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "provenance.json"
    path.write_text(text)
    record = Provenance(tmp_path)
    assert not record.answers(request())
    with pytest.raises(RequestError, match=r"provenance\.json: exists already and is not from this command"):
        record.begin(request(), again=False)
    assert path.read_text() == text
    assert record.begin(request(), again=True) == request()
    assert Provenance(tmp_path).begin(request(max_cloud=1), again=False) == request(max_cloud=1)


def test_a_table_of_others_stays(tmp_path: Path) -> None:
    (tmp_path / "scenes.csv").write_text("mine")
    with pytest.raises(RequestError, match=r"scenes\.csv: exists already and is not from this command"):
        Provenance(tmp_path).begin(request(), again=False)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes.csv"]


def test_only_folders_of_earlier_calls_are_removed(tmp_path: Path) -> None:
    for name in ("dem", "products/old", "products/new", "products/.other.part"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "windows.json").write_text("{}")
    (tmp_path / "products/mine").mkdir()
    Provenance(tmp_path).tidy([tmp_path / "products/new"], "new")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_dir()}
    assert left == {"products", "products/new", "products/mine"}


def test_a_catalogue_that_is_a_folder_has_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shelf").mkdir()
    monkeypatch.chdir(tmp_path)
    assert request(catalogue="shelf") == request(catalogue=str(tmp_path / "shelf"))
    assert json.dumps(request().facts)  # nothing but what JSON knows
