"""The stage that predicts whole scenes with a trained network."""

from collections.abc import Sequence

from glacierseg.config import ModelConfig, RunConfig
from glacierseg.console import Talk
from glacierseg.experiment.folder import ModelFolder
from glacierseg.experiment.regions import StudyRegion
from glacierseg.predict.scene import predict_scene
from glacierseg.training.checkpoint import load_model


def predict_regions(
    config: RunConfig, model: ModelConfig, studied: Sequence[StudyRegion], folder: ModelFolder, talk: Talk
) -> None:
    """Predicts the whole scene of every region that has no prediction yet."""
    wanted = [
        s for s in studied if not (folder.mask(s.name).exists() and folder.probability(s.name).exists())
    ]
    if not wanted:
        return
    network, card = load_model(folder.path, prune_level=model.prune_level)
    for study in wanted:
        folder.forget_region(study.name)
        grid = study.region.scene.grid
        with talk.bar(f"predicting {study.name}", grid.height * grid.width) as progress:
            predict_scene(
                network,
                study.region.scene,
                folder.path,
                card=card,
                name=study.name,
                window_px=config.prediction.window_px,
                overlap=config.prediction.overlap,
                batch_size=config.prediction.batch_size,
                threshold=config.prediction.threshold,
                tags={"run": config.name},
                progress=progress,
            )
