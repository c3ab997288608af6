"""A zip of images, with labels from the official `dataset.json` and groups from `groups.csv`.

`zipfile` reads the directory once. Entries are then read with positional reads on one file
descriptor. These share no file position, so several threads read at once without a lock. The
CRC-32 of every entry is verified.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib

from tf_sg2.data.decode import MAX_BYTES, SUFFIXES, too_large
from tf_sg2.data.labels import LABEL_FILE, Labels, parse_labels, refuse_nested
from tf_sg2.data.split.groups import GROUP_FILE, Groups
from tf_sg2.errors import InputError
from tf_sg2.files import open_regular

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # Signature, lengths of the name and the extra field.
_ENCRYPTED = 0x1


class ArchiveFiles:
    """The image files in a zip (see `tf_sg2.data.encoded.EncodedFiles`).

    Args:
        path: the zip file; its entries are stored or deflated. A name with a part that begins
            with a dot is skipped.

    Raises:
        InputError: if it cannot be opened, is not a zip, or if an image in it is encrypted or
            compressed by another method.
    """

    def __init__(self, path: str):
        self.name = path
        try:
            self._file = open_regular(path)  # Closed with this object.
            self._size = os.fstat(self._file.fileno()).st_size
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        except Exception as error:  # A malformed directory makes zipfile raise many kinds.
            raise InputError(
                f"{path} cannot be opened as a zip ({error}); restore it, or give another path"
            ) from error
        self._entries = []
        self.ignored: list[str] = []
        self._label_entry = None
        self._group_entry = None
        for entry in sorted(entries, key=lambda entry: entry.filename):
            name = _name(entry)
            parts = name.split("/")
            # macOS adds "__MACOSX" and "._" files to its zips.
            if "__MACOSX" in parts or any(part.startswith(".") for part in parts):
                continue
            base = parts[-1]
            if name == LABEL_FILE:
                self._label_entry = entry
            elif name == GROUP_FILE:
                self._group_entry = entry
            elif base.lower().endswith(SUFFIXES):
                self._check(entry)
                self._entries.append(entry)
            elif not base.endswith(".json") or base == LABEL_FILE:
                self.ignored.append(name)
        self.names = [_name(entry) for entry in self._entries]

    def read(self, index: int) -> bytes:
        """Returns the bytes of entry `index`; their checksum is verified."""
        entry = self._entries[index]
        if entry.file_size > MAX_BYTES:
            raise too_large(self._where(entry))
        return self._read(entry)

    def where(self, index: int) -> str:
        """Returns the name of entry `index` with the path of the zip."""
        return self._where(self._entries[index])

    def labels(self) -> Labels:
        """Returns the labels of the zip's `dataset.json`, if it has one."""
        if self._label_entry is None:
            refuse_nested(self.ignored, self.name)
            return Labels()
        self._check(self._label_entry)
        return parse_labels(
            self._read(self._label_entry), self.names, self._where(self._label_entry)
        )

    def groups(self) -> Groups | None:
        """Returns the groups of the zip's `groups.csv`, if it has one."""
        if self._group_entry is None:
            return None
        self._check(self._group_entry)
        return Groups(self._read(self._group_entry), self._where(self._group_entry))

    def content(self) -> list[str]:
        """Returns the name, size and CRC-32 of every image, one line per image."""
        return [f"{entry.filename} {entry.file_size} {entry.CRC}" for entry in self._entries]

    def _where(self, entry: zipfile.ZipInfo) -> str:
        return f"{entry.filename} in {self.name}"

    def _check(self, entry: zipfile.ZipInfo) -> None:
        if entry.flag_bits & _ENCRYPTED:
            raise InputError(f"{self._where(entry)} is encrypted; give a zip without a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{self._where(entry)} is compressed by method {entry.compress_type}; "
                "make the zip again with method stored or deflated"
            )

    def _read(self, entry: zipfile.ZipInfo) -> bytes:
        damaged = InputError(
            f"{self._where(entry)} is damaged; restore the zip, and leave it unchanged while it is "
            "in use"
        )
        try:
            header = os.pread(self._file.fileno(), _LOCAL_HEADER.size, entry.header_offset)
            signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
            if signature != b"PK\x03\x04":
                raise damaged
            start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
            if start + entry.compress_size > self._size:
                raise damaged
            data = os.pread(self._file.fileno(), entry.compress_size, start)
            if entry.compress_type == zipfile.ZIP_DEFLATED:
                # One byte more than declared is enough to detect a wrong length.
                data = zlib.decompressobj(wbits=-15).decompress(data, entry.file_size + 1)
        except (OSError, OverflowError, struct.error, zlib.error) as error:
            raise damaged from error
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            raise damaged
        return data


def _name(entry: zipfile.ZipInfo) -> str:
    """Returns the path in the zip; some programs write "./" in front of it."""
    return entry.filename.removeprefix("./")
