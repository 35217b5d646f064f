"""F4 and gathering: windows over shards equal a plain slice; damage is named with its file."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm import files
from ownlm.data.shards import (
    SPLITS,
    SplitWriter,
    TokenStream,
    id_type,
    is_prepared,
    open_prepared,
)
from ownlm.errors import DataError

EOS = 9


def build(folder, documents, shard_tokens=7, kind="<u2", name="train"):
    writer = SplitWriter(folder, name, kind, shard_tokens, EOS)
    for document in documents:
        writer.start_document()
        for piece in document:
            writer.add(piece, len(piece))
    facts = writer.finish()
    return TokenStream(folder, name, facts, kind), facts


def flat(documents):
    tokens = [[id for piece in document for id in piece] + [EOS] for document in documents]
    return np.array([id for document in tokens for id in document], np.int64)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.lists(st.integers(0, 8), max_size=9), max_size=3), max_size=8),
    st.integers(1, 12),
    st.integers(1, 20),
    st.sampled_from(["<u2", "<u4"]),
)
def test_windows_equal_slices_of_the_whole(tmp_path_factory, documents, shard, length, kind):
    stream, facts = build(tmp_path_factory.mktemp("d"), documents, shard, kind)
    whole = flat(documents)
    assert (stream.tokens, facts["documents"]) == (len(whole), len(documents))
    assert facts["shards"] == [min(shard, len(whole) - n) for n in range(0, len(whole), shard)]
    starts = np.cumsum([0] + [sum(map(len, d)) + 1 for d in documents])[:-1]
    assert stream.starts.tolist() == starts.tolist()
    begins = np.arange(max(0, len(whole) - length + 1))[::-1]
    windows = stream.gather(begins, length)
    numbers = stream.documents(begins, length)
    assert windows.dtype == np.int64
    assert numbers.dtype == np.int32
    owner = np.searchsorted(starts, np.arange(len(whole)), side="right")
    for begin, window, number in zip(begins, windows, numbers):
        assert window.tolist() == whole[begin : begin + length].tolist()
        expected = owner[begin : begin + length] - owner[begin] + 1
        assert number.tolist() == expected.tolist()


def test_a_window_outside_the_stream_is_never_read(tmp_path):
    stream, _ = build(tmp_path, [[[1, 2, 3]]])
    for begin, length in [(-1, 2), (0, 5), (4, 1), (0, 0)]:
        with pytest.raises(AssertionError):
            stream.gather([begin], length)


def test_ids_take_two_bytes_until_they_cannot():
    assert [id_type(size) for size in (2, 65_536, 65_537)] == ["<u2", "<u2", "<u4"]


def test_an_id_that_does_not_fit_is_never_written(tmp_path):
    with pytest.raises(OverflowError):
        build(tmp_path, [[[70_000]]])


@pytest.fixture
def prepared(tmp_path):
    """A published folder: 40 documents of 5 tokens to train on, 4 to validate."""

    def fill(folder):
        facts = {"format": 1, "vocab_size": 300, "tokenizer_digest": "ab" * 32}
        for name, count in zip(SPLITS, (40, 4)):
            documents = [[[n % 9] * 4] for n in range(count)]
            facts[name] = build(folder, documents, 64, name=name)[1]
        files.write_json(folder / "dataset.json", facts)
        files.write_json(folder / "report.json", {"documents": 44})

    files.publish_folder(tmp_path / "data", fill)
    return tmp_path / "data"


def test_what_was_published_is_opened(prepared):
    data = open_prepared(prepared, verify=True)
    assert (data.train.tokens, data.validation.tokens) == (200, 20)
    assert (data.train.text_bytes, data.manifest["vocab_size"]) == (160, 300)
    assert (data.tokenizer_digest, data.report) == ("ab" * 32, {"documents": 44})
    assert data.train.gather([195], 5).tolist() == [[3, 3, 3, 3, EOS]]
    assert data.digest == open_prepared(prepared).digest


@pytest.mark.parametrize("keep", [127, 64, 0])
def test_a_shortened_shard_is_named_with_both_sizes(prepared, keep):
    shard = prepared / "train-00001.bin"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(DataError) as caught:
        open_prepared(prepared)
    assert f"{shard}: {keep:,} bytes, expected 128 bytes" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_flipped_bit_is_found_by_verifying_and_changes_nothing_else(prepared):
    shard = prepared / "validation-00000.bin"
    content = bytearray(shard.read_bytes())
    content[11] ^= 4
    shard.write_bytes(content)
    open_prepared(prepared)
    with pytest.raises(DataError, match=r"validation-00000\.bin: sha256 \w{16}…, expected \w{16}…"):
        open_prepared(prepared, verify=True)


def test_all_damage_is_listed_at_once(prepared):
    (prepared / "train-00000.bin").unlink()
    (prepared / "report.json").write_text("{}")
    (prepared / "train.documents.bin").write_bytes(b"")
    for verify in (False, True):
        with pytest.raises(DataError) as caught:
            open_prepared(prepared, verify=verify)
        for name in ("train-00000.bin: missing", "report.json: 2 bytes", "train.documents.bin: 0"):
            assert name in str(caught.value)


def test_data_that_differs_has_another_digest(prepared, tmp_path):
    before = open_prepared(prepared).digest
    other = tmp_path / "other"

    def fill(folder):
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        content = bytearray((folder / "train-00000.bin").read_bytes())
        content[0] ^= 1
        (folder / "train-00000.bin").write_bytes(content)

    files.publish_folder(other, fill)
    assert open_prepared(other, verify=True).digest != before


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"train": None},
        {"vocab_size": "many"},
        {"validation": {"tokens": -1, "text_bytes": 1, "documents": 1, "shards": [1]}},
        {"train": {"tokens": 201, "text_bytes": 160, "documents": 40, "shards": [64, 64, 64, 8]}},
        {"train": {"tokens": 264, "text_bytes": 160, "documents": 40, "shards": [64, 200]}},
        {"train": {"tokens": 200, "text_bytes": 160, "documents": 41, "shards": [64, 64, 64, 8]}},
    ],
)
def test_facts_that_contradict_the_files_are_refused(prepared, tmp_path, change):
    facts = json.loads((prepared / "dataset.json").read_text()) | change

    def fill(folder):
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        files.write_json(folder / "dataset.json", facts)

    files.publish_folder(tmp_path / "bad", fill)
    with pytest.raises(DataError):
        open_prepared(tmp_path / "bad")


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"a": 1}'])
def test_a_damaged_manifest_is_a_data_error(prepared, content):
    (prepared / "manifest.json").write_text(content)
    for verify in (False, True):
        with pytest.raises(DataError, match=r"manifest\.json"):
            open_prepared(prepared, verify=verify)


def test_another_folder_is_no_prepared_data(tmp_path):
    assert not is_prepared(tmp_path)
    with pytest.raises(DataError, match="no prepared data here") as caught:
        open_prepared(tmp_path)
    assert "ownlm prepare" in caught.value.next_command


def test_an_empty_split_can_be_opened(tmp_path):
    stream, _ = build(tmp_path, [])
    assert stream.tokens == 0
    assert stream.gather(np.empty(0, np.int64), 5).shape == (0, 5)
