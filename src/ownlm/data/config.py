"""What a user may say about the text: where it lies, how it is read, split and judged."""

from typing import Annotated, Literal

import pydantic
import tyro

from ownlm.config import Config


class DataConfig(Config):
    """Where the text is and what to do with it."""

    path: Annotated[str, tyro.conf.arg(aliases=["--data"])] = ""
    """A file or a folder of .txt .md .py (a document each) or .jsonl .csv .parquet (a document a
    row), also as .gz or .zst; with `online` a dataset of the Hugging Face hub, owner/name."""
    text_field: str = ""
    """Field of .jsonl, .csv and .parquet that holds the text; empty: found by its name."""
    pairs: bool = False
    """Rows hold pairs, a source and its target (objective seq2seq turns this on): two columns of
    .tsv or .txt, or fields of .jsonl, .csv and .parquet."""
    source_field: str = ""
    target_field: str = ""
    """Fields of a pair; empty: found by their names (source, src, input; target, tgt, output). Of
    .tsv and .txt numbers of columns, or names in their first line; empty: columns 1 and 2."""
    target_path: str = ""
    """The other of two aligned files: its line n is the target of line n of `path`."""
    codes: str = ""
    """Control code of each document (objective codes): `folder`, the one below `path` that it lies
    in; `file`, the name of its file without the ending; `auto`, the folder if there is one, else
    the file; or a field of .jsonl, .csv and .parquet. Empty: none."""
    files: str = ""
    """Read only files whose relative name matches this pattern, such as 'train-*' or 'en/*.txt'."""
    validation: Annotated[float, pydantic.Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the text that is kept out of training, to measure on."""
    split: Literal["auto", "documents", "tail"] = "auto"
    """documents: whole documents chosen by the hash of their text, so that equal documents stay
    together; tail: the end of every document; auto: documents from 200 of them on."""
    bad: Literal["fail", "skip"] = "fail"
    """What to do with a record that cannot be used: stop and list it, or leave it out and count."""
    max_bad_fraction: Annotated[float, pydantic.Field(ge=0.0, le=1.0)] = 0.1
    """With bad=skip: stop all the same when a larger share of the records is bad."""
    max_record_bytes: Annotated[int, pydantic.Field(ge=1)] = 16 * 1024 * 1024
    """Longest line of a text file, and longest row of the others, in bytes."""
    max_expansion: Annotated[int, pydantic.Field(ge=2)] = 200
    """A compressed file that grows by more than this factor is taken for a bomb and refused."""
    shard_tokens: Annotated[int, pydantic.Field(ge=1)] = 256 * 1024 * 1024
    """Tokens in one shard file (2 bytes each below 65,536 token ids, otherwise 4)."""
    online: bool = False
    """Allow the network: download the dataset of the hub that `path` names."""
    revision: str = ""
    """With online: branch, tag or commit of the dataset; empty: its main branch."""
