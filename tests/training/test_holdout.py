"""A whole run with held-out images."""

import json
import shutil

import pytest

from tf_sg2 import InputError
from tf_sg2.cards import CardSource
from tf_sg2.data import open_source
from tf_sg2.data.split import split
from tf_sg2.training.loop import train
from tiny_config import tiny_config

pytestmark = pytest.mark.slow

# The quickest steps; two epochs of 40 cards.
QUICK = {"training__r1_interval": 0, "training__path_length_interval": 0}


def test_a_run_never_reads_a_held_out_image_and_is_not_resumed_with_others(tmp_path, monkeypatch):
    configuration = tiny_config(data__holdout=0.3, **QUICK)
    found = split(open_source(configuration.data.source), 0.3)
    read: list[int] = []
    image = CardSource.image
    monkeypatch.setattr(
        CardSource, "image", lambda self, index: read.append(index) or image(self, index)
    )
    run = tmp_path / "run"
    train(configuration, run, progress=False)
    # The sample picture of real images is among the reads.
    assert set(read) == set(found.training.indices.tolist())
    assert len(found.heldout) > 5
    stored = json.loads((run / "data.json").read_text())
    assert stored["images"] == len(found.training)
    assert stored["fingerprint"] == found.training.fingerprint()
    assert stored["heldout"] == {
        "images": len(found.heldout),
        "fingerprint": found.heldout.fingerprint(),
    }

    for change, sentence in (
        ({"data__holdout": 0.2}, r"Differences \(run -> wanted\): data.holdout: 0.3 -> 0.2"),
        ({"data__holdout": 0.0}, r"data.holdout: 0.3 -> 0.0"),
        ({"data__group": "name"}, r"data.group: '' -> 'name'"),
    ):
        with pytest.raises(InputError, match=sentence):
            train(tiny_config(**{"data__holdout": 0.3, **QUICK, **change}), run, progress=False)
    assert int(train(configuration, run, progress=False).iteration.numpy()) == 12


def test_held_out_images_of_a_resumed_run_may_move_but_not_change(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    source = open_source("cards:count=6,seed=8,size=16x20")
    here.mkdir()
    from PIL import Image

    for index in range(len(source)):
        Image.fromarray(source.image(index)).save(here / f"{index}.png")

    def configuration(heldout: str):
        total = {"training__total_kimg": 0.008}
        return tiny_config(data__heldout=heldout, **total, **QUICK)

    run = tmp_path / "run"
    train(configuration(str(here)), run, progress=False)
    shutil.move(here, there)
    train(configuration(str(there)), run, progress=False)
    (there / "0.png").unlink()
    with pytest.raises(InputError, match=r"heldout: \{'images': 6, .* -> \{'images': 5, "):
        train(configuration(str(there)), run, progress=False)
    with pytest.raises(InputError, match=r"heldout: \{'images': 6, .* -> None"):
        train(configuration(""), run, progress=False)
