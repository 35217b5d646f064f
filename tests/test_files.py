"""Durable files: every crash leaves the old state or the new one."""

import errno
import json
import os
import resource
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from ownlm import files
from ownlm.errors import DiskError

sys.path.insert(0, str(Path(__file__).parent))
from power_loss import FragileDisk, PowerLoss

linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


def fill_with(text: str):
    def fill(folder: Path) -> None:
        files.write_text(folder / "config.json", text)
        (folder / "part").mkdir()
        (folder / "part" / "weights").write_bytes(text.encode() * 100)

    return fill


def test_a_published_folder_is_whole_and_lists_every_file(tmp_path: Path) -> None:
    files.publish_folder(tmp_path / "run" / "step", fill_with("one"))
    manifest = json.loads((tmp_path / "run" / "step" / "manifest.json").read_text())
    assert list(manifest) == ["config.json", "part/weights"]
    assert manifest["part/weights"]["bytes"] == 300
    assert files.folder_faults(tmp_path / "run" / "step") == []
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["step"]


def test_publishing_again_replaces_the_folder(tmp_path: Path) -> None:
    for text in ("one", "two"):
        files.publish_folder(tmp_path / "step", fill_with(text))
    assert (tmp_path / "step" / "config.json").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["step"]


def test_a_manifest_inside_a_subfolder_is_hashed_too(tmp_path: Path) -> None:
    files.publish_folder(
        tmp_path / "step", lambda f: files.write_bytes(f / "inner" / files.MANIFEST, b"{}")
    )
    (tmp_path / "step" / "inner" / files.MANIFEST).write_bytes(b"[]")
    assert "inner/manifest.json: sha256" in files.folder_faults(tmp_path / "step")[0]


@linux
@pytest.mark.parametrize("forget", [False, True])
def test_a_crash_at_any_operation_leaves_the_old_folder_or_the_new(
    tmp_path: Path, forget: bool
) -> None:
    outcomes = []
    for crash_at in range(1000):
        place = tmp_path / f"{crash_at}"
        files.publish_folder(place / "step", fill_with("old"))
        try:
            with FragileDisk(place, crash_at, forget=forget) as disk:
                files.publish_folder(place / "step", fill_with("new"))
        except PowerLoss:
            pass
        files.sweep_folder(place)
        assert files.folder_faults(place / "step") == []
        assert [p.name for p in place.iterdir()] == ["step"]
        outcomes.append((place / "step" / "config.json").read_text())
        if not disk.dead:
            break
    assert len(outcomes) > 20  # the shim saw the operations
    first_new = outcomes.index("new")
    assert outcomes == ["old"] * first_new + ["new"] * (len(outcomes) - first_new)


@linux
@pytest.mark.parametrize("forget", [False, True])
def test_a_crash_at_any_operation_of_write_bytes_leaves_a_whole_file(
    tmp_path: Path, forget: bool
) -> None:
    seen = []
    for crash_at in range(100):
        place = tmp_path / f"{crash_at}"
        files.write_bytes(place / "a", b"old bytes")
        try:
            with FragileDisk(place, crash_at, forget=forget) as disk:
                files.write_bytes(place / "a", b"new bytes, longer")
        except PowerLoss:
            pass
        seen.append((place / "a").read_bytes())
        if not disk.dead:
            break
    assert set(seen) == {b"old bytes", b"new bytes, longer"}


@linux
def test_the_shim_finds_a_writer_that_forgets_to_sync(tmp_path: Path) -> None:
    """The control: bytes that were never synced are torn once the name has reached the device."""
    files.write_bytes(tmp_path / "a", b"old bytes")

    def careless() -> None:
        with open(tmp_path / "a.new", "wb") as file:
            file.write(b"new bytes")
        os.replace(tmp_path / "a.new", tmp_path / "a")
        files.sync_folder(tmp_path)
        os.mkdir(tmp_path / "next")

    with FragileDisk(tmp_path, 5, forget=True) as disk, pytest.raises(PowerLoss):
        careless()
    assert disk.operations[-1] == f"fsync {tmp_path}"
    assert (tmp_path / "a").read_bytes() == b"new "


@linux
def test_a_crash_while_deleting_leaves_a_whole_folder_or_none(tmp_path: Path) -> None:
    for crash_at in range(100):
        place = tmp_path / f"{crash_at}"
        files.publish_folder(place / "step", fill_with("text"))
        try:
            with FragileDisk(place, crash_at, forget=True) as disk:
                files.remove_folder(place / "step")
        except PowerLoss:
            pass
        files.sweep_folder(place)
        if (place / "step").exists():
            assert files.folder_faults(place / "step") == []
        if not disk.dead:
            break
    assert crash_at > 4
    assert not (place / "step").exists()


def test_a_folder_moved_aside_comes_back(tmp_path: Path) -> None:
    files.publish_folder(tmp_path / "step", fill_with("text"))
    (tmp_path / "step").rename(tmp_path / ".step.replaced")
    files.recover_folder(tmp_path / "step")
    assert files.folder_faults(tmp_path / "step") == []


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "shorter":
        path.write_bytes(data[:-1])
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


@pytest.mark.parametrize("kind", ["missing", "shorter", "empty", "flipped"])
@pytest.mark.parametrize("name", ["config.json", "part/weights", "manifest.json"])
def test_every_damage_is_named(tmp_path: Path, name: str, kind: str) -> None:
    files.publish_folder(tmp_path / "step", fill_with("text"))
    damage(tmp_path / "step" / name, kind)
    faults = files.folder_faults(tmp_path / "step")
    assert faults
    if name != "manifest.json" or kind == "missing":
        assert name in faults[0]


def test_every_flipped_bit_of_the_manifest_is_seen(tmp_path: Path) -> None:
    files.publish_folder(tmp_path / "step", lambda f: files.write_text(f / "a", "text"))
    manifest = tmp_path / "step" / files.MANIFEST
    data = manifest.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            manifest.write_bytes(changed)
            assert files.folder_faults(tmp_path / "step"), (place, bit)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=4))
def test_json_text_follows_from_its_values(values: dict[str, object]) -> None:
    text = files._json_text(values)
    assert files._json_text(json.loads(text)) == text


@pytest.mark.parametrize("name", ["with space", "it's", 'a"b', "😀", "שלום", "two\nlines", "-rf"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    files.publish_folder(tmp_path / name / name, lambda f: files.write_text(f / name, name))
    assert files.folder_faults(tmp_path / name / name) == []
    files.remove_folder(tmp_path / name / name)
    assert list((tmp_path / name).iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "..\\outside"])
def test_a_manifest_that_points_elsewhere_is_a_fault(tmp_path: Path, name: str) -> None:
    """A run from someone else: its files are copied by the names of the manifest."""
    (tmp_path / "outside").write_text("x")
    files.publish_folder(tmp_path / "run", lambda folder: None)
    for named in (name, str(tmp_path / "outside")):
        entry = {"bytes": 1, "sha256": files.sha256(tmp_path / "outside")}
        files.write_json(tmp_path / "run" / files.MANIFEST, {named: entry})
        faults = files.folder_faults(tmp_path / "run")
        assert len(faults) == 1 and "outside the folder" in faults[0]


def test_no_room_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(DiskError) as caught:
        files.require_space(tmp_path / "not" / "there" / "yet", 10**18)
    assert caught.value.exit_code == 6
    assert "needs 1,000,000,000,000,000,000 bytes" in str(caught.value)
    assert "bytes (" in str(caught.value).split("needs", 1)[1].split(",", 7)[-1]
    files.require_space(tmp_path, 1)


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DiskError):
            files.require_writable(place)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root tests as another user")
def test_a_read_only_place_is_refused_for_a_user_without_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            files.require_writable(tmp_path / "run")
        except DiskError:
            os._exit(6)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6


def test_two_processes_may_try_the_same_folder_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second tries and cleans up while the first is about to clean up."""
    unlink = Path.unlink

    def meanwhile(path: Path) -> None:
        monkeypatch.setattr(Path, "unlink", unlink)
        monkeypatch.setattr("os.getpid", lambda: 1)
        files.require_writable(tmp_path)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", meanwhile)
    files.require_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_filling_keeps_the_old_folder(tmp_path: Path) -> None:
    files.publish_folder(tmp_path / "step", fill_with("old"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(DiskError) as caught:
            files.publish_folder(tmp_path / "step", fill_with("new" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.exit_code == 6
    assert "bytes" in str(caught.value) and "free" in str(caught.value)
    assert (tmp_path / "step" / "config.json").read_text() == "old"
    assert files.folder_faults(tmp_path / "step") == []


def test_errors_of_rust_libraries_count_as_the_systems(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="No space left"), files.disk_errors(tmp_path):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError), files.disk_errors(tmp_path):
        raise SafetensorError("header too large")


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.disk_errors(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "not there")


def test_a_place_that_takes_no_files_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(DiskError) as caught:
            files.require_writable(place)
        assert caught.value.next_command == "choose another place with --out"
        assert "free" not in str(caught.value)
    if Path("/proc/self").exists():
        with pytest.raises(DiskError, match="/proc/run"):
            files.require_writable(Path("/proc/run"))
    files.require_writable(tmp_path / "new" / "run")
    assert (tmp_path / "file").read_text() == "mine"


def test_sizes_for_people() -> None:
    assert [files.readable(n) for n in (0, 1023, 1536, 5 * 2**30)] == [
        "0 B",
        "1023 B",
        "1.5 KB",
        "5.0 GB",
    ]


@linux
@pytest.mark.parametrize("durable", [True, False])
def test_a_folder_is_there_after_a_crash_only_when_its_name_was_synced(
    tmp_path: Path, durable: bool
) -> None:
    """The second case is the control: os.mkdir alone promises nothing."""

    def work() -> None:
        if durable:
            files.make_folder(tmp_path / "a" / "b")  # two names, each made and synced
        else:
            os.makedirs(tmp_path / "a" / "b")
        os.mkdir(tmp_path / "next")

    operations = 4 if durable else 2
    with FragileDisk(tmp_path, operations, forget=True), pytest.raises(PowerLoss):
        work()
    assert (tmp_path / "a" / "b").is_dir() == durable
