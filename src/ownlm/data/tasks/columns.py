"""A word a line with its tags in columns: CoNLL, CoNLL-U, and the roles of PropBank beside it.

A sentence ends at a blank line. `-DOCSTART-` and `# newdoc` begin a document, which no split
tears apart.
"""

from collections import Counter
from collections.abc import Iterator

from ownlm.data.faults import Bad, Fault
from ownlm.data.sources import Source
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.records import Origin
from ownlm.data.tasks.rows import Reading, Row, Text, read_lines
from ownlm.errors import DataError

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
ROLES = "srl"
_SENSE = len(CONLLU)  # the column of the predicates' senses, where roles follow
_NONE = ("_", "")
Sentence = list[tuple[int, list[str]]]  # line and cells of each word


def read_conll(source: Source, name: str, config: TaskDataConfig) -> Reading:
    """Sentences as rows of `words` and `tags`: the first and last column, or those asked for."""
    faults: list[Fault] = []
    lines = read_lines(source, name, config, faults)
    split = "\t" if any("\t" in line.text.strip() for line in lines[:200]) else None
    sentences = list(_sentences(lines, split, comments=False))
    width = Counter(len(cells) for _, words in sentences for _, cells in words).most_common(1)
    columns = width[0][0] if width else 0
    word = _number(config.text_column, columns, 1, name, "--data.text-column")
    tag = _number(config.label_column, columns, columns, name, "--data.label-column")
    told = f"CoNLL, {columns} columns: words in column {word}, tags in column {tag}"
    reading = Reading("conll", told, ["words", "tags"], faults=faults)
    for group, words in sentences:
        try:
            for line, cells in words:
                if len(cells) != columns:
                    raise Bad("uneven", f"{len(cells)} columns where others have {columns}", line)
                if not cells[tag - 1].strip():
                    raise Bad("no-label", f"the word {cells[word - 1]!r} has no tag", line)
            fields = {kind: [cells[at - 1].strip() for _, cells in words]
                      for kind, at in (("words", word), ("tags", tag))}  # fmt: skip
            reading.rows.append(
                Row(Origin(name, str(words[0][0])), fields, group and f"{name} {group}")
            )
        except Bad as bad:
            faults.append(bad.at(name))
    return reading


def read_conllu(source: Source, name: str, config: TaskDataConfig) -> Reading:
    """Sentences with the tags of one column (upos), or a row a predicate with the roles to it."""
    faults: list[Fault] = []
    lines = read_lines(source, name, config, faults)
    sentences = list(_sentences(lines, "\t", comments=True))
    roles = any(len(cells) > _SENSE for _, words in sentences for _, cells in words)
    wanted = config.label_column or (ROLES if roles else "upos")
    if wanted not in ("lemma", *CONLLU[3:6], "deprel") + ((ROLES,) if roles else ()):
        raise DataError(
            f"no column {wanted!r} of tags in this CoNLL-U file",
            where=name,
            next_command="--data.label-column upos, xpos, feats or deprel" + ", or srl" * roles,
        )
    told = f"CoNLL-U, tags in {wanted}" if wanted != ROLES else "CoNLL-U with roles of PropBank"
    names = ["words", "tags"] + ["predicate"] * (wanted == ROLES)
    reading = Reading("conllu", told, names, faults=faults)
    reading.described += ", a record a predicate" * (wanted == ROLES)
    for group, words in sentences:
        try:
            kept = [(line, cells) for line, cells in words if cells[0].isdecimal()]
            for line, cells in kept:
                if len(cells) < _SENSE + roles:
                    wants = f"{_SENSE + 1} or more" if roles else str(_SENSE)
                    raise Bad("uneven", f"{len(cells)} columns, CoNLL-U has {wants}", line)
            origin = Origin(name, str(words[0][0]))
            for fields in _roles(kept) if wanted == ROLES else _tags(kept, CONLLU.index(wanted)):
                reading.rows.append(Row(origin, fields, group))
        except Bad as bad:
            faults.append(bad.at(name))
    return reading


def _tags(words: Sentence, column: int) -> Iterator[dict[str, object]]:
    forms = [cells[1] for _, cells in words]
    yield {"words": forms, "tags": [cells[column] for _, cells in words]}


def _roles(words: Sentence) -> Iterator[dict[str, object]]:
    """The predicates of a sentence and the roles to each: the k-th column of roles belongs to the
    word that has V in it, or else to the k-th word with a sense."""
    forms = [cells[1] for _, cells in words]
    senses = [at for at, (_, cells) in enumerate(words) if cells[_SENSE] not in _NONE]
    for number, at in enumerate(senses, start=1):
        column = _SENSE + number
        line = next((line for line, cells in words if len(cells) <= column), 0)
        if line:
            raise Bad("uneven", f"no column of roles for predicate {number}, {forms[at]!r}", line)
        tags = ["O" if cells[column] in _NONE else cells[column] for _, cells in words]
        told = tags.index("V") if tags.count("V") == 1 else at
        yield {"words": forms, "tags": tags, "predicate": told}


def _sentences(
    lines: list[Text], split: str | None, *, comments: bool
) -> Iterator[tuple[str, Sentence]]:
    """Every sentence with words, and the document it is of, if documents are told."""
    words: Sentence = []
    document, number = "", 0
    for line, text, _ in [*lines, Text(0, "")]:
        told = text.strip()
        if not told:
            if words:
                yield document, words
            words = []
        elif comments and told.startswith("#") and not told.startswith("#\t"):
            if told.startswith("# newdoc"):
                number += 1
                document = told.partition("=")[2].strip() or f"document {number}"
        elif told.startswith("-DOCSTART-"):
            number += 1
            document = f"document {number}"
        else:
            words.append((line, text.rstrip("\r").split(split)))


def _number(asked: str, columns: int, default: int, name: str, option: str) -> int:
    if not asked:
        return default
    if not asked.isdecimal() or not 1 <= int(asked) <= columns:
        raise DataError(
            f"no column {asked!r} among {columns}",
            where=name,
            next_command=f"{option} with a number",
        )
    return int(asked)
