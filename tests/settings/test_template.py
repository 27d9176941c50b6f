from pathlib import Path

from glacierseg.settings.template import sections, sentence_of, settings_page

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_docs_is_up_to_date() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "python -m glacierseg.settings.template > docs/settings.md"


def test_each_option_has_a_sentence() -> None:
    missing = [
        f"{name}.{key}"
        for name, kind in sections().items()
        for key, field in kind.model_fields.items()
        if not sentence_of(field)
    ]
    assert not missing
