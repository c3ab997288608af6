"""The command `tf-sg2 evaluate`: metrics of a run, an export, a folder of images or a server."""

from __future__ import annotations

import contextlib
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tf_sg2.commands.exit_status import signals_as_exceptions
from tf_sg2.commands.flags import CommandFlags, FlagValues, parse
from tf_sg2.commands.trained_run import load_named_run
from tf_sg2.errors import InputError

if TYPE_CHECKING:
    from tf_sg2.config import Config
    from tf_sg2.evaluation.judged import Judged
    from tf_sg2.evaluation.real import Real
    from tf_sg2.metrics.feature_cache import FeatureCache

SOURCES = ("run", "model", "images", "server")
OpenServer = Callable[[FlagValues], AbstractContextManager["Judged"]]

USAGE = """
Measures how good generated images are, against real ones.

  tf-sg2 evaluate --run=runs/cards
  tf-sg2 evaluate --run=runs/cards --checkpoint=1200 --metrics=fd,kd,pr,dc --samples=5000
  tf-sg2 evaluate --run=runs/faces --metrics=fid50k_full,pr50k3_full,ppl2_wend \\
      --feature_weights=weights
  tf-sg2 evaluate --model=exports/cards --data=cards.zip
  tf-sg2 evaluate --images=pictures.zip --data=cards.zip --out=results
  tf-sg2 evaluate --server=http://127.0.0.1:8501 --data=cards.zip

Official metrics, each with its own counts and its own eye (the network that sees the images):
  inception: fid50k_full, fid50k, kid50k_full, kid50k, is50k
  vgg16: pr50k3_full, pr50k3
  LPIPS of vgg16: ppl_zfull, ppl_wfull, ppl_zend, ppl_wend, ppl2_wend (runs only)
Metrics for any eye and any count: fd and fd_infinity (Frechet distance), kd (kernel distance), pr
(precision and recall), dc (density and coverage), ppl. Their results end in the eye's name, such as
fd_ppocr. Only Inception's distances are called FID and KID.

The default eye, ppocr, needs no weights: pip install 'tf-sg2[evaluation]'. tf-sg2 features says
where the weights of the others are. Beside each distance stands its floor: the distance of two
halves of the real images.

Results of a run are added to its folder: metrics/metric-NAME.jsonl, and scalars for TensorBoard.
A stopped evaluation goes on where it was, because features are kept in --feature_cache. Images are
never kept. Features of generated images are deleted at the end. Those of real images stay: delete
the folder with the real images, or set --feature_cache=none.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string("run", None, "run directory of tf-sg2 train")
    flags.string(
        "checkpoint", None, "iteration, name or path of a checkpoint; default: the newest one"
    )
    flags.string("model", None, "folder of tf-sg2 export, or one of its versions")
    flags.string("images", None, "folder, .zip or TFRecords of generated images")
    flags.string("server", None, "http://HOST:PORT for REST, HOST:PORT for gRPC")
    flags.string("served_model", None, "name of the model; default: the server's only model")
    flags.string("token_file", None, "file with the server's token")
    flags.string("data", None, "data set of real images; default: the data of the run")
    flags.enum(
        "real",
        None,
        ["heldout", "training", "all"],
        "part of the run's data; default: held-out images if there are any, else all",
    )
    flags.strings("metrics", ["fd", "kd", "pr"], "names of metrics, separated by commas")
    flags.string(
        "features",
        "ppocr",
        "eye of fd, fd_infinity, kd, pr and dc: ppocr, inception, vgg16 or the path of an .onnx "
        "file",
    )
    flags.string(
        "feature_options",
        None,
        'for an .onnx file: a JSON object such as {"size": [224, 224], "pool": "mean"}',
    )
    flags.strings(
        "feature_weights",
        [],
        "weight files, separated by commas: inception=FILE, vgg16=FILE, or a folder of files with "
        "their published names",
    )
    flags.string(
        "feature_cache",
        None,
        "folder of features, or none; default: in the user's cache folder ($TF_SG2_CACHE)",
    )
    flags.integer(
        "samples", None, "generated images for metrics without an official count", lower_bound=1
    )
    flags.integer(
        "real_samples", None, "real images for metrics without an official count", lower_bound=1
    )
    flags.integer("pairs", None, "pairs of latents for ppl", lower_bound=1)
    flags.integer("seed", 0, "seed of latents, labels, noise and subsets", lower_bound=0)
    flags.integer(
        "repeats", 1, "evaluations with seeds from --seed on; gives mean and spread", lower_bound=1
    )
    flags.integer("batch_size", 64, "images at a time", lower_bound=1)
    flags.boolean(
        "allow_few_samples",
        False,
        "accept fewer images than feature values in Frechet distances, which are then too high",
    )
    flags.enum(
        "convention",
        None,
        ["pytorch", "tensorflow1"],
        "rounding and divisors of the official code; default: exact distances, covariance over n",
    )
    flags.string("devices", "auto", "auto: all GPUs; a number of GPUs; or cpu:N to split the CPU")
    flags.string("out", None, "folder for the results; default: metrics/ of the run")


def main(arguments: Sequence[str], open_server: OpenServer) -> None:
    """Runs `tf-sg2 evaluate`.

    Args:
        arguments: the command line after the command's name.
        open_server: opens what `--server` names. The library does not import the client.
    """
    values = parse("evaluate", arguments, define_flags, USAGE)
    _check(values)
    from tf_sg2.evaluation.eyes import open_eyes, require_names

    require_names(values.metrics)
    with signals_as_exceptions():
        if values.server is None:
            _evaluate(values, None, open_eyes)
            return
        with open_server(values) as judged:
            _evaluate(values, judged, open_eyes)


def _check(values: FlagValues) -> None:
    given = [name for name in SOURCES if values[name].value is not None]
    if len(given) != 1:
        flags = [f"--{name}" for name in SOURCES]
        both = f", not {' and '.join(f'--{name}' for name in given)}" if given else ""
        raise InputError(f"give one of {', '.join(flags)}{both}: what is judged")
    if values.checkpoint is not None and values.run is None:
        raise InputError("--checkpoint chooses a checkpoint of a run; give --run with it")
    if values.real is not None and (values.data is not None or values.run is None):
        raise InputError(
            "--real chooses a part of the run's data; give --run, and leave out --data"
        )
    if values.run is None and values.data is None:
        name = values[given[0]].value
        raise InputError(f"--data is needed: the real images that {name} is compared with")
    for name in ("served_model", "token_file"):
        if values[name].value is not None and values.server is None:
            raise InputError(f"--{name} is about a server; give --server with it")


def _evaluate(values: FlagValues, judged: Judged | None, open_eyes: Callable) -> None:
    from tf_sg2.evaluation import results
    from tf_sg2.evaluation.session import Options, evaluate, needs_real

    options = Options(
        metrics=tuple(dict.fromkeys(values.metrics)),
        samples=values.samples,
        real_samples=values.real_samples,
        pairs=values.pairs,
        seed=values.seed,
        repeats=values.repeats,
        batch_size=values.batch_size,
        allow_few_samples=values.allow_few_samples,
        convention=values.convention,
    )
    eyes = open_eyes(
        options.metrics, values.features, values.feature_weights, values.feature_options
    )
    judged, config = _opened(values, judged)
    real = _real(values, judged, config) if needs_real(options, judged) else None
    found = []
    folder = values.out or (Path(values.run) / "metrics" if values.run else None)
    with _progress() as progress:
        for outcome in evaluate(judged, real, eyes, options, _cache(values), progress):
            found.append(outcome.results)
            if folder is not None:
                line = results.line_of(
                    outcome.metric,
                    outcome.results,
                    outcome.seconds,
                    judged.checkpoint,
                    judged.iteration,
                    judged.kimg,
                    outcome.recipe,
                )
                results.append(folder, line)
    if folder is not None and judged.kimg is not None:
        results.write_scalars(folder, round(judged.kimg * 1000), dict(ChainMap(*found)))
    print(results.table(found))
    if options.allow_few_samples:
        print("few samples were allowed, so Frechet distances may be too high")
    if folder is not None:
        print(f"added to {folder}")


def _opened(values: FlagValues, judged: Judged | None) -> tuple[Judged, Config | None]:
    """Returns what is judged, and the configuration of its run if it is one."""
    from tf_sg2.evaluation.judged import judged_export, judged_run, judged_source

    if values.run is not None:
        from tf_sg2.networks.devices import device_names

        devices = device_names(values.devices)
        run = load_named_run(values)
        return judged_run(run, devices), run.config
    if values.model is not None:
        judged = judged_export(values.model)
    elif values.images is not None:
        judged = judged_source(values.images)
    assert judged is not None
    return judged, None


def _real(values: FlagValues, judged: Judged, config: Config | None) -> Real:
    from tf_sg2.evaluation.real import real_of_data, real_of_run

    if values.data is not None:
        return real_of_data(values.data, judged)
    assert config is not None
    return real_of_run(config, values.real)


def _cache(values: FlagValues) -> FeatureCache | None:
    from tf_sg2.custom_ops.cache import user_cache
    from tf_sg2.metrics.feature_cache import FeatureCache

    if values.feature_cache == "none":
        return None
    folder = None if values.feature_cache is None else Path(values.feature_cache)
    if folder is None:
        user = user_cache()
        if user is None:
            return None
        folder = user / "features"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # Others must not read features.
    except OSError as error:
        raise InputError(
            f"the feature cache {folder} cannot be made ({error.strerror}); give another "
            "--feature_cache, or none"
        ) from error
    return FeatureCache(folder)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yields what moves a progress bar with the time that remains."""
    from tqdm import tqdm

    bars: dict[str, tqdm] = {}

    def step(unit: str, done: int, total: int) -> None:
        bar = bars.get(unit)
        if bar is None or done < bar.n:  # The next path length counts from 0 again.
            for other in bars.values():
                other.close()
            bar = bars[unit] = tqdm(total=total, unit=unit, leave=False, disable=None)
        bar.update(done - bar.n)

    try:
        yield step
    finally:
        for bar in bars.values():
            bar.close()
