"""Files: what each is and which split its name tells."""

import gzip

import pytest

from ownlm.data.tasks.folders import classes, split_of
from ownlm.errors import ConfigError, DataError


@pytest.mark.parametrize(("name", "split"), [
    ("wnut17_wnut17train.conll", "train"), ("en_ewt-ud-dev.conllu.gz", "validation"),
    ("x.test.annotated", "test"), ("train/pos/1.txt", "train"), ("contest.csv", ""),
    ("latest.csv", ""), ("val.csv", "validation"), ("reviews.csv", ""),
])  # fmt: skip
def test_splits_by_name(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize(("names", "labels"), [
    (["zh_neg_3000.txt", "zh_pos_3000.txt"], ["neg", "pos"]),
    (["neg.txt", "pos.txt"], ["neg", "pos"]),
    (["train_neg.txt", "train_pos.txt", "test_pos.txt"], ["neg", "pos", "pos"]),
])  # fmt: skip
def test_labels_by_name(names, labels):
    assert classes(names) == labels


def test_a_line_an_example(put, read):
    put("zh_neg_2.txt", "差\n\n很差\r\n")
    data = read(put("zh_pos_2.txt", "好\n很好\n").parent)
    found = [(one.text, one.labels[0], one.origin.place) for one in data.records]
    assert found == [
        ("差", "neg", "1"),
        ("很差", "neg", "3"),
        ("好", "pos", "1"),
        ("很好", "pos", "2"),
    ]


def test_a_folder_a_class_with_splits(put, read):
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            path = put(f"{split}/{label}/1.txt", f"{split} {label}\nmore\n")
    data = read(path.parents[2], validation=0)
    assert sorted((one.labels[0], split) for one, split in zip(data.records, data.splits)) == [
        ("neg", "test"), ("neg", "train"), ("pos", "test"), ("pos", "train")]  # fmt: skip
    assert data.records[0].text == "test neg\nmore"


def test_files_of_splits_are_respected_and_missing_labels_told(put, read):
    put("train.csv", "text,label\na,x\nb,y\nc,x\n")
    put("dev.csv", "text,label\nd,x\nA,x\n")
    path = put("test.csv.gz", gzip.compress(b"text,label\ne,z\na,x\n")).parent
    data = read(path)
    assert (len(data.train), len(data.validation), len(data.test)) == (3, 2, 1)
    assert [(one.kind, one.reason) for one in data.faults] == [
        ("unseen-label", "label 'z' occurs in test only: it cannot be learned")]  # fmt: skip
    found = {overlap.splits: (overlap.equal, overlap.alike) for overlap in data.overlaps}
    assert found[("train", "validation")] == (0, 1) and found[("train", "test")] == (1, 0)
    assert "dev.csv:3" in str(data.overlaps[0].places)
    again = read(path, split="random", bad="skip")
    assert not again.overlaps and len(again.records) == 7


def test_paths_of_splits(put, read):
    train = put("a.csv", "text,label\na,x\nb,y\n")
    data = read(train, validation_path=str(put("b.csv", "text,label\nc,x\n")), validation=0.4)
    assert data.splits == ["train", "train", "validation"]


@pytest.mark.parametrize(("names", "values", "words"), [
    (["a.csv", "b.json"], {}, "several formats"),
    (["train.csv", "other.csv"], {}, "others not"),
    (["a.csv", "b.csv"], {"split": "names"}, "no file is named train"),
    (["a.txt"], {}, "holds no labels"), (["a.pdf"], {}, "no file that is read here"),
])  # fmt: skip
def test_refusals(put, read, names, values, words):
    for name in names:
        path = put(
            name, '{"text": "a", "label": "b"}\n' if name.endswith("json") else "text,label\na,b\n"
        )
    with pytest.raises(DataError, match=words):
        read(path.parent if len(names) > 1 else path, **values)


def test_parallel_text_in_two_files_or_one(put, read):
    source, target = put("a.en", "cat\ndog\n"), put("a.zh", "猫\n狗\n")
    data = read(source, "seq2seq", target_path=str(target))
    assert [(one.source, one.target) for one in data.records] == [("cat", "猫"), ("dog", "狗")]
    one = read(put("b.tsv", "cat\t猫\ndog\t狗\n"), "seq2seq")
    assert [(r.source, r.target) for r in one.records] == [("cat", "猫"), ("dog", "狗")]
    put("a.zh", "猫\n")
    short = read(source, "seq2seq", target_path=str(target))
    assert [fault.kind for fault in short.faults] == ["not-aligned"]
    with pytest.raises(ConfigError):
        read(source, "classify", target_path=str(target))


@pytest.mark.parametrize(("task", "values", "records", "faults"), [
    ("classify", {"path": "classify/SMSSpamCollection.tsv"}, 5574, 0),
    ("classify", {"path": "classify/pang_lee_polarity2.csv"}, 4000, 0),
    ("classify", {"path": "classify", "files": "zh_*"}, 6000, 0),
    ("pair", {"path": "pairs/sick2014_test.txt"}, 4927, 0),
    ("regress", {"path": "pairs/sick2014_test.txt"}, 4927, 0),
    ("tag", {"path": "tag", "files": "wnut*"}, 5690, 0),
    ("tag", {"path": "tag/en_ewt-ud-dev.conllu.gz"}, 2001, 0),
    ("tag", {"path": "tag/en_ewt-up-dev.conllu.gz"}, 4977, 0),
    ("span", {"path": "qa/xquad.en.json"}, 1190, 0),
    ("seq2seq", {"path": "translate/tatoeba_cmn_eng.tsv"}, 19777, 0),
    ("seq2seq", {"path": "summarise/dialogsum.dev.jsonl"}, 500, 0),
    ("chat", {"path": "instruct/lf_alpaca_en_demo.json"}, 999, 0),
    ("chat", {"path": "instruct/lf_glaive_toolcall_en_demo.json"}, 300, 0),
])  # fmt: skip
def test_real_files(shared_data, read, task, values, records, faults):
    data = read(shared_data / values["path"], task, files=values.get("files", ""))
    assert (len(data.records), len(data.faults)) == (records, faults)
    assert (task, "files" in values) == ("tag", True) or not data.overlaps
