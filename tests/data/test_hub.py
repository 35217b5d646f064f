"""Datasets of the hub: only when asked for, and only the files of the training split."""

from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.hub import choose, looks_like_dataset
from ownlm.errors import DataError

FILES = ["README.md", "loader.py", "data/test-0.jsonl", "data/train-0.jsonl", "data/train-1.jsonl"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with dataset owner/name; returns what was asked of it."""
    asked = []

    def info(self, name, revision):
        asked.append((name, revision))
        names = FILES if revision != "empty" else ["README.md"]
        siblings = [SimpleNamespace(rfilename=file) for file in names]
        return SimpleNamespace(sha="c0ffee" * 7, siblings=siblings)

    def download(name, file, repo_type, revision):
        asked.append((file, revision))
        path = tmp_path / "cache" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"text": "{file}"}}\n')
        link = tmp_path / "links" / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path)  # the hub's cache hands out links
        return str(link)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_the_network_is_not_used_unless_asked(hub):
    with pytest.raises(DataError, match="could be a dataset") as caught:
        Corpus("owner/name", DataConfig())
    assert "--data owner/name --data.online" in caught.value.next_command
    assert hub == []


def test_files_of_the_training_split_are_read_at_one_commit(hub):
    corpus = Corpus("owner/name", DataConfig(online=True))
    assert [d.text for d in corpus] == ["data/train-0.jsonl", "data/train-1.jsonl"]
    assert [d.path for d in corpus] == ["data/train-0.jsonl", "data/train-1.jsonl"]
    assert hub[0] == ("owner/name", "main")
    assert {revision for _, revision in hub[1:]} == {"c0ffee" * 7}


def test_a_pattern_and_a_revision_choose_others(hub):
    config = DataConfig(online=True, files="*/test*", revision="v2")
    assert [d.text for d in Corpus("owner/name", config)] == ["data/test-0.jsonl"]
    assert hub[0] == ("owner/name", "v2")
    with pytest.raises(DataError, match="no file that is read here among its 1"):
        Corpus("owner/name", DataConfig(online=True, revision="empty"))


def test_a_path_on_disk_comes_first(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "a.txt").write_text("local")
    assert [d.text for d in Corpus("owner/name", DataConfig(online=True))] == ["local"]
    assert hub == []


@pytest.mark.parametrize("error", [ConnectionError("down"), errors.HFValidationError("bad name")])
def test_a_refusal_of_the_hub_is_a_data_error(monkeypatch, error):
    def info(self, name, revision):
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    with pytest.raises(DataError, match=f"the hub refused: {error}"):
        Corpus("owner/name", DataConfig(online=True))


def test_a_lost_connection_of_the_http_library_is_a_data_error(monkeypatch):
    library = errors.HfHubHTTPError.__mro__[1]
    lost = next((c for c in library.__subclasses__() if c.__name__ == "RequestError"), library)

    def info(self, name, revision):
        raise lost("name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    with pytest.raises(DataError, match="the hub refused: name or service not known"):
        Corpus("owner/name", DataConfig(online=True))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["train.parquet", "test.parquet"], ["train.parquet"]),
        (
            ["default/train/0000.parquet", "default/test/0000.parquet"],
            ["default/train/0000.parquet"],
        ),
        (["trainer.txt", "b.txt", "README.md"], ["b.txt", "trainer.txt"]),
        (["x.png"], []),
    ],
)
def test_what_is_read_of_a_dataset(names, chosen):
    assert choose(names, "") == chosen


@pytest.mark.parametrize("path", ["a/b/c", "name", "/a/b", "a/", "../b", "a b/c", "./x", "~/x"])
def test_other_paths_are_not_taken_for_datasets(path):
    assert not looks_like_dataset(path)
