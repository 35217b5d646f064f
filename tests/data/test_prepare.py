"""From text to shards: what is written, that it is the same every time, and what is refused."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ownlm.data.config import DataConfig
from ownlm.data.prepare import learn_tokenizer, prepare, survey
from ownlm.data.shards import open_prepared
from ownlm.errors import ConfigError, DataError, DiskError
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer

BYTE = TokenizerConfig(kind="byte")
SMALL = TokenizerConfig(vocab_size=400)


def texts_of(data, stream):
    """The documents of a stream, decoded, each without its end of text."""
    tokenizer = load_tokenizer(data.tokenizer_folder)
    ids = stream.gather([0], stream.tokens)[0].tolist() if stream.tokens else []
    bounds = [*stream.starts.tolist(), stream.tokens]
    for begin, end in zip(bounds, bounds[1:]):  # noqa: RUF007
        assert ids[end - 1] == tokenizer.eos_id
        assert tokenizer.eos_id not in ids[begin : end - 1]
        yield tokenizer.decode(ids[begin : end - 1])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", ["byte", "char", "bpe", "unigram"])
def test_every_character_of_the_text_comes_back_from_the_shards(write, tmp_path, kind):
    texts = [
        "👩‍👩‍👧‍👦🏳️‍🌈 emoji\n",
        "שלום \u202eמרחבא\u202c",
        "e\u0301 é Å Å",
        "nul\0 \u2028<|endoftext|>\r\n",
    ] * 60
    for number, text in enumerate(texts):
        path = write(f"{number:03}.txt", text + str(number))
    config = DataConfig(path=str(path.parent), validation=0.2, shard_tokens=1000)
    tokenizer = TokenizerConfig(kind=kind, vocab_size=600)
    data = prepare(config, tmp_path / "data", tokenizer)
    found = [*texts_of(data, data.train), *texts_of(data, data.validation)]
    assert sorted(found) == sorted(text + str(number) for number, text in enumerate(texts))
    assert data.manifest["split"] == "documents"
    assert len(data.manifest["train"]["shards"]) > 1
    for stream in (data.train, data.validation):
        assert stream.text_bytes == sum(len(t.encode()) for t in texts_of(data, stream)) > 0


def test_one_book_gives_its_first_90_and_last_10_per_cent(shared_data, tmp_path):
    """nanoGPT's prepare.py: int(n * 0.9) characters, the rest to validate."""
    path = shared_data / "text" / "tinyshakespeare.txt"
    book = path.read_text(encoding="utf-8")
    data = prepare(DataConfig(path=str(path)), tmp_path / "data", TokenizerConfig(kind="char"))
    border = int(len(book) * 0.9)
    assert list(texts_of(data, data.train)) == [book[:border]]
    assert list(texts_of(data, data.validation)) == [book[border:]]
    assert data.train.tokens == border + 1
    assert data.report["documents"] == 1
    assert data.manifest["split"] == "tail"


def test_the_shards_are_those_of_the_whole_text_encoded_at_once(shared_data, tmp_path):
    path = shared_data / "text" / "tinyshakespeare.txt"
    book = path.read_text(encoding="utf-8")
    data = prepare(DataConfig(path=str(path), validation=0.0), tmp_path / "data", SMALL)
    tokenizer = load_tokenizer(data.tokenizer_folder)
    assert tokenizer.digest == data.tokenizer_digest
    ids = data.train.gather([0], data.train.tokens)[0].tolist()
    assert ids == [*tokenizer.encode(book), tokenizer.eos_id]
    assert data.validation.tokens == 0


def test_equal_documents_never_lie_on_both_sides(write, tmp_path):
    rows = [{"text": f"document {n % 300}"} for n in range(900)]
    path = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    data = prepare(DataConfig(path=str(path), validation=0.3), tmp_path / "data", BYTE)
    train, validation = set(texts_of(data, data.train)), set(texts_of(data, data.validation))
    assert not train & validation
    assert len(train | validation) == 300
    assert data.report["duplicates"] == 600


def test_a_tokenizer_is_taken_as_it_is_or_learned_from_the_training_text_alone(write, tmp_path):
    path = write("a.txt", "aaaa bbbb " * 500 + "zzzz " * 500)
    config = DataConfig(path=str(path), validation=2500 / 7500)
    data = prepare(config, tmp_path / "one", SMALL)
    made = load_tokenizer(data.tokenizer_folder)
    assert len(made.encode("bbbb" * 20)) < len(made.encode("zzzz" * 20)) == 80
    again = prepare(config, tmp_path / "two", made)
    assert again.digest == data.digest
    named = prepare(config, tmp_path / "three", TokenizerConfig(path=str(tmp_path / "one")))
    assert named.digest == data.digest
    assert learn_tokenizer([survey(config)], SMALL).digest == made.digest


SCRIPT = """
import os, signal, sys
from pathlib import Path
from ownlm.data.config import DataConfig
from ownlm.data.prepare import prepare
from ownlm.data.shards import SplitWriter
from ownlm.tokenization.config import TokenizerConfig

last, calls = int(sys.argv[3]), 0

def counted(function):
    def call(*args, **named):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **named)
    return call

SplitWriter.add, os.fsync, os.replace = map(counted, (SplitWriter.add, os.fsync, os.replace))
config = DataConfig(path=sys.argv[1], shard_tokens=20_000)
data = prepare(config, Path(sys.argv[2]), TokenizerConfig(vocab_size=500, sample_bytes=1 << 20))
status = open("/proc/self/status").read()
print(calls, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def start(corpus, out, kill_at=0, **environment):
    """Prepare in a process of its own; `kill_at` ends it at that write, flush or rename.

    Returns its exit status, and how many of these it made with its peak of memory in megabytes.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(corpus), str(out), str(kill_at)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, [int(number) for number in done.stdout.split()]


@pytest.fixture
def mixture(write):
    """Some megabytes of several kinds of files."""
    sentence = "The {0} of {1} is not the {0} of {2}, whatever the {1} may say.\n"
    lines = [sentence.format(n % 97, n % 89, n % 83) for n in range(3000)]
    write("long.txt", "".join(lines))
    write("rows.jsonl", "".join(json.dumps({"text": line * 3}) + "\n" for line in lines[:1000]))
    return write("notes.md", "# Notes\n").parent


def test_the_result_does_not_depend_on_the_number_of_threads(mixture, tmp_path):
    for threads in ("1", "4"):
        assert start(mixture, tmp_path / threads, RAYON_NUM_THREADS=threads)[0] == 0
    assert contents(tmp_path / "1") == contents(tmp_path / "4")


def test_a_killed_run_leaves_nothing_half_done_and_the_next_is_byte_identical(mixture, tmp_path):
    """SIGKILL while writing, flushing, and around the renames that publish."""
    code, (calls, _) = start(mixture, tmp_path / "whole")
    assert (code, calls > 1000) == (0, True)
    expected = contents(tmp_path / "whole")
    out = tmp_path / "data"
    for place in (1, calls // 2, calls - 10, calls - 1):
        assert start(mixture, out, kill_at=place)[0] == -signal.SIGKILL
        assert not out.exists()
    assert start(mixture, out, kill_at=calls)[0] == -signal.SIGKILL  # after the last rename
    assert contents(out) == expected
    assert start(mixture, out)[0] == 0
    assert contents(out) == expected
    assert open_prepared(out, verify=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(write, tmp_path):
    """8 MB in one file without short lines, and 8 MB in small rows, against 1 MB of each."""
    line = "word and number 12345 and 中文, and so on without end " * 2000
    row = json.dumps({"text": "some row of a table with a few words in it. " * 10}) + "\n"
    peaks = []
    for size in (1 << 20, 8 << 20):
        write("a.txt", (line + "\n") * (size // len(line)))
        folder = write("b.jsonl", row * (size // len(row))).parent
        code, (_, peak) = start(folder, tmp_path / "data")
        assert code == 0
        peaks.append(peak)
    assert peaks[1] < 500
    assert peaks[1] - peaks[0] < 200


def test_progress_runs_through_the_stages_and_ends_complete(mixture, tmp_path):
    seen = []
    prepare(DataConfig(path=str(mixture)), tmp_path / "data", SMALL, seen.append)
    stages = list(dict.fromkeys(progress.stage for progress in seen))
    assert stages == ["reading", "training the tokenizer", "tokenising"]
    for stage in stages:
        last = [progress for progress in seen if progress.stage == stage][-1]
        assert last.done == last.total > 0
        assert last.left == 0
        assert last.rate == pytest.approx(last.done / last.seconds)


def test_what_was_skipped_is_in_the_report_beside_the_shards(write, tmp_path):
    path = write("a.jsonl", '{"text": "good text"}\n' * 9 + "bad\n")
    config = DataConfig(path=str(path), bad="skip")
    data = prepare(config, tmp_path / "data", BYTE)
    assert data.report["skipped"] == [
        {
            "path": "a.jsonl",
            "kind": "bad-json",
            "count": 1,
            "first": "a.jsonl:10",
            "reason": "not JSON: Expecting value at column 1",
        }
    ]
    with pytest.raises(DataError, match=r"a\.jsonl:10"):
        prepare(config.with_values({"bad": "fail"}), tmp_path / "other", BYTE)
    assert not (tmp_path / "other").exists()


def test_a_corpus_that_changes_between_scan_and_tokenising_publishes_nothing(write, tmp_path):
    path = write("a.txt", "some text\n" * 1000)

    def meddle(progress):
        if progress.stage == "training the tokenizer" and progress.done == progress.total:
            path.write_text("other text\n" * 1000)

    with pytest.raises(DataError, match="changed while it was read"):
        prepare(DataConfig(path=str(path)), tmp_path / "data", SMALL, meddle)
    assert not (tmp_path / "data").exists()


def test_prepared_data_is_replaced_but_nothing_else(write, tmp_path):
    config = DataConfig(path=str(write("a.txt", "text " * 100)))
    first = prepare(config, tmp_path / "data", BYTE).digest
    write("a.txt", "more " * 200)
    assert prepare(config, tmp_path / "data", BYTE).digest != first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    for out in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ConfigError, match="will not be replaced"):
            prepare(config, out, BYTE)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    assert prepare(config, tmp_path / "empty", BYTE).train.tokens


def test_a_place_that_cannot_be_written_is_refused_before_any_work(write, tmp_path):
    config = DataConfig(path=str(write("a.txt", "text")))
    (tmp_path / "file").write_text("")
    stages = []
    with pytest.raises(DiskError):
        prepare(config, tmp_path / "file" / "data", BYTE, stages.append)
    assert stages == []


def test_a_full_disk_leaves_the_old_data(write, tmp_path, monkeypatch):
    config = DataConfig(path=str(write("a.txt", "text " * 100)))
    before = prepare(config, tmp_path / "data", BYTE).digest
    write("a.txt", "text " * 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(DiskError, match="free"):
            prepare(config, tmp_path / "data", BYTE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert open_prepared(tmp_path / "data", verify=True).digest == before
    write("a.txt", "text " * 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=100))
    with pytest.raises(DiskError, match=r"needs \d"):
        prepare(config, tmp_path / "data", BYTE)


@pytest.mark.parametrize(
    "name", ["a b", "quote'\"", "😀", "עברית", "new\nline", "-dash", "\udcff"], ids=ascii
)
def test_odd_names_change_nothing_of_the_data(write, tmp_path, name):
    text = "the same text " * 50
    plain = prepare(DataConfig(path=str(write("plain.txt", text))), tmp_path / "plain", BYTE)
    path = write(f"{name}/{name}.txt", text)
    odd = prepare(DataConfig(path=str(path)), tmp_path / f"out {name}", BYTE)
    assert odd.digest == plain.digest
    (tmp_path / "link").symlink_to(path.parent)
    linked = prepare(DataConfig(path=str(tmp_path / "link")), tmp_path / "linked", BYTE)
    assert linked.digest == plain.digest


def test_a_split_that_leaves_a_side_empty_is_refused(write, tmp_path):
    path = write("a.jsonl", '{"text": "all equal"}\n' * 5)
    config = DataConfig(path=str(path), split="documents", validation=0.001)
    with pytest.raises(DataError, match="no text fell to validation") as caught:
        prepare(config, tmp_path / "data", BYTE)
    assert "--data.split tail" in caught.value.next_command
