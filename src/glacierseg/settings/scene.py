"""How scenes are read, and brought to what networks were trained on."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from glacierseg.settings.base import Cli, Settings
from glacierseg.settings.prepare import Factor, ProductInputs, ProductSettings, recipe_as_text


class SceneSettings(Settings):
    """How the files of a scene are read, where they do not say it themselves."""

    panel: ClassVar[str | None] = "Scene"

    band_names: tuple[str, ...] | None = None
    """Names of all bands in file order."""
    nodata: Annotated[float, Field(allow_inf_nan=True)] | None = None
    """Value of pixels without data, if undeclared."""


class InputSettings(SceneSettings):
    """How a scene is read for a network, and brought to the unit of its training."""

    sensor: str | None = None
    """Sensor that numbered bands such as B2 are of; null for that of the weights' training."""
    scale: Factor = 1.0
    """Factor on reflected light, to the training's unit."""
    offset: float = 0.0
    """Number added to it after the factor."""
    force: bool = False
    """Warning instead of refusal of strange values."""


class SourceSettings(InputSettings, ProductInputs, ProductSettings):
    """How a scene is read for a network, or made of a product by the network's card."""

    panel: ClassVar[str | None] = "Scene"
    unlisted: ClassVar[frozenset[str]] = frozenset(
        {*ProductSettings.model_fields, *ProductInputs.model_fields}
        - {"recipe", "dem", "clip", "existing", "keep"}
    )

    recipe: Annotated[str | None, BeforeValidator(recipe_as_text)] = None
    """Recipe or band names of a product's scene; null for those of the training."""
    pixel_size_m: Annotated[float, Field(gt=0)] | None = None
    """Side of the pixels of a product's scene, in metres; null for that of the finest band, or of the
    training where that is plainly larger.
    """
    sensor: str | None = None
    """Sensor that numbered bands such as B2 are of; `map --bbox` searches for its images; null for that of
    the weights' training.
    """
    existing: Path | None = None
    """Inventory of known glaciers, to warn of snow beside them; `map` divides and links by it too."""
    layer: Annotated[tuple[str, ...], Cli(metavar="NAME=FILE")] = ()
    """Band of a product's scene in a file of its own (velocity=v.tif); may be given again."""

    @property
    def only_for_products(self) -> tuple[str, ...]:
        """The given options that only the making of a scene of products can follow, as they are typed."""
        own = {"layer", *ProductInputs.model_fields, *ProductSettings.model_fields}
        return tuple(f"--{name.replace('_', '-')}" for name in sorted(self.model_fields_set & own))
