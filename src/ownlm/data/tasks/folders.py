"""Examples whose label is where they lie: a file a class and a line an example, or a folder a
class and a file an example; and parallel text in two files."""

import os
import re
from collections.abc import Sequence

from ownlm.data.config import DataConfig
from ownlm.data.document import SIDES
from ownlm.data.faults import Bad, Fault
from ownlm.data.pairs import find_aligned, read_aligned
from ownlm.data.sources import Source
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.records import Origin
from ownlm.data.tasks.rows import Reading, Row, read_lines

SPLITS = {
    "train": "train", "training": "train", "dev": "validation", "devel": "validation",
    "valid": "validation", "validation": "validation", "val": "validation", "eval": "validation",
    "test": "test", "testing": "test", "heldout": "test",
}  # fmt: skip
_SEPARATORS = re.compile(r"[^\w]+|_+")


def split_of(name: str) -> str:
    """The split that a relative name tells: a word of its path that is train, dev, test...

    The last such word counts; wnut17train tells train, since words end where digits do.
    """
    told = ""
    for word in _words(name):
        letters = re.sub(r"^.*\d", "", word)
        told = SPLITS.get(word) or SPLITS.get(letters) or told
    return told


def classes(names: Sequence[str]) -> list[str]:
    """The label of each file from its name: what is left without the words all of them share,
    the words of splits, and the ending.

    >>> classes(["zh_neg_3000.txt", "zh_pos_3000.txt"])
    ['neg', 'pos']
    """
    words = [[w for w in _words(_stem(name)) if w not in SPLITS] for name in names]
    shared = set.intersection(*map(set, words)) if len(names) > 1 else set()
    return ["_".join(w for w in one if w not in shared) or _stem(name)
            for one, name in zip(words, names)]  # fmt: skip


def read_class(source: Source, name: str, label: str, config: TaskDataConfig) -> Reading:
    """A line an example, blank lines passed over."""
    reading = Reading(
        "lines", "a line an example, the label in the name of the file", ["text", "label"]
    )
    for number, text, _ in read_lines(source, name, config, reading.faults):
        if text.strip():
            fields = {"text": text.removesuffix("\r"), "label": label}
            reading.rows.append(Row(Origin(name, str(number)), fields))
    return reading


def read_document(source: Source, name: str, config: TaskDataConfig) -> Reading:
    """A file an example; its label is the folder it lies in."""
    reading = Reading("folders", "a file an example, the label is its folder", ["text", "label"])
    lines = read_lines(source, name, config, reading.faults)
    fields = {"text": "\n".join(line.text for line in lines), "label": _folder(source.name)}
    if not reading.faults:
        reading.rows.append(Row(Origin(name), fields))
    return reading


def read_two_files(config: TaskDataConfig) -> Reading:
    """Line n of one file and line n of the other; raises DataError when one is not there."""
    pairs = DataConfig(
        path=config.path, target_path=config.target_path, pairs=True,
        max_record_bytes=config.max_record_bytes, max_expansion=config.max_expansion,
    )  # fmt: skip
    reading = Reading("aligned", "two files, line by line", ["source", "target"])
    (source,) = find_aligned(config.path, config.target_path).sources
    try:
        with source.open() as file:
            for row in read_aligned(file, source, pairs):
                if isinstance(row, Fault):
                    reading.faults.append(row)
                elif row.text:
                    sides = row.text.split(SIDES)
                    fields = dict(zip(reading.names, sides))
                    reading.rows.append(Row(Origin(source.name, str(row.line)), fields))
    except Bad as bad:
        reading.faults.append(bad.at(source.name))
    return reading


def _folder(name: str) -> str:
    return os.path.basename(os.path.dirname(name))


def _stem(name: str) -> str:
    return re.sub(r"(\.\w{1,9})+$", "", os.path.basename(name))


def _words(name: str) -> list[str]:
    return [word for word in _SEPARATORS.split(name.lower()) if word]
