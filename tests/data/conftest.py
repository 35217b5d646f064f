"""Corpora for the tests of data/."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ownlm.data import corpus as corpus_module
from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.document import Document
from ownlm.data.report import CorpusReport

Write = Callable[..., Path]
Skim = Callable[..., tuple[list[Document], CorpusReport]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(name, content): a file below tmp_path/corpus, parents made."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def skim(monkeypatch: pytest.MonkeyPatch) -> Skim:
    """skim(path, **config): all documents and the report, whatever is bad or missing."""

    def skim(path: Path, **values: object) -> tuple[list[Document], CorpusReport]:
        config = DataConfig.parse({"bad": "skip", "max_bad_fraction": 1.0} | values)
        with monkeypatch.context() as patched:
            patched.setattr(corpus_module, "_judge", lambda *args: None)
            corpus = Corpus(str(path), config)
            report = corpus.scan()
            return list(corpus), report

    return skim
