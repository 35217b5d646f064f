"""Progress in plain lines, where there is no terminal."""

import pytest

from ownlm.data.progress import Progress
from ownlm.recipes.stages import shown_stages


def test_a_stage_is_told_once_when_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_stages() as tell:
        for done in (0, 1024, 2048, 2048):
            tell(Progress("reading", done, 2048, 1.5))
        tell(Progress("tokenising", 10, 2048, 0.1))
    shown = capsys.readouterr()
    assert shown.err == "reading: 2.0 KB in 1.5 s\n"
    assert shown.out == ""
