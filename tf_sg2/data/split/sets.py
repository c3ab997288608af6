"""Writes a data set as several: a zip per set, and `split.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tf_sg2.data import output
from tf_sg2.data.conversion import Report, check_options, first_size, open_candidates, run
from tf_sg2.data.open import open_source
from tf_sg2.data.split.shares import divide
from tf_sg2.errors import InputError
from tf_sg2.files import new_folder

SPLIT_FILE = "split.json"


def convert_sets(
    source: str,
    dest: str,
    shares: Mapping[str, float],
    group: str = "",
    *,
    image_size: tuple[int, int] | None = None,
    crop: str = "center",
    image_channels: int | None = None,
) -> dict[str, Report]:
    """Divides a data set into a zip per set, such as `training.zip` and `holdout.zip`.

    The set of an image depends on a hash of its key only (see `tf_sg2.data.split`). The zips are
    written as by `convert`. `split.json` beside them names the group, the shares and the sets.

    Args:
        source: a specification for `tf_sg2.data.open_source`.
        dest: the folder to create. It appears when it is complete.
        shares: share of each set besides training, by its name.
        group: column of `groups.csv` whose images stay together; "" for none.
        image_size: as for `convert`.
        crop: as for `convert`.
        image_channels: as for `convert`.

    Returns:
        The report of each set by its name.

    Raises:
        InputError: as `convert`; if a set is empty, or there is no such group.
    """
    image_channels = check_options(source, dest, image_size, crop, image_channels, None)
    if Path(dest).suffix.lower() == ".zip" or output.is_records(dest):
        raise InputError(f"--split writes a folder of zips, but --dest is {dest}; name a folder")
    candidates = open_candidates(source, image_channels, image_size)
    found = divide(candidates.keys(group), shares)
    empty = next((name for name, indices in found.items() if not len(indices)), None)
    if empty is not None:
        raise InputError(
            f"--split leaves the set {empty} without any of the {len(candidates.names)} images of "
            f"{source}; give other shares or more images" + (" or groups" if group else "")
        )
    size = image_size or first_size(source, candidates)
    reports, sets = {}, {}
    with new_folder(dest) as folder:
        for name, indices in found.items():
            file = f"{name}.zip"
            report = Report(
                source, str(Path(dest) / file), size, candidates.channels, candidates.labels.dim
            )
            run(candidates, report, str(folder / file), indices.tolist(), crop, bool(image_size))
            written = open_source(str(folder / file))
            sets[name] = {
                "file": file,
                "images": len(written),
                "fingerprint": written.fingerprint(),
            }
            reports[name] = report
        document = {"version": 1, "group": group, "shares": dict(shares), "sets": sets}
        (folder / SPLIT_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return reports
