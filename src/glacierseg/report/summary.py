"""The answer in words, before any table."""

from collections.abc import Sequence
from dataclasses import dataclass

from glacierseg.report.comparison import Pooled, area_bounds, best_network, best_threshold, interval_of, pool
from glacierseg.report.style import area_text, difference_text, score_text, variant_label
from glacierseg.runs.results import RunResults


@dataclass(frozen=True)
class Fact:
    """A number that stands by itself.

    Attributes:
        value: The number as text.
        label: What it is.
    """

    value: str
    label: str


@dataclass(frozen=True)
class Summary:
    """The answer in words.

    Attributes:
        facts: Numbers that stand by themselves.
        sentences: What they mean.
        best: The network that the validate part chooses; where it chooses none, the best where it is judged.
    """

    facts: Sequence[Fact]
    sentences: Sequence[str]
    best: Pooled | None


def summarise(results: RunResults) -> Summary:
    """Says which network with which bands to take, and what it is worth on the test part.

    The validate part chooses, for the highest of many test scores flatters. Without a test part the validate
    part also judges, and the text says so.
    """
    role = next((role for role in ("test", "validate") if pool(results, role)), None)
    used = _used(results)
    if role is None:
        return Summary((), ("There are no scores on a test or validate part yet.", *used), None)
    pooled = pool(results, role)
    highest, threshold = best_network(pooled), best_threshold(pooled)
    chosen = _chosen(results, pooled) if role == "test" else None
    best = chosen or highest
    facts, sentences = [], []
    if best:
        facts.append(Fact(score_text(best.iou), f"IoU on the {role} part"))
        text = (
            f"{_name(best)}, chosen by validate scores, is judged on the test part: "
            if chosen
            else f"{_name(best)} agrees best with the truth on the {role} part: "
        )
        text += (
            f"IoU {score_text(best.iou)}{_between(results, best, role, 'iou')}, "
            f"F1 {score_text(best.f1)}{_between(results, best, role, 'f1')}"
        )
        if best.regions > 1:
            text += f", pooled over {best.regions} regions"
        sentences.append(text + ".")
    if threshold:
        facts.append(Fact(score_text(threshold.iou), "IoU of the best threshold"))
        rule = f" ({results.rule})" if results.rule else ""
        text = f"The best threshold without any network{rule} reaches IoU {score_text(threshold.iou)} there"
        if best:
            text += f", so the network {'adds' if best.iou >= threshold.iou else 'falls behind by'} "
            text += difference_text(abs(best.iou - threshold.iou)).removeprefix("+")
        sentences.append(text + ".")
    if best:
        facts.append(Fact(f"{area_text(best.predicted_km2)} km²", f"glacier mapped on the {role} part"))
        facts.append(Fact(f"{area_text(best.true_km2)} km²", "glacier in the truth there"))
        share = best.predicted_km2 / best.true_km2 - 1 if best.true_km2 else 0.0
        sentences.append(
            f"It maps {area_text(best.predicted_km2)} km² of glacier where the truth has "
            f"{area_text(best.true_km2)} km² ({share:+.1%}). ".replace("-", "−").strip()
        )
        bounds = area_bounds(results, best.variant[0], best.variant[1], role)
        if bounds:
            text = f"{area_text(bounds.lower_km2)}–{area_text(bounds.upper_km2)} km²"
            facts.append(Fact(text, "area by calibrated probabilities"))
            sentences.append(
                f"By its calibrated probabilities the area is {area_text(bounds.expected_km2)} km², "
                f"between {area_text(bounds.lower_km2)} and {area_text(bounds.upper_km2)} km² "
                "at 90 % confidence."
            )
    if role == "test" and best and highest:
        sentences.append(_about_the_choice(chosen, highest))
    elif role != "test":
        sentences.append("There is no score on a test part yet; scores on the validate part flatter.")
    return Summary(facts, [*sentences, *used], best)


def _chosen(results: RunResults, test: Sequence[Pooled]) -> Pooled | None:
    """Returns the test scores of the network that one would take without looking at the test part."""
    found = best_network(pool(results, "validate"))
    return next((entry for entry in test if found and entry.variant == found.variant), None)


def _about_the_choice(chosen: Pooled | None, highest: Pooled) -> str:
    if chosen is None:
        return "Without validate scores the choice leans on the test part, and its scores there flatter."
    if chosen.variant == highest.variant:
        return "No other network scores higher on the test part."
    return (
        f"On the test part {_name(highest)} scores higher, IoU {score_text(highest.iou)}; to choose by that "
        "would flatter."
    )


def _between(results: RunResults, entry: Pooled, role: str, column: str) -> str:
    bounds = interval_of(results, entry, role, column)
    return f" ({score_text(bounds[0])}–{score_text(bounds[1])})" if bounds else ""


def _name(entry: Pooled) -> str:
    model, bands, stage = entry.variant
    return f"{variant_label(model, bands)} ({stage})"


def _used(results: RunResults) -> list[str]:
    """Says what was trained on, and what the rest was for."""
    parts = []
    for role, verb in (("train", "Trained on"), ("validate", "tuned on"), ("test", "tested on")):
        names = [
            _part_of(region.name, region.roles, role) for region in results.regions if role in region.roles
        ]
        if names:
            parts.append(f"{verb} {_listed(names)}")
    return [f"{'; '.join(parts)}."] if parts else []


def _part_of(name: str, roles: Sequence[str], role: str) -> str:
    return name if len(roles) == 1 else f"the {role} part of {name}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
