"""D7: what is found below a folder; links, pipes and changing files are refused and listed."""

import os

import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.sources import discover, kind_of
from ownlm.errors import DataError


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", (".txt", "")),
        ("A.TXT.GZ", (".txt", ".gz")),
        ("x.y.jsonl.zst", (".jsonl", ".zst")),
        ("a.parquet", (".parquet", "")),
        ("a.parquet.gz", None),
        ("a.gz", None),
        ("a.png", None),
        ("txt", None),
    ],
)
def test_kinds_go_by_the_ending(name, kind):
    assert kind_of(name) == kind


def test_order_is_that_of_the_bytes_of_the_relative_names(write):
    for name in ["b/z.txt", "b.txt", "a.txt", "B.txt", "é.txt", "a/a.txt", "a-a.txt"]:
        root = write(name, "x")
    while root.name != "corpus":
        root = root.parent
    names = [source.name for source in discover(root).sources]
    assert names == ["B.txt", "a-a.txt", "a.txt", "a/a.txt", "b.txt", "b/z.txt", "é.txt"]


def test_hidden_files_are_passed_over_and_other_endings_counted(write, skim):
    write(".git/config.txt", "no")
    write("._a.txt", "no")
    write("photo.PNG", b"no")
    write("LICENSE", b"no")
    documents, report = skim(write("a.txt", "yes").parent)
    assert [d.text for d in documents] == ["yes"]
    assert report.as_dict()["ignored"] == {".png": 1, "no ending": 1}
    assert report.bad == 0


def test_a_pattern_chooses_files(write, skim):
    write("en/a.txt", "english")
    write("zh/a.txt", "中文")
    documents, _ = skim(write("b.txt", "none").parent, files="en/*")
    assert [d.text for d in documents] == ["english"]


def test_links_that_lead_nowhere_out_or_around_are_refused_and_listed(write, skim, tmp_path):
    root = write("a.txt", "text").parent
    (tmp_path / "secret.txt").write_text("secret")
    os.symlink(tmp_path / "secret.txt", root / "outside.txt")
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", root / "folder-outside")
    os.symlink("nowhere", root / "dangling.txt")
    os.symlink(".", root / "around")
    os.symlink("loop2.txt", root / "loop1.txt")
    os.symlink("loop1.txt", root / "loop2.txt")
    documents, report = skim(root)
    assert [d.text for d in documents] == ["text"]
    reasons = {row["path"]: row["reason"] for row in report.as_dict()["skipped"]}
    assert "out of the corpus" in reasons.pop("outside.txt")
    assert "out of the corpus" in reasons.pop("folder-outside")
    assert "dangling" in reasons.pop("dangling.txt")
    assert "loop" in reasons.pop("around")
    assert "loop" in reasons.pop("loop1.txt")
    assert "loop" in reasons.pop("loop2.txt")
    assert not reasons


def test_links_inside_the_corpus_add_nothing_that_is_read_anyway(write, skim):
    root = write("a.txt", "text").parent
    write("blobs/1f3a", "blob")
    os.symlink("a.txt", root / "latest.txt")
    os.symlink("blobs", root / "data")
    os.symlink("blobs/1f3a", root / "named.txt")
    os.symlink("blobs/1f3a", root / "unnamed")
    os.symlink("/etc/hostname", root / "outside-but-not-text")
    os.symlink("nowhere", root / "nowhere.png")
    documents, report = skim(root)
    assert [(d.path, d.text) for d in documents] == [("a.txt", "text"), ("named.txt", "blob")]
    assert report.bad == 0


def test_pipes_never_block_and_are_refused(write, skim):
    root = write("a.txt", "text").parent
    os.mkfifo(root / "pipe.txt")
    documents, report = skim(root)
    assert len(documents) == 1
    assert "pipe (FIFO)" in report.as_dict()["skipped"][0]["reason"]
    with pytest.raises(DataError, match="pipe"):
        Corpus(str(root / "pipe.txt"), DataConfig()).scan()


def test_a_file_that_becomes_a_pipe_after_it_was_listed_is_refused(write):
    path = write("a.txt", "text")
    source = discover(path).sources[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Exception, match="changed while it was read"), source.open():
        pass


@pytest.mark.parametrize("name", ["big.txt", "big.jsonl"])
@pytest.mark.parametrize("change", ["grow", "replace", "remove"])
def test_a_file_that_changes_during_the_scan_counts_for_nothing(write, name, change):
    root = write("a.txt", "fine").parent
    path = write(name, '{"text": "some text"}\n' * 20_000)
    corpus = Corpus(str(root), DataConfig(bad="skip", max_bad_fraction=1.0))
    done = []

    def meddle(read: int) -> None:
        if read > 1000 and not done:
            done.append(True)
            _change(path, change)

    report = corpus.scan(meddle)
    assert (report.documents, report.bad) == (1, 1)
    assert report.as_dict()["skipped"][0] | {"reason": ""} == {
        "path": name, "kind": "changed", "count": 1, "first": name, "reason": "",
    }  # fmt: skip
    assert [d.text for d in corpus] == ["fine"]


def _change(path, change):
    if change == "remove":
        path.unlink()
    elif change == "grow":
        with open(path, "a") as file:
            file.write("{}\n")
    else:
        other = path.with_name("other")
        other.write_bytes(path.read_bytes())
        os.utime(other, ns=(0, path.stat().st_mtime_ns))
        other.replace(path)


def test_a_file_that_changes_after_the_scan_stops_the_reading(write):
    path = write("a.jsonl", '{"text": "one"}\n')
    corpus = Corpus(str(path), DataConfig())
    corpus.scan()
    path.write_text('{"text": "two"}\n{"text": "three"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: changed while it was read") as caught:
        list(corpus)
    assert "nothing was published" in caught.value.kept


def test_names_that_are_not_utf_8_or_hold_line_ends_are_shown_escaped(tmp_path, skim):
    folder = os.fsencode(tmp_path) + b"/corpus"
    os.mkdir(folder)
    for name in [b"\xff.txt", b"a\nb.txt", b"-dash.txt", "עברית 😀 '\".txt".encode()]:
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"text")
    documents, report = skim(tmp_path / "corpus")
    assert [d.path for d in documents] == [
        "-dash.txt",
        "a\\nb.txt",
        "עברית 😀 '\".txt",
        "\\xff.txt",
    ]
    assert report.documents == 4


def test_a_path_that_holds_nothing_to_read_says_what_is_read(write):
    path = write("a.docx", b"x")
    for place in (path, path.parent):
        with pytest.raises(DataError, match=r"found: 1 \.docx") as caught:
            Corpus(str(place), DataConfig())
        assert ".jsonl" in caught.value.next_command
    with pytest.raises(DataError, match="no such file"):
        Corpus("/nowhere at all", DataConfig())
