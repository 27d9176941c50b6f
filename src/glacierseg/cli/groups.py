"""The order of the commands in the help, under the headings of a user's work, and an example of each."""

import typer

GROUPS: dict[str, dict[str, str]] = {
    "Start": {
        "demo": "demo --data synthetic",
        "info": "info",
        "template": "template > run.yaml",
        "models": "models",
    },
    "Prepare": {
        "check": "check scene.tif --truth outlines.gpkg",
        "fetch": "fetch --bbox 86.5,27.7,87.1,28.2 --date 2024-08-01/2024-10-31 --out khumbu",
        "prepare": "",
        "scene": "prepare scene S2B_MSIL2A_20240930.SAFE --dem dem.tif --out scene.tif",
        "align": "prepare align dem.tif --like scene.tif --out dem_aligned.tif",
        "rasterize": "prepare rasterize outlines.gpkg --like scene.tif --out truth.tif",
        "normalize": "prepare normalize scene.tif --ranges ranges.json --out scene_0_255.tif",
        "select": "prepare select scene.tif --bands red,nir,swir1 --out three_bands.tif",
        "stack": "prepare stack B02.tif B03.tif B08.tif B11.tif --dem dem.tif --out scene.tif",
    },
    "Train": {
        "run": "run run.yaml --out runs/basin",
        "train": "train run.yaml --model unetplusplus",
        "bands": "bands runs/basin/unetplusplus/all scene.tif --truth truth.tif --out bands.csv",
    },
    "Map": {
        "map": "map runs/basin/unetplusplus/all scene.tif --dem dem.tif --out map",
        "predict": "predict --weights alps-sentinel2 scene.tif --out maps",
        "refine": "refine maps/scene_mask.tif --out refined.tif --min-area-km2 0.03",
        "tune": "tune maps/scene_mask.tif --truth truth.tif --out best.json",
        "vectorize": "vectorize refined.tif --out outlines.gpkg",
        "inventory": "inventory refined.tif --dem dem.tif --out inventory.gpkg",
        "correct": "correct runs/basin/unetplusplus/all scene.tif --mask map/scene_refined.tif --outlines "
        "map/scene_corrections.gpkg --out corrected",
        "change": "change inventory_2015.gpkg inventory_2024.gpkg --out change.gpkg",
    },
    "Judge": {
        "evaluate": "evaluate refined.tif truth.tif --out scores.json --buffer-m 10 --buffer-m 20",
        "compare": "compare mask_a.tif mask_b.tif --truth truth.tif --out comparison.json",
        "benchmark": "benchmark runs/a runs/b --out benchmark.json",
    },
    "Share": {
        "report": "report runs/basin",
        "figures": "figures --scene scene.tif --mask refined.tif --inventory inventory.gpkg --out figures",
        "export": "export runs/basin/unetplusplus/all --to onnx --out model.onnx",
        "pack-weights": "pack-weights runs/basin/unetplusplus/all --name basin --facts facts.yaml --scenes "
        "scene.tif --out weights",
    },
}


def arrange(app: typer.Typer, *more: typer.Typer) -> None:
    """Puts each command under its heading and an example below its help.

    Args:
        app: The whole command line.
        more: Groups of commands below it, such as `prepare`.
    """
    places = {name: (panel, example) for panel, own in GROUPS.items() for name, example in own.items()}
    order = list(places)
    for part in (app, *more):
        for command in part.registered_commands:
            panel, example = places[_name(command)]
            command.rich_help_panel = panel if part is app else None
            command.epilog = f"Example:  glacierseg {example}"
        part.registered_commands.sort(key=lambda command: order.index(_name(command)))


def _name(command: typer.models.CommandInfo) -> str:
    return command.name or (command.callback.__name__ if command.callback else "")
