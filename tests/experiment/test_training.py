from pathlib import Path

from glacierseg.config import parse_config
from glacierseg.experiment.training import training_plan


def test_a_model_wins_over_the_section_and_the_section_over_the_networks_defaults() -> None:
    own = {"epochs": 7, "monitor": "last", "learning_rate": 0.02, "loss": "dice", "batch_size": 3}
    config = parse_config(
        {
            "name": "basin",
            "regions": [{"name": "a", "scene": "a.tif", "truth": "m.tif", "roles": "train"}],
            "models": ["m_landsnet", {"name": "glavitu", **own}],
            "training": {"epochs": 9, "monitor": "val_loss", "clip_norm": 0.5},
        },
        Path("/data/run.yaml"),
    )
    plain, changed = (training_plan(config, model, 4) for model in config.models)
    assert (plain.epochs, plain.monitor, plain.learning_rate, plain.loss) == (
        9,
        "val_loss",
        1e-3,
        "dice_focal",
    )
    assert {key: getattr(changed, key) for key in own} == own
    assert plain.clip_norm == changed.clip_norm == 0.5
