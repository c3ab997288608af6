"""Measurements at a cadence of their own: scores of D, metrics, and the best checkpoint.

Each result is a line of a file in `metrics/`. A line that is there already is not measured again.
So a run that was stopped before or during its measurements makes the missing ones when it resumes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_sg2.config import TrainingConfig
from tf_sg2.errors import InputError
from tf_sg2.evaluation import results
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME
from tf_sg2.runs.lines import append_line, read_lines
from tf_sg2.training.monitor.metrics import GeneratorMetrics
from tf_sg2.training.monitor.run_log import RunLog
from tf_sg2.training.monitor.scores import Scorer
from tf_sg2.training.run.start import TrainingRun


class Measurements:
    """Measures a run in its chief.

    Args:
        run: the chief's run.
        log: its log.
        on_bad_image: called for an image that cannot be read, and the next one is taken. None
            makes this an error.
    """

    def __init__(
        self,
        run: TrainingRun,
        log: RunLog,
        on_bad_image: Callable[[int, InputError], None] | None = None,
    ):
        self.run, self.log, self.state = run, log, run.state
        training: TrainingConfig = run.config.training
        self.scorer = self.metrics = None
        if training.score_samples:
            self.scorer = Scorer(
                run.state, run.source, run.heldout, training.score_samples, on_bad_image
            )
        if run.metrics is not None:
            self.metrics = GeneratorMetrics(
                run.metrics,
                run.config,
                run.state.generator_ema,
                run.source,
                run.heldout,
                on_bad_image,
            )

    def measure(self, still_working: Callable[[], None]) -> None:
        """Writes the lines of this iteration that are missing, and keeps the best checkpoint.

        Args:
            still_working: called after each batch.

        Raises:
            InputError: if something cannot be measured or written.
        """
        if self.scorer is not None:
            self._score(self.scorer)
        still_working()
        if self.metrics is not None:
            self._evaluate(self.metrics, still_working)

    def _score(self, scorer: Scorer) -> None:
        path = self.run.directory.metrics / "scores.jsonl"
        iteration, seen = self._position()
        if any(line.get("iteration") == iteration for line in read_lines(path)):
            return
        scores = scorer.scores()
        if not scores.are_finite():
            self.run.say(f"D gives scores that are not finite in iteration {iteration}; left out")
            return
        found = {name: some for name, some in scores._asdict().items() if some is not None}
        self.log.histograms(seen, {f"scores/{name}": some for name, some in found.items()})
        if scores.scalars():
            self.log.tick(seen, scores.scalars())
        append_line(path, {"iteration": iteration, "kimg": seen / 1000, **scores.line()})

    def _evaluate(self, metrics: GeneratorMetrics, still_working: Callable[[], None]) -> None:
        iteration, seen = self._position()

        def progress(unit: str, done: int, total: int) -> None:
            still_working()
            self.log.progress(seen, f"measuring: {unit} {done} of {total}")

        names = [name for name in metrics.settings.options.metrics if self._is_missing(name)]
        for outcome in metrics.outcomes(names, iteration, seen, progress) if names else ():
            self.log.tick(seen, {f"metrics/{name}": v for name, v in outcome.results.items()})
            results.write(
                self.run.directory,
                outcome.metric,
                outcome.results,
                outcome.seconds,
                f"{CHECKPOINT_NAME}-{iteration}",
                iteration,
                seen / 1000,
                outcome.recipe,
            )
            still_working()
        self.run.keep_best()

    def _is_missing(self, metric: str) -> bool:
        """Returns whether the run has not measured a metric in this iteration."""
        iteration, _ = self._position()
        lines = read_lines(results.file_of(self.run.directory.metrics, metric))
        return not any(_of_training(line) and line["iteration"] == iteration for line in lines)

    def _position(self) -> tuple[int, int]:
        return int(self.state.iteration.numpy()), int(self.state.images_seen.numpy())


def _of_training(line: dict[str, Any]) -> bool:
    """Returns whether a line is of training, not of `tf-sg2 evaluate` with settings of its own."""
    return line.get("recipe", {}).get("generated", {}).get("kind") == "training"
