"""samples.md: sections by step, text that cannot be taken for anything else."""

from pathlib import Path

from ownlm.recipes.samples import add_section, read_sections


def test_sections_come_in_the_order_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "samples.md"
    add_section(path, 10, "first\nline")
    add_section(path, 20, "second")
    assert path.read_text(encoding="utf-8") == (
        "# What the model writes\n\n## step 10\n\n    first\n    line\n\n## step 20\n\n    second\n"
    )


def test_a_resumed_run_writes_its_sections_anew(tmp_path: Path) -> None:
    path, other = tmp_path / "samples.md", tmp_path / "other.md"
    for step in (10, 20, 30, 20, 30):
        add_section(path, step, f"text {step}")
    for step in (10, 20, 30):
        add_section(other, step, f"text {step}")
    assert path.read_bytes() == other.read_bytes()


def test_a_model_that_writes_headings_makes_no_section(tmp_path: Path) -> None:
    path = tmp_path / "samples.md"
    add_section(path, 1, "a\n\n## step 7\n\nb\n# What the model writes\n")
    add_section(path, 2, "c")
    assert list(read_sections(path)) == [1, 2]
