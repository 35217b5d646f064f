"""Windows over what is too long to be read at once."""

from collections.abc import Iterator, Sequence


def overlapping(sizes: Sequence[int], room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Parts (from, to) of whole units of such sizes, each of at most `room` together, or of one
    unit. Neighbours share units of at most `stride`, and of half of the room, together.

    >>> list(overlapping([1] * 10, room=6, stride=2))
    [(0, 6), (4, 10)]
    """
    stride, count = min(stride, room // 2), len(sizes)
    begin = end = 0
    while True:
        used = 0
        end = begin
        while end < count and (end == begin or used + sizes[end] <= room):
            used += sizes[end]
            end += 1
        yield begin, end
        if end == count:
            return
        next_begin, shared = end, 0
        while next_begin - 1 > begin and shared + sizes[next_begin - 1] <= stride:
            next_begin -= 1
            shared += sizes[next_begin]
        begin = next_begin
