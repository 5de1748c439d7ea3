"""What a process on a CPU holds for tensors: more than those alive, because freed blocks leave gaps."""

from bisect import bisect_left, insort


class Heap:
    """The heap of a process under glibc's malloc, as torch's tensors on a CPU see it.

    A request takes the smallest free block that holds it, else the heap's end grows; free neighbours join, and a long
    free end is given back. A block beyond a threshold that neither holds is mapped by itself and given back when it is
    freed; freeing one raises the threshold to its size, up to 32 MiB, and the trimming threshold to twice that (see
    mallopt(3)). Torch asks for aligned blocks: malloc then looks for one that is longer by the alignment and cuts off
    both ends, so that a gap as long as the request is too short for it. Left out: the lists of small blocks.

    Attributes:
        peak: The most bytes that were held.
    """

    MAX_THRESHOLD = 32 * 2**20
    ALIGNMENT, GRAIN, HEADER, LEAST, PAGE = 64, 16, 16, 32, 4096

    def __init__(self) -> None:
        self.mmap_threshold = self.trim_threshold = 128 * 2**10
        self.peak = 0
        self._mapped = self._end = self._used_end = 0
        self._by_size: list[tuple[int, int]] = []  # free blocks: (size, address), sorted
        self._size_at: dict[int, int] = {}  # free blocks by where they begin
        self._size_to: dict[int, int] = {}  # and by where they end

    @property
    def resident(self) -> int:
        """Bytes held: the heap up to its end, and what is mapped."""
        return self._end + self._mapped

    def allocate(self, size: int) -> tuple[int, int]:
        """Returns the address and the length of a block; the address is negative for one that is mapped by itself."""
        wanted = rounded_up(size + 8, self.GRAIN)
        needed = wanted + self.ALIGNMENT + self.LEAST
        place = bisect_left(self._by_size, (needed, 0))
        if place < len(self._by_size):
            found, address = self._by_size[place]
            self._take(found, address)
            block = self._cut(address, found, wanted)
        elif needed >= self.mmap_threshold and self._end - self._used_end < needed:
            block = (-1, rounded_up(needed + self.HEADER, self.PAGE))
            self._mapped += block[1]
        else:
            address = self._used_end
            self._used_end += needed
            self._end = max(self._end, self._used_end)
            block = self._cut(address, needed, wanted)
        self.peak = max(self.peak, self.resident)
        return block

    def free(self, address: int, size: int) -> None:
        """Frees a block that :meth:`allocate` returned."""
        if address < 0:
            self._mapped -= size
            if self.mmap_threshold < size <= self.MAX_THRESHOLD:
                self.mmap_threshold, self.trim_threshold = size, 2 * size
            return
        before, after = self._size_to.get(address), self._size_at.get(address + size)
        if after is not None:
            self._take(after, address + size)
            size += after
        if before is not None:
            address -= before
            self._take(before, address)
            size += before
        if address + size < self._used_end:
            insort(self._by_size, (size, address))
            self._size_at[address] = self._size_to[address + size] = size
            return
        self._used_end = address
        if self._end - self._used_end >= self.trim_threshold:
            self._end = self._used_end

    def _cut(self, address: int, found: int, wanted: int) -> tuple[int, int]:
        """Gives back what lies before the aligned part of a block and after it."""
        start = rounded_up(address + self.HEADER, self.ALIGNMENT) - self.HEADER
        if 0 < start - address < self.LEAST:
            start += self.ALIGNMENT
        length = wanted if address + found - start - wanted >= self.LEAST else address + found - start
        if start > address:
            self.free(address, start - address)
        if start + length < address + found:
            self.free(start + length, address + found - start - length)
        return start, length

    def _take(self, size: int, address: int) -> None:
        del self._by_size[bisect_left(self._by_size, (size, address))]
        del self._size_at[address], self._size_to[address + size]


def rounded_up(number: int, multiple: int) -> int:
    """Returns the least multiple that is not below a number."""
    return -(-number // multiple) * multiple
