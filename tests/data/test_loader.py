"""The order of the data: a pure function of (seed, index), the same with and without a thread."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.loader import Loader, Windows, permuted
from ownlm.data.shards import SplitWriter, TokenStream
from ownlm.errors import DataError


def stream_of(folder, tokens, document=13):
    writer = SplitWriter(folder, "train", "<u2", 100, 999)
    ids = list(range(tokens))
    for start in range(0, tokens, document):
        writer.start_document()
        writer.add(ids[start : start + document - 1], document - 1)
    return TokenStream(folder, "train", writer.finish(), "<u2")


@pytest.fixture
def stream(tmp_path):
    return stream_of(tmp_path, 1000)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_each_key_permutes_a_range(size, key):
    place = np.arange(size, dtype=np.uint64)
    found = permuted(place, size, np.full(size, key, np.uint64))
    assert sorted(found.tolist()) == list(range(size))


def test_permutations_look_random():
    """Means over 200 keys: neighbours land a third of the range apart, every place is as likely."""
    size, keys = 1000, 200
    place = np.tile(np.arange(size, dtype=np.uint64), keys)
    key = np.repeat(np.arange(keys, dtype=np.uint64), size)
    found = permuted(place, size, key).reshape(keys, size).astype(float)
    assert abs(np.abs(np.diff(found, axis=1)).mean() / size - 1 / 3) < 0.005
    assert abs(np.corrcoef(found.ravel(), place.astype(float))[0, 1]) < 0.01
    # Standard deviation of a mean over 200 uniform draws: 1000 / sqrt(12 * 200) = 20.4.
    assert 17 < found.mean(axis=0).std() < 24
    assert abs(np.corrcoef(found[0], found[1])[0, 1]) < 0.1


@settings(deadline=None)
@given(st.integers(2, 400), st.integers(1, 50), st.integers(-3, 2**70))
def test_windows_of_an_epoch_tile_the_stream(tokens, length, seed):
    stream = TokenStream.__new__(TokenStream)
    stream.tokens, stream.name = tokens, "train"
    if tokens < length + 1:
        with pytest.raises(DataError, match=f"needs {length + 1:,}"):
            Windows(stream, length, seed)
        return
    windows = Windows(stream, length, seed)
    for epoch in range(3):
        begins = windows.begins(epoch * windows.per_epoch, windows.per_epoch)
        assert begins.min() >= 0
        assert begins.max() + length + 1 <= tokens
        ordered = np.sort(begins)
        assert (np.diff(ordered) == length).all()  # no target twice, none left out between


def test_the_order_is_a_pure_function_of_seed_and_index(stream):
    windows = Windows(stream, 16, seed=5)
    whole = windows.begins(0, 500)
    one = [int(windows.begins(index, 1)[0]) for index in range(500)]
    assert one == whole.tolist()
    assert Windows(stream, 16, seed=5).begins(123, 50).tolist() == whole[123:173].tolist()
    assert Windows(stream, 16, seed=6).begins(0, 500).tolist() != whole.tolist()


def test_later_epochs_have_another_order_and_cut_elsewhere(stream):
    windows = Windows(stream, 16, seed=0)
    epochs = [windows.begins(e * windows.per_epoch, windows.per_epoch) for e in range(20)]
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) == 20
    assert len({int(epoch.min()) % 16 for epoch in epochs}) > 8


def test_still_windows_are_the_same_in_all_epochs(stream):
    windows = Windows(stream, 16, seed=0, still=True)
    epochs = [windows.begins(e * windows.per_epoch, windows.per_epoch) for e in range(20)]
    assert len({tuple(np.sort(epoch)) for epoch in epochs}) == 1
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) == 20


def test_still_windows_keep_their_partners(stream):
    windows = Windows(stream, 16, seed=0, still=True)
    with Loader(stream, 16, windows.per_epoch, 0, False, partners=True, order=windows) as loader:
        epochs = [loader.batch(epoch) for epoch in range(3)]
    met = [dict(zip(e.sample_ids.tolist(), e.partners.tolist(), strict=True)) for e in epochs]
    assert met[0] == met[1] == met[2] and len(met[0]) == windows.per_epoch
    assert epochs[0].partners.tolist() != epochs[1].partners.tolist()  # the order is another
    assert len({tuple(row) for row in met[0].values()}) > windows.per_epoch / 2


def test_the_order_is_the_one_that_was_published(stream):
    """Changing the order would change every run: these figures may only change with a reason."""
    assert Windows(stream, 16, seed=1337).begins(0, 6).tolist() == [156, 28, 348, 924, 556, 396]


def test_batches_hold_windows_and_their_documents(stream):
    with Loader(stream, 16, batch=8, seed=3, documents=True) as loader:
        batch = loader.batch(2)
    assert batch.tokens.shape == batch.documents.shape == (8, 17)
    begins = Windows(stream, 16, seed=3).begins(16, 8)
    assert batch.sample_ids.tolist() == begins.tolist()
    assert (batch.tokens == stream.gather(begins, 17)).all()
    assert (batch.documents == stream.documents(begins, 17)).all()
    assert len(batch) == len(list(batch)) == 8
    assert (batch[3].tokens == batch.tokens[3]).all()
    assert (batch[2:4].sample_ids == batch.sample_ids[2:4]).all()
    with Loader(stream, 16, batch=8, seed=3, documents=False) as loader:
        assert loader.batch(2).documents is None
        assert loader.batch(2)[0].documents is None


@pytest.mark.parametrize("of", [1, 2, 3, 8])
def test_micro_batches_are_the_rows_of_the_whole_batch(stream, of):
    with Loader(stream, 16, batch=8, seed=3, documents=True) as loader:
        whole = loader.batch(5)
        parts = [loader.batch(5, micro, of) for micro in range(of)]
    assert np.concatenate([part.tokens for part in parts]).tolist() == whole.tokens.tolist()
    assert np.concatenate([p.sample_ids for p in parts]).tolist() == whole.sample_ids.tolist()


def test_reading_ahead_changes_nothing_whatever_is_asked(stream):
    rng = np.random.default_rng(0)
    asked = [(step, micro, 2) for step in range(10) for micro in range(2)]
    asked += [(int(step), 0, 1) for step in rng.integers(0, 100, 30)]
    asked += [(0, 0, 1), (0, 0, 1), (7, 1, 4), (7, 3, 4)]
    with (
        Loader(stream, 16, 8, 3, True) as ahead,
        Loader(stream, 16, 8, 3, True, prefetch=False) as plain,
    ):
        for request in asked:
            first, second = ahead.batch(*request), plain.batch(*request)
            assert first.tokens.tobytes() == second.tokens.tobytes()
            assert first.documents.tobytes() == second.documents.tobytes()
            assert first.sample_ids.tobytes() == second.sample_ids.tobytes()


def test_the_next_batch_is_read_in_a_thread_and_used(stream, monkeypatch):
    readers = []
    gather = stream.gather

    def noted(begins, length):
        readers.append(threading.current_thread().name)
        return gather(begins, length)

    monkeypatch.setattr(stream, "gather", noted)
    with Loader(stream, 16, 8, 3, False) as loader:
        for step in range(5):
            loader.batch(step)
    assert readers[0] == "MainThread"
    assert all(name.startswith("ownlm-loader") for name in readers[1:])
    assert len(readers) in (5, 6)  # the sixth may have been cancelled


def test_a_fault_while_reading_ahead_reaches_the_caller(stream, monkeypatch):
    def broken(begins, length):
        raise OSError("the disk is gone")

    with Loader(stream, 16, 8, 3, False) as loader:
        loader.batch(0)
        monkeypatch.setattr(stream, "gather", broken)
        with pytest.raises(OSError, match="the disk is gone"):
            [loader.batch(step) for step in (1, 2)]  # the thread may have read batch 1 before


def test_closing_ends_the_thread_and_batches_go_on(stream):
    loader = Loader(stream, 16, 8, 3, False)
    before = loader.batch(0).tokens.tolist()
    loader.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("ownlm-loader")]
    assert loader.batch(0).tokens.tolist() == before
    loader.close()
