"""Windows over what is too long to be read at once."""

from collections.abc import Iterator, Sequence


def overlapping(sizes: Sequence[int], room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Parts (from, to) of whole units of such sizes, each of at most `room` together, or of one
    unit. Neighbours share units of at most `stride`, and of half of the room, together.

    >>> list(overlapping([1] * 10, room=6, stride=2))
    [(0, 6), (4, 10)]
    """
    stride, count = min(stride, room // 2), len(sizes)
    begin = 0
    while True:
        used, end = 0, begin
        while end < count and (end == begin or used + sizes[end] <= room):
            used += sizes[end]
            end += 1
        yield begin, end
        if end == count:
            return
        left = min(stride, room - sizes[end])  # the next unit must fit in, too
        begin, before = end, begin
        while begin - 1 > before and sizes[begin - 1] <= left:
            begin -= 1
            left -= sizes[begin]
