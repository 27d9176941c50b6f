"""The chain from a place and days to an inventory and a page."""

from collections.abc import Sequence
from pathlib import Path

from glacierseg.catalogues.fetch import fetch_for_recipe, roles_seen
from glacierseg.catalogues.place import Place
from glacierseg.choices import Satellite
from glacierseg.mapping.chain import GlacierMap, Origin, map_glaciers
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.prepared import recipe_for
from glacierseg.raster.outputs import writes
from glacierseg.raster.prepare.layers import parse_layers
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.predict import PredictSettings
from glacierseg.settings.scene import SourceSettings
from glacierseg.weights.shelf import Weights


@writes(out_dir=None)
def map_place(
    model: Path | str | Weights | Sequence[Path | str],
    place: Place,
    out_dir: Path,
    *,
    fetch: FetchSettings,
    inputs: SourceSettings,
    settings: PredictSettings | None = None,
    again: bool = False,
) -> GlacierMap:
    """Maps the glaciers of a place: fetches the products that the networks need, and maps these.

    Args:
        model: As for `map_glaciers`.
        place: The place.
        out_dir: Folder of all results, also of those of the fetch.
        fetch: How products are found; the networks' cards choose the satellites where they name some.
        inputs: As for `map_glaciers`. Its sensor may name the satellites instead.
        settings: How the scene is predicted.
        again: Fetch and make everything again.

    Raises:
        GlaciersegError: As `fetch_products` and `map_glaciers`.
    """
    ensemble = load_ensemble(model)
    if satellite := _satellite(ensemble, inputs):
        fetch = fetch.replaced(satellite=satellite)
    layers = parse_layers(inputs.layer)
    # Terrain stands in it only where the networks need it, so that they work without an elevation model.
    recipe = inputs.recipe or recipe_for(ensemble, roles_seen(fetch), layers, has_dem=False)
    fetched = fetch_for_recipe(recipe, place, out_dir, fetch, inputs, layers, again=again)
    inputs = inputs.replaced(sensor=None, **fetched.scene_settings(inputs), **fetched.scene_inputs(inputs))
    origin = Origin(fetched.origin, fetched.remarks)
    made = map_glaciers(
        model, fetched.products, out_dir, inputs, settings=settings, origin=origin, again=again
    )
    fetched.record_scene(made.scene, inputs)
    return made


def _satellite(ensemble: Ensemble, inputs: SourceSettings) -> Satellite | None:
    """Returns the satellites that an option or a card names; None where none does."""
    recipes = [card.recipe for card in ensemble.cards if card]
    named = [inputs.sensor, ensemble.weights.card.sensor if ensemble.weights else None, *recipes]
    words = "".join(filter(str.isalnum, next((word for word in named if word), "").lower()))
    satellites: tuple[Satellite, ...] = ("sentinel2", "landsat")
    return next((name for name in satellites if words.startswith(name)), None)
