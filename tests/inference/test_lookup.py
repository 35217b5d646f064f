"""What is guessed from a text is what followed the last time."""

from hypothesis import given
from hypothesis import strategies as st

from ownlm.inference.lookup import Lookup


def test_what_followed_last_is_guessed() -> None:
    assert Lookup().guess([5, 6, 7, 8, 5, 6], 3) == [7, 8, 5]
    assert Lookup().guess([5, 6, 7, 5, 6, 9, 5, 6], 1) == [9]
    assert Lookup().guess([1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3], 2) == [4, 9]  # three agree
    assert Lookup().guess([1, 2, 3], 4) == []
    assert Lookup().guess([1, 2, 1, 2], 0) == []
    assert Lookup().guess([7], 4) == []


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(1, 5), st.data())
def test_a_text_that_grows_is_guessed_as_a_whole_one(
    ids: list[int], count: int, data: st.DataObject
) -> None:
    growing = Lookup()
    for end in sorted(data.draw(st.sets(st.integers(1, len(ids))))):
        found = growing.guess(ids[:end], count)
        assert found == Lookup().guess(ids[:end], count)
        assert len(found) <= count
