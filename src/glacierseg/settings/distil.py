"""How one network learns what several predict together."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from glacierseg.models.registry import MODELS, ZOO_PREFIX
from glacierseg.settings.base import Settings, one_or_several
from glacierseg.settings.models import DataPath, ModelConfig, Share, relative_to_file


def is_network(teacher: str) -> bool:
    """Whether a teacher is named as a network of the run, not as a folder or as weights."""
    return teacher in MODELS or teacher.startswith(ZOO_PREFIX)


def _located(teacher: str, info: ValidationInfo) -> str:
    if is_network(teacher) or teacher.startswith("weights:"):
        return teacher
    return str(relative_to_file(Path(teacher), info))


class DistilSettings(Settings):
    """One network, the student, that learns the mean of others and of their symmetries (docs/distil.md)."""

    section: ClassVar[str | None] = "distil"

    student: ModelConfig | None = None
    """Network that learns, with the keys of an entry of `models`; null for none."""
    teachers: (
        Literal["all"] | Annotated[tuple[Annotated[str, AfterValidator(_located)], ...], Field(min_length=1)]
    ) = "all"
    """all for the networks of the run, or a list of their names, model folders and weights:NAME."""
    symmetries: bool | None = None
    """Mean over the eight flips and turns of what teachers see; null for the weights' own, else yes."""
    scenes: tuple[DataPath, ...] = ()
    """Files of scenes to learn on as well, without truth; they share no ground that validates or tests."""
    truth_weight: Share = 0.0
    """Share of the truth in what the student learns, 0-1; the rest is the mean of the teachers."""

    @field_validator("student", mode="before")
    @classmethod
    def _name_or_section(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("teachers", "scenes", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return value if value == "all" else one_or_several(value)

    @field_validator("student")
    @classmethod
    def _learns_by_cross_entropy(cls, value: ModelConfig | None) -> ModelConfig | None:
        if value is None:
            return None
        if value.loss not in {None, "cross_entropy"}:
            raise ValueError(
                f"loss is {value.loss}, but a student learns by cross_entropy, the loss for probabilities; "
                "leave it out"
            )
        return value.replaced(loss="cross_entropy")

    def inconsistencies(self, models: Sequence[str], *, random: bool) -> Iterator[str]:
        """Yields what does not go together with the networks of a run.

        Args:
            models: Their names.
            random: Whether the split is the random one.
        """
        if self.student is None:
            if self != DistilSettings():
                yield "distil has no student; name the network that learns, such as student: glavitu"
            return
        named = [teacher for teacher in self.teachers if self.teachers != "all" and is_network(teacher)]
        if unknown := [teacher for teacher in named if teacher not in models]:
            yield (
                f"distil.teachers names {unknown[0]}, which is not among the models; add it there, or give "
                "the folder of a trained one"
            )
        if self.scenes and random:
            yield (
                "distil.scenes have no truth, but the random split draws validation patches from all that "
                "trains; leave them out, or choose another split.method"
            )
        if self.teachers == "all" and not models:
            yield (
                "distil has no teacher, for models is empty; name model folders or weights under "
                "`distil: teachers:`"
            )
