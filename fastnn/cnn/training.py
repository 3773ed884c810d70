"""Training of a network into a run folder: ``train`` and ``resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastnn.cnn import data, runs
from fastnn.cnn.settings import Settings
from fastnn.cnn.terminal import progress_bar, speaker
from fastnn.cnn.trainer import Trainer


def train(
    settings: Settings,
    folder: str | Path,
    *,
    images: data.Images | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a network and save it.

    Parameters
    ----------
    settings : Settings
        Settings of the run; unset ones are taken from the preset.
    folder : path
        Run folder, created if absent; the files of an earlier run are replaced.
    images : fastnn.cnn.data.Images, optional
        Default: the data set named in the settings.
    quiet : bool, default=False
        Print nothing; ``train.log`` is written in any case.

    Returns
    -------
    dict
        ``test_accuracy``, ``validation_accuracy``, ``seconds``, ``stopped`` and more. The
        accuracies are None if ``stopped`` is "interrupted", since Ctrl-C ends the training without
        an evaluation (unless it came right after one).

    Raises
    ------
    ValueError, OSError
        If the data cannot be loaded or the folder cannot be written.
    DivergenceError
        If the loss is not finite.

    Examples
    --------
    >>> from fastnn import cnn
    >>> result = cnn.train(cnn.Settings(preset="fast"), "runs/cnn-1")  # doctest: +SKIP
    >>> result["test_accuracy"]  # doctest: +SKIP
    0.988
    """
    if images is None:
        images = data.load(settings.data, settings.data_dir)
    settings = settings.completed(len(images.train[0]))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / runs.LOG_FILE, "w", encoding="utf-8", buffering=1) as log:
        for path in folder.glob(runs.EVENT_FILES):
            path.unlink()
        for name in (runs.MODEL_FILE, runs.CHECKPOINT_FILE, runs.RESULTS_FILE):
            (folder / name).unlink(missing_ok=True)
        runs.write_settings(folder, settings)
        return _finish(Trainer(settings, images, folder, speaker(log, quiet)), quiet)


def resume(
    folder: str | Path,
    *,
    steps: int | None = None,
    images: data.Images | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Continue a run from its last checkpoint.

    Parameters
    ----------
    folder : path
        Run folder.
    steps : int, optional
        New total number of steps, at least that of the checkpoint; a number other than the
        original one requires a constant learning rate.
    images : fastnn.cnn.data.Images, optional
        Default: the data set named in the settings.
    quiet : bool, default=False
        Print nothing; lines are appended to ``train.log`` in any case.

    Returns
    -------
    dict
        As for :func:`train`. The weights are those of an uninterrupted run.

    Raises
    ------
    FileNotFoundError
        If the folder has no checkpoint.
    ValueError
        If ``steps`` is not possible for this run.
    ModelFormatError
        If the checkpoint is damaged.
    DivergenceError
        If the loss is not finite.

    Examples
    --------
    >>> from fastnn import cnn
    >>> result = cnn.resume("runs/cnn-1", steps=11000)  # doctest: +SKIP
    """
    folder = Path(folder)
    path = folder / runs.CHECKPOINT_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: there is no {path.name} to continue from")
    description, arrays = runs.read(path, slots=True)
    settings = description.settings
    if steps is not None and steps != settings.steps:
        if settings.schedule != "constant":
            raise ValueError(
                f"--steps: with {settings.schedule} the learning rate depends on the number of "
                f"steps, {settings.steps}; another number makes another run"
            )
        settings = settings.model_copy(update={"steps": steps})
    if description.step > settings.steps:
        raise ValueError(f"{folder}: has {description.step} steps already")
    if images is None:
        images = data.load(settings.data, settings.data_dir)
    with open(folder / runs.LOG_FILE, "a", encoding="utf-8", buffering=1) as log:
        runs.write_settings(folder, settings)
        trainer = Trainer(settings, images, folder, speaker(log, quiet))
        trainer.restore(description, arrays)
        return _finish(trainer, quiet)


def _finish(trainer: Trainer, quiet: bool) -> dict[str, Any]:
    """Run the training and write the results."""
    settings, folder = trainer.settings, trainer.folder
    summaries = None
    if settings.summaries != "off":
        from fastnn.cnn.summaries import Summaries

        summaries = Summaries(folder, trainer.network, settings, settings.summaries)
    try:
        with progress_bar(settings.steps, trainer.step, quiet) as progress:
            stopped = trainer.run(summaries, progress)
        if not trainer.evaluated:
            trainer.save_checkpoint()  # first, as Ctrl-C may interrupt the evaluation
            if stopped == "interrupted":  # it takes seconds for many images
                trainer.say(
                    f"step {trainer.step}, interrupted; validation and test errors not computed"
                )
            else:
                trainer.evaluate(summaries)
        accuracy = {
            name: round(1 - trainer.errors[-1][f"{name}_error"], 12) if trainer.evaluated else None
            for name in ("test", "validation")
        }
        if trainer.evaluated:
            trainer.say(f"test accuracy {accuracy['test']:g}")
        trainer.say(f"The training takes {trainer.seconds:f} second to finish")
        result = {
            **settings.model_dump(exclude={"data_dir"}, exclude_none=True),
            "parameters": trainer.network.n_params,
            "steps_done": trainer.step,
            "stopped": stopped,
            **{f"{name}_accuracy": value for name, value in accuracy.items()},
            "seconds": trainer.seconds,
            "step_seconds": trainer.step_seconds,
            "errors": trainer.errors,
            "folder": str(folder),
        }
        if stopped != "interrupted":
            description = trainer.describe(results=result)
            runs.write(folder / runs.MODEL_FILE, description, trainer.network.get_weights())
            runs.write_results(folder, result)
            if summaries is not None:
                images, labels = trainer.images.test
                predictions = trainer.network.predict(images)
                summaries.finish(trainer.network, images, labels, predictions, result)
    finally:
        if summaries is not None:
            summaries.close()
    return result
