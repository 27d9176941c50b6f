from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from glacierseg.errors import RequestError
from glacierseg.settings.base import RARE, Settings, fields_as_keywords, model_or_weights


class SawSettings(Settings):
    """How planks are cut."""

    section: ClassVar[str | None] = "saw"

    length_m: Annotated[float, Field(ge=0, lt=5)] = 2.5
    """Length of a plank."""
    shift_m: float = 0.0
    """Place of the first cut."""
    wood: Literal["oak", "pine"] = "pine"
    """Kind of wood."""
    cuts_m: tuple[float, ...] = ()
    """Where to cut."""
    teeth: Annotated[int, RARE] = 8
    """Teeth of the saw."""


@fields_as_keywords(settings=SawSettings)
def saw(trunk: str, settings: SawSettings | None = None) -> tuple[str, SawSettings]:
    return trunk, settings or SawSettings()


def test_sentences_stand_below_the_fields() -> None:
    assert SawSettings.model_fields["length_m"].description == "Length of a plank."


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"length_m": 5.0}, "length_m must be less than 5 (got 5.0)"),
        ({"length_m": float("nan")}, "length_m must be"),
        ({"wood": "elm"}, "wood must be 'oak' or 'pine' (got 'elm')"),
        ({"wood": "pin"}, "wood must be 'oak' or 'pine' (got 'pin') (did you mean 'pine'?)"),
        ({"lenth_m": 1.0}, "unknown key 'lenth_m' (did you mean 'length_m'?)"),
        ({"shift_m": float("inf")}, "shift_m must be a finite number"),
        ({"wood": "e" * 99}, f"(got '{'e' * 56}...)"),
        ({"wood": "elm", "length_m": -1}, "; "),
        ({"cuts_m": 3}, "cuts_m must be a list, such as [3] (got 3)"),
    ],
)
def test_wrong_values_are_one_line(wrong: dict[str, Any], said: str) -> None:
    for ask in (
        lambda: SawSettings(**wrong),
        lambda: SawSettings().replaced(**wrong),
        lambda: saw("a", **wrong),
    ):
        if "lenth_m" in wrong and ask.__code__.co_names[:1] == ("saw",):
            continue  # a keyword that no field has is Python's own error
        with pytest.raises(RequestError) as caught:
            ask()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_other_values_leave_what_was_not_given_open() -> None:
    """Whether a value was given decides which of a file and an option counts."""
    assert SawSettings(wood="oak").replaced(length_m=1.0).model_fields_set == {"wood", "length_m"}


def test_a_model_is_a_folder_or_weights_by_name() -> None:
    assert model_or_weights(Path("a"), None, "model and weights") == Path("a")
    assert model_or_weights(None, "b", "model and weights") == Path("weights:b")
    assert model_or_weights(None, None, "model and weights") is None
    with pytest.raises(ValueError, match="model and weights exclude each other"):
        model_or_weights(Path("a"), "b", "model and weights")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        SawSettings().wood = "oak"


def test_fields_are_keywords_of_a_stage() -> None:
    mine = SawSettings(wood="oak")
    assert saw("a") == ("a", SawSettings())
    assert saw("a", mine) == ("a", mine)
    assert saw("a", length_m=1.0) == ("a", SawSettings(length_m=1.0))  # type: ignore[call-arg]
    assert saw("a", settings=mine, length_m=1.0) == ("a", SawSettings(wood="oak", length_m=1.0))  # type: ignore[call-arg]
    assert saw("a", mine, length_m=1.0) == ("a", SawSettings(wood="oak", length_m=1.0))  # type: ignore[call-arg]
    with pytest.raises(RequestError, match=r"settings must be SawSettings \(got 2.5\)"):
        saw("a", 2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="hight"):
        saw("a", hight=1.0)  # type: ignore[call-arg]
