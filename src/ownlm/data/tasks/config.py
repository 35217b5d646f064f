"""What a user may say about labelled data: where it lies, what is in it, how it is split."""

from typing import Annotated, Literal

import pydantic
import tyro

from ownlm.config import Config

Task = Literal["classify", "pair", "regress", "tag", "span", "seq2seq", "chat"]
Format = Literal["auto", "table", "json", "conll", "conllu", "lines", "folders"]


class TaskDataConfig(Config):
    """Labelled data; whatever is left empty is recognised and shown back."""

    path: Annotated[str, tyro.conf.arg(aliases=["--data"])] = ""
    """A file or a folder, plain or as .gz or .zst. Files of a folder that are named train, dev or
    validation, and test are these splits."""
    validation_path: str = ""
    """A file or folder to measure on while training; empty: taken from `path`."""
    test_path: str = ""
    """A file or folder to measure on in the end; empty: taken from `path`."""
    target_path: str = ""
    """Of parallel text in two files: line n of this one is the target of line n of `path`."""
    files: str = ""
    """Read only files whose relative name matches this pattern, such as 'zh_*'."""
    format: Format = "auto"
    """table: .csv and .tsv; json: .jsonl and .json; conll: a word a line; lines: an example a line,
    its label in the name of the file; folders: an example a file, its label the folder."""
    delimiter: Literal["auto", "comma", "tab", "semicolon", "bar"] = "auto"
    """What stands between the columns of a table."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first row of a table names the columns."""
    text_column: str = ""
    """Name of a column or field, or its number from 1; empty: found by its name or content."""
    pair_column: str = ""
    """The second text of a pair."""
    label_column: str = ""
    """The label of a text; of .conllu upos, xpos, feats, deprel or srl (one record a predicate)."""
    score_column: str = ""
    """The number to be predicted."""
    source_column: str = ""
    target_column: str = ""
    """What is read and what is written, of parallel text and summaries."""
    label_separator: str = ""
    """What stands between several labels in one cell; empty: a cell is one label."""
    labels: tuple[str, ...] = ()
    """The labels there are; empty: those that are met. Any other label is a fault."""
    split: Literal["auto", "names", "random"] = "auto"
    """names: by the names of the files, of which one must be train; random: by seed and content;
    auto: names where one is train, else random."""
    validation: Annotated[float, pydantic.Field(ge=0.0, lt=1.0)] = 0.1
    test: Annotated[float, pydantic.Field(ge=0.0, lt=1.0)] = 0.1
    """Shares of the records kept out of training. What belongs together stays together."""
    seed: int = 0
    """Another seed, another split."""
    bad: Literal["fail", "skip"] = "fail"
    """What to do with a record that cannot be used: stop and list it, or leave it out and count."""
    max_bad_fraction: Annotated[float, pydantic.Field(ge=0.0, le=1.0)] = 0.1
    """With bad=skip: stop all the same when a larger share of the records is bad."""
    max_record_bytes: Annotated[int, pydantic.Field(ge=1)] = 16 * 1024 * 1024
    """Longest line, in bytes."""
    max_expansion: Annotated[int, pydantic.Field(ge=2)] = 200
    """A compressed file that grows by more than this factor is taken for a bomb and refused."""

    @pydantic.model_validator(mode="after")
    def _leave_something(self) -> "TaskDataConfig":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to learn from")
        return self
