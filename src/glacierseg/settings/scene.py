"""How scenes are read, and brought to what networks were trained on."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from glacierseg.settings.base import Settings


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("must not be 0, which would make all pixels alike (got 0)")
    return value


Factor = Annotated[float, AfterValidator(_not_zero)]
"""What reflected light is multiplied with."""


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
