"""Stop strings, whole and across pieces."""

from hypothesis import given
from hypothesis import strategies as st

from ownlm.inference.stops import Stops, until_stop


def cut(pieces: list[str], *stops: str) -> list[str]:
    return list(until_stop(pieces, stops))


def test_ends_before_the_first_stop() -> None:
    assert cut(["one two three"], "three", "two") == ["one "]
    assert cut(["one two"]) == ["one two"]
    assert cut(["one"], "") == ["one"]
    assert cut(["stop"], "stop") == []


def test_a_stop_across_pieces_is_never_shown() -> None:
    assert cut(["a\n", "\nUser", ": b"], "\nUser:") == ["a", "\n"]
    assert cut(["x", "aab", "b"], "aabb") == ["x"]


def test_what_only_looked_like_a_stop_comes_later() -> None:
    assert cut(["a<", "b"], "<end>") == ["a", "<b"]
    assert cut(["a<en"], "<end>") == ["a", "<en"]
    assert "".join(cut(["aaa", "aab"], "aaaab!")) == "aaaaab"
    assert cut(["aaaa", "aab!"], "aaaab!") == ["aa"]


def test_pieces_come_at_once_where_nothing_can_stop() -> None:
    def pieces() -> object:
        yield "abc"
        raise AssertionError("asked for more than needed")

    assert next(until_stop(pieces(), ["x"])) == "abc"  # type: ignore[arg-type]


@given(st.lists(st.text("ab", max_size=4)), st.lists(st.text("ab", min_size=1, max_size=4)))
def test_pieces_say_what_the_whole_says(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    ends = sorted(
        (n, n - len(s))
        for n in range(len(whole) + 1)
        for s in stops
        if n >= len(s) and whole[:n].endswith(s)
    )
    expected = whole[: ends[0][1]] if ends else whole
    assert "".join(until_stop(pieces, stops)) == expected


def test_it_says_which_string_ended_the_text() -> None:
    stops = Stops(["b", "abc"])
    assert [stops.push("x"), stops.found, stops.push("ab"), stops.found] == ["x", None, "a", "b"]
    assert stops.push("more") == stops.end() == ""
