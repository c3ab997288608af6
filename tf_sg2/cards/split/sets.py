"""Writes a deal of cards: a zip per set, and `split.json` with all that an audit needs to know."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tf_sg2.cards import fonts
from tf_sg2.cards.split.deal import CANARIES, REPEATS, Deal
from tf_sg2.cards.split.texts import SHARED_FIELDS
from tf_sg2.cards.writing import (
    CARDS_FILE,
    FOLDER_SIZE,
    card_document,
    draw_all,
    encoded,
    file_name,
    zip_entry,
)
from tf_sg2.data.open import open_source
from tf_sg2.data.split.groups import GROUP_FILE, format_groups
from tf_sg2.data.split.shares import TRAINING
from tf_sg2.errors import InputError
from tf_sg2.files import new_folder

SPLIT_FILE = "split.json"
VERSION = 1


def write_split(out: str | os.PathLike, deal: Deal, processes: int | None = None) -> dict:
    """Draws the cards of all sets and writes `training.zip`, `holdout.zip` and so on.

    Each zip also holds `cards.json`, with the texts and boxes of its cards, and `groups.csv` with
    the columns person and company. An empty set has no zip. `out` appears when it is complete, or
    not at all.

    Args:
        out: the folder to create.
        deal: the sets.
        processes: number of processes that draw. None chooses it from the number of cards and of
            processors.

    Returns:
        The content of `split.json`.

    Raises:
        InputError: if `out` exists or cannot be written, or a font is not installed.
    """
    out = Path(out)
    if os.path.lexists(out):
        raise InputError(f"{out} exists already; remove it, or give another --out")
    deal.card(TRAINING, 0)  # A missing font is reported before any process starts.
    # Canaries come first, because the training set holds copies of them.
    names = [CANARIES, *(name for name in deal.sizes if name != CANARIES)]
    total = sum(deal.sizes.values())
    with new_folder(out) as folder:
        drawn = draw_all(partial(_draw, deal, names), total, processes)
        written: dict[str, list[tuple[bytes, dict]]] = {}
        for name in names:
            planted = written[CANARIES] if name == TRAINING else []
            written[name] = _write_set(folder, deal, name, drawn, planted)
        document = _describe(folder, deal, written)
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        (folder / SPLIT_FILE).write_text(text, encoding="utf-8")
    return document


def copy_name(index: int, copy: int) -> str:
    """Returns the path in the training set of a copy of canary `index`."""
    return f"{CANARIES}/{index:08}-{copy:02}.png"


def _draw(deal: Deal, names: list[str], number: int) -> tuple[bytes, dict]:
    """Draws a card by its number over all sets, which follow each other."""
    for name in names:
        if number < deal.sizes[name]:
            break
        number -= deal.sizes[name]
    texts = deal.texts(name, number)
    data, entry = encoded(
        deal.card(name, number), file_name(number, deal.sizes[name] > FOLDER_SIZE)
    )
    return data, {**entry, "person": texts["name"], "company": texts["company"]}


def _write_set(
    folder: Path,
    deal: Deal,
    name: str,
    drawn: Iterator[tuple[bytes, dict]],
    canaries: list[tuple[bytes, dict]],
) -> list[tuple[bytes, dict]]:
    """Writes the next cards and copies of canaries; returns the cards.

    Their PNGs are kept only for canaries, which the training set needs; others are empty.
    """
    cards: list[tuple[bytes, dict]] = []
    if not deal.sizes[name]:
        return cards
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for _ in range(deal.sizes[name]):
            data, entry = next(drawn)
            archive.writestr(zip_entry(entry["file"], zipfile.ZIP_STORED), data)
            cards.append((data if name == CANARIES else b"", entry))
        entries = [entry for _, entry in cards]
        for index, (data, entry) in enumerate(canaries):
            canary = deal.canary(index)
            for copy in range(canary.repeats if canary.planted else 0):
                entries.append({**entry, "file": copy_name(index, copy), "canary": index})
                archive.writestr(zip_entry(entries[-1]["file"], zipfile.ZIP_STORED), data)
        rows = ([entry["file"], entry["person"], entry["company"]] for entry in entries)
        groups = format_groups(("person", "company"), rows)
        text = card_document(deal.seed, deal.image_size, deal.languages, entries)
        archive.writestr(zip_entry(CARDS_FILE, zipfile.ZIP_DEFLATED), text)
        archive.writestr(zip_entry(GROUP_FILE, zipfile.ZIP_DEFLATED), groups)
    return cards


def _describe(folder: Path, deal: Deal, written: dict[str, list[tuple[bytes, dict]]]) -> dict:
    sets, all_prints = {}, hashlib.sha256()
    for name, count in deal.sizes.items():
        if not count:
            continue
        source = open_source(str(folder / f"{name}.zip"))
        sets[name] = {
            "file": f"{name}.zip",
            "cards": count,
            "images": len(source),
            "fingerprint": source.fingerprint(),
        }
        all_prints.update(f"{name} {sets[name]['fingerprint']}\n".encode())
    canaries = [deal.canary(index) for index in range(deal.sizes[CANARIES])]
    return {
        "version": VERSION,
        "seed": deal.seed,
        "image_size": list(deal.image_size),
        "languages": list(deal.languages),
        "drawn_with": fonts.drawn_with(),
        "fingerprint": all_prints.hexdigest(),
        "sets": sets,
        "owned_shares": deal.shares,
        "shared_fields": list(SHARED_FIELDS),
        "repeats": list(REPEATS),
        "canaries": [
            {
                "file": written[CANARIES][canary.index][1]["file"],
                "repeats": canary.repeats,
                "planted": canary.planted,
                "copies": [
                    copy_name(canary.index, copy)
                    for copy in range(canary.repeats if canary.planted else 0)
                ],
            }
            for canary in canaries
        ],
        "cards": {
            name: [
                {
                    "file": entry["file"],
                    "person": entry["person"],
                    "company": entry["company"],
                    "strings": {
                        field: text
                        for field, text in entry["fields"].items()
                        if field not in SHARED_FIELDS
                    },
                }
                for _, entry in written[name]
            ]
            for name in sets
        },
    }
