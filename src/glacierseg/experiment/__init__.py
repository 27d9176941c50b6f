"""The stages of a run, in order, resumable."""

from glacierseg.experiment.run import run_experiment, train_one

__all__ = ["run_experiment", "train_one"]
