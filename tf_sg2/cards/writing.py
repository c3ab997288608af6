"""Writes cards to a folder or a zip, with the texts and boxes of each card in `cards.json`."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from tf_sg2.cards.card import LANGUAGES, Card, draw_card
from tf_sg2.cards.source import CardSource
from tf_sg2.errors import InputError
from tf_sg2.files import new_file, new_folder

CARDS_FILE = "cards.json"
# Cards per subfolder. A set of at most this number has no subfolders.
FOLDER_SIZE = 1000
# Sets below this count are drawn by one process: starting more would take longer.
_SERIAL_COUNT = 400


def write_cards(
    out: str | os.PathLike,
    count: int,
    seed: int = 0,
    image_size: tuple[int, int] = (96, 160),
    languages: Sequence[str] = LANGUAGES,
    processes: int | None = None,
) -> Path:
    """Draws cards 0 to count - 1 and writes them as PNG files.

    `cards.json` beside them holds the seed, the image size, and for each card its file name,
    language, orientation, layout, and the text and box of every field. A box is [left, top, right,
    bottom] in pixels. `out` appears when it is complete, or not at all.

    Args:
        out: the folder or the .zip file to create.
        count: number of cards.
        seed: seed of the series.
        image_size: (height, width) in pixels.
        languages: languages of the cards, of "ja" and "en".
        processes: number of processes that draw. None chooses it from `count` and the number of
            processors.

    Returns:
        `out`.

    Raises:
        InputError: if `out` exists or cannot be written, or an argument is out of range.
    """
    out = Path(out)
    source = CardSource(count, seed, image_size, languages)
    draw_card(seed, 0, image_size, source.languages)  # A missing font is reported first.
    if os.path.lexists(out):
        raise InputError(f"{out} exists already; remove it, or give another --out")
    write = _write_zip if out.suffix.lower() == ".zip" else _write_folder
    draw_file = partial(
        _draw_file, source.seed, source.image_size, source.languages, count > FOLDER_SIZE
    )
    write(out, source, draw_all(draw_file, count, processes))
    return out


def _write_folder(out: Path, source: CardSource, drawn: Iterator[tuple[bytes, dict]]) -> None:
    with new_folder(out) as folder:
        entries = []
        for data, entry in drawn:
            path = folder / entry["file"]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            entries.append(entry)
        (folder / CARDS_FILE).write_text(_document(source, entries), encoding="utf-8")


def _write_zip(out: Path, source: CardSource, drawn: Iterator[tuple[bytes, dict]]) -> None:
    with new_file(out, replace=False) as file, zipfile.ZipFile(file, "w") as archive:
        entries = []
        for data, entry in drawn:
            archive.writestr(zip_entry(entry["file"], zipfile.ZIP_STORED), data)
            entries.append(entry)
        document = _document(source, entries)
        archive.writestr(zip_entry(CARDS_FILE, zipfile.ZIP_DEFLATED), document)


def zip_entry(name: str, compression: int) -> zipfile.ZipInfo:
    """Returns a zip entry without the time, so equal cards give equal zips."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = compression
    entry.external_attr = 0o644 << 16
    return entry


def _document(source: CardSource, entries: list[dict]) -> str:
    return card_document(source.seed, source.image_size, source.languages, entries)


def card_document(
    seed: int, image_size: tuple[int, int], languages: Sequence[str], entries: list[dict]
) -> str:
    """Returns the text of `cards.json`."""
    head = {"seed": seed, "image_size": list(image_size), "languages": list(languages)}
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    return f'{json.dumps(head)[:-1]}, "cards": [\n{lines}\n]}}\n'


def draw_all(
    draw: Callable[[int], tuple[bytes, dict]], count: int, processes: int | None
) -> Iterator[tuple[bytes, dict]]:
    """Yields the PNG and the JSON entry of every card in order, and shows a progress bar.

    Args:
        draw: draws the card of a number, in any process.
        count: number of cards.
        processes: number of processes that draw. None chooses it from `count` and the number of
            processors.
    """
    if processes is None:
        processes = 1 if count < _SERIAL_COUNT else min(os.cpu_count() or 1, 8)
    with tqdm(total=count, desc="cards", unit="card") as progress:
        if processes == 1:
            for index in range(count):
                yield draw(index)
                progress.update()
            return
        # Not forked: the parent process may hold threads and locks, such as TensorFlow's.
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for drawn in pool.imap(draw, range(count), chunksize=16):
                yield drawn
                progress.update()


def _draw_file(
    seed: int, image_size: tuple[int, int], languages: tuple[str, ...], nested: bool, index: int
) -> tuple[bytes, dict]:
    card = draw_card(seed, index, image_size, languages)
    return encoded(card, file_name(index, nested))


def file_name(index: int, nested: bool) -> str:
    """Returns the path of a card in its folder or zip."""
    name = f"{index:08}.png"
    return f"{index // FOLDER_SIZE:05}/{name}" if nested else name


def encoded(card: Card, name: str) -> tuple[bytes, dict]:
    """Returns the PNG of a card, and its entry in `cards.json` under a file name."""
    entry = {
        "file": name,
        "language": card.language,
        "orientation": card.orientation,
        "layout": card.layout,
        "fields": card.fields,
        "boxes": card.boxes,
    }
    return _png(card.image), entry


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=4)
    return buffer.getvalue()
