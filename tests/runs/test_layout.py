from pathlib import Path

from glacierseg.models import MODELS
from glacierseg.runs.layout import JSON_FILES, ModelFolder, RunFolder, folder_name


def test_folder_names_are_plain_and_differ() -> None:
    assert folder_name("smp:UnetPlusPlus/tu-resnet50.a1_in1k") == "smp-unetplusplus-tu-resnet50.a1_in1k"
    names = [
        *MODELS,
        "smp:Unet/resnet18",
        "smp:FPN/resnet18",
        "smp:Unet/tu-resnet18",
        "smp:Unet/tu_resnet18",
        "threshold",
    ]
    assert len({folder_name(name) for name in names}) == len(names)
    assert [folder_name(name) for name in MODELS] == list(MODELS)


def test_files_of_a_class_are_names_and_those_of_a_folder_paths(tmp_path: Path) -> None:
    assert ModelFolder.card.name == "model.json"
    assert ModelFolder(tmp_path).card == tmp_path / "model.json"
    assert RunFolder(tmp_path).config == tmp_path / "config.yaml"


def test_a_mask_has_a_file_for_each_stage(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path)
    assert folder.mask("a") == folder.mask("a", "raw") == tmp_path / "a_mask.tif"
    assert folder.refined("a") == folder.mask("a", "refined") == tmp_path / "a_refined.tif"


def test_model_folders_are_found_by_network_and_by_their_masks(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for bands in ("top6", "all"):
        run.model("smp:Unet/resnet18", bands).path.mkdir(parents=True)
    (tmp_path / "smp-unet-resnet18" / "notes.txt").touch()
    assert [folder.path.name for folder in run.sets_of("smp:Unet/resnet18")] == ["all", "top6"]
    assert run.sets_of("glavitu") == []
    assert run.predicted() == []
    for region in ("a", "b"):
        run.model("smp:Unet/resnet18", "top6").mask(region).touch()
    assert run.predicted() == [run.model("smp:Unet/resnet18", "top6")]


def test_json_files_of_runs_and_models_are_listed() -> None:
    assert {"inputs.json", "regions.json", "model.json", "refinement.json", "threshold.json"} <= set(
        JSON_FILES
    )
    assert all(name.endswith(".json") for name in JSON_FILES)
