"""Sets in tar files, WebDataset's format, which may be larger than the disk."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from i2i.core.errors import ArgumentError, DataError
from i2i.core.progress import Progress, human_size
from i2i.data.finding.sides import SPLITS, Side, check_root, found_there
from i2i.data.known.sets import known_set
from i2i.data.pictures import picture_codecs
from i2i.data.shards.ahead import Ahead
from i2i.data.shards.index import Member, ShardError, ShardIndex, check_content, expand_braces, read_index
from i2i.data.shards.members import Files, Members, Shard, find_parts, pack, refuse_orphans, select_images, select_pairs
from i2i.data.shards.order import local_passes
from i2i.data.shards.store import ShardStore
from i2i.data.two_domains import TwoDomains
from i2i.images.codecs import Half

GB = 10**9
Urls = str | list[str]


class Shards(TwoDomains):
    """Images of two domains in tar files, on this machine or behind http addresses.

    Items are those of ``paired`` and ``unpaired``. Any image can be read alone, by an index of each shard, so a run
    goes on from any step without reading again what came before. The order is local: images are drawn from
    ``open_shards`` shards at a time, and without pairs, so are those of b. Shards behind an address are downloaded
    before they are used, and of these ``store_gb`` are kept.

    Pairs are two files ``KEY.a.jpg`` and ``KEY.b.png``, or one ``KEY.ab.jpg`` with both side by side.
    """

    def __init__(
        self,
        root: str,
        urls: str | list[str] | dict[Literal["a", "b"], str | list[str]] | None = None,
        paired: bool = True,
        split: str = "train",
        load_size: int | tuple[int, int] | None = 286,
        crop_size: int | tuple[int, int] | None = 256,
        transforms: str | list[dict[str, Any]] = "resize_crop_flip",
        eval_transforms: str | list[dict[str, Any]] | None = None,
        channels: int | tuple[int, int] = 3,
        parts: tuple[str, str] | None = None,
        depth: Literal[8, 16, 32] | tuple[Literal[8, 16, 32], Literal[8, 16, 32]] = 8,
        value_range: tuple[float, float] | dict[Literal["a", "b"], tuple[float, float]] | None = None,
        open_shards: int = 4,
        store: str | None = None,
        store_gb: float = 50.0,
    ) -> None:
        """
        Args:
            root: The folder that shards lie in, or its http(s) address.
            urls: The shards, relative to root, as in ``train-{000..127}.tar`` or a list; for domains with shards of
                their own {a: ..., b: ...}. ``SPLIT`` in them stands for the split. Null takes ``SPLIT-*.tar`` of a
                folder, or, without pairs, ``SPLITA-*.tar`` and ``SPLITB-*.tar`` where there are such.
            paired: Whether a and b of an item belong together.
            split: ``train``, ``val`` or ``test``; all but ``train`` are loaded without anything random.
            load_size: What images are resized to before a crop, a number or [height, width]; null keeps their sizes.
            crop_size: What is cut out in training, and what other splits are resized to.
            transforms: A preset such as ``resize_crop_flip``, or a list of albumentations transforms.
            eval_transforms: The same for the other splits; null resizes to ``crop_size`` where ``transforms`` resizes.
            channels: Of the images, or one number for a and one for b.
            parts: What follows the key in the names of a and b, as in [jpg, png] for KEY.jpg and KEY.png. Null sees
                whether it is a and b, input and target, or ab for both side by side; without pairs, it takes all
                images.
            depth: Bits of a channel in translations, one number or two; 32 are floats.
            value_range: Which values in files are darkest and brightest, for both or as {a: [...], b: [...]}.
            open_shards: Shards that images are drawn from at a time: what a shuffle buffer of their length mixes.
            store: Folder for shards behind addresses, which runs share; null is i2i/shards in the user's cache.
            store_gb: What these may take there.
        """
        if open_shards < 1:
            raise ValueError(f"open_shards must be at least 1, got {open_shards}")
        if not store_gb > 0:
            raise ValueError(f"store_gb must be above 0, got {store_gb}")
        if isinstance(urls, Mapping) and (paired or urls.keys() != {"a", "b"}):
            what = "pairs lie in the same shards" if paired else "both a and b are needed"
            raise ArgumentError(f"urls: {what}", ("urls",), ["domains with shards of their own: paired=false"])
        for name, one in urls.items() if isinstance(urls, Mapping) else (("", urls),):
            _check_urls(one, ("urls", name) if name else ("urls",))
        known = known_set(root)
        codecs = picture_codecs(channels, depth, value_range)
        domains = known[1].domains if known else ("a", "b")
        super().__init__(
            root, split, codecs, paired, domains, load_size, crop_size, transforms, eval_transforms, "auto", False
        )
        self._urls, self._parts, self._open = urls, parts, open_shards
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "i2i/shards"
        budget, alone = round(store_gb * GB), split == "train"
        self._store = ShardStore((Path(store) if store else home).expanduser(), budget, alone)
        self._ahead: Ahead | None = None

    # -- finding -------------------------------------------------------------------------------------------------------

    @property
    def splits(self) -> list[str]:
        """Which of train, val and test the set has; of addresses, only the one that was asked for is known."""
        if "://" in self.root or self._urls is not None:
            return [self.split]
        return [split for split in SPLITS if any(Path(self.root).glob(f"{split}*.tar"))]

    def find(self) -> tuple[Side, Side]:
        """Finds the shards and reads their indexes.

        Raises:
            DataError: Shards are missing or damaged, or files have no partner.
        """
        if "://" not in self.root:
            check_root(self.root)
        urls = {name: self._shards_of(name) for name in "ab"}
        parts = self._parts_of(urls)
        loaded = self._load({url: [name for name in "ab" if url in urls[name]] for url in urls["a"] + urls["b"]}, parts)
        refuse_orphans(
            [line for one in loaded.values() for line in one.orphans], sum(one.total for one in loaded.values())
        )
        members = {
            name: Members(((loaded[url].shard, loaded[url].files[name]) for url in urls[name]), self._read)
            for name in "ab"
        }
        halves: tuple[Half | None, Half | None] = (None, None)
        if len(parts) == 1:
            members["b"], halves = members["a"], ("left", "right")
        a, b = (
            Side(Path(self.root), half, self.codecs[name], paths=members[name])
            for name, half in zip("ab", halves, strict=True)
        )
        return a, b

    def scan(self) -> None:
        """Finds the shards and their images, once. Images are looked at when they come up.

        Raises:
            DataError: They cannot be used as asked; see :meth:`find`.
        """
        if self._sides is not None:
            return
        sides = self.find()
        for side in sides:
            if self.split == "train" and len(side.paths) < 2:
                raise DataError(f"{self.root!r} holds 1 image, training needs at least 2")
        self._check_budget([_members(side) for side in sides])
        self._sides = sides
        shards = {shard for side in sides for shard in _members(side).shards}
        size = human_size(sum(shard.size for shard in shards))
        self.notes = (f"{len(self):,} items in {len(shards):,} shards, {size}",)

    @property
    def fingerprint(self) -> int:
        """A number of the shards' files, their places and sizes: other files have another."""
        a, b = self._scanned()
        return _members(a).checksum << 32 | _members(b).checksum

    # -- items ---------------------------------------------------------------------------------------------------------

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Returns the numbers of the items of a pass in a local order, see :func:`local_order`; ``[len(self)]``.

        A number is ``index + len(self) * (1 + partner)``, where without pairs ``partner`` is the image of b.
        """
        a, b = map(_members, self._scanned())
        first = local_passes(a.counts, self._open, len(self), rng)
        if self.joint:
            return first + len(self)
        return first + len(self) * (1 + local_passes(b.counts, self._open, len(self), rng))

    @property
    def lookahead(self) -> int:
        """How many coming numbers :meth:`expect` is to be told; 0 where nothing is downloaded."""
        sides = [_members(side) for side in self._scanned()]
        if not any(shard.is_remote for side in sides for shard in side.shards[:1]):
            return 0
        return max(int((self._open + 2) * side.counts.mean()) + 1 for side in sides)

    def expect(self, numbers: np.ndarray) -> None:
        """Begins to download the shards of coming items."""
        a, b = map(_members, self._scanned())
        partners, places = np.divmod(numbers, len(self))
        used: dict[Shard, int] = {}
        for side, files in ((a, places), (b, places if self.joint else partners - 1)):
            shards, firsts = np.unique(side.shards_of(files), return_index=True)
            for shard, first in zip(shards.tolist(), firsts.tolist(), strict=True):
                used[side.shards[shard]] = min(first, used.get(side.shards[shard], first))
        if self._ahead is None:
            self._ahead = Ahead(self._store)
        self._ahead.want([shard for shard in sorted(used, key=lambda one: used[one]) if shard.is_remote])

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self):  # the numbers of an order are for ``get``: iterating ends with the images
            raise IndexError(f"item {index} of {len(self)}")
        return super().__getitem__(index)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Loads an item.

        Args:
            index: 0 to ``len(self) - 1``, or a number of :meth:`order`.
            rng: Where all that is random about the item comes from.

        Raises:
            DataError: A file cannot be used; names shard and file.
            IndexError: No such item.
            ShardError: A shard cannot be had any more.
        """
        if not 0 <= index < len(self) * (1 + max(1, len(self._scanned()[1].paths))):
            raise IndexError(f"item {index} of {len(self)}")
        return self._item(index, rng)

    def _places(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        partner, place = divmod(index, len(self))
        if self.joint or not partner:
            return super()._places(place, rng)
        return place, partner - 1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ahead": None}  # its threads stay where they are

    # -- shards --------------------------------------------------------------------------------------------------------

    def _shards_of(self, name: str) -> list[str]:
        """Paths or addresses of the shards of a domain."""
        urls = self._urls.get(name) if isinstance(self._urls, Mapping) else self._urls  # type: ignore[call-overload]
        if urls is not None:
            given = [urls] if isinstance(urls, str) else urls
            return [self._place(one) for url in given for one in expand_braces(url.replace("SPLIT", self.split))]
        pattern, own = f"{self.split}-*.tar", f"{self.split}{name.upper()}-*.tar"
        if "://" in self.root:
            hint = f"say which: data.urls={pattern[:-5]}{{000000..000127}}.tar"
            raise DataError(f"{self.root}: an address does not tell which shards there are", [hint])
        base = Path(self.root)
        if not self.joint and (any(base.glob(own)) or not any(base.glob(pattern))):
            pattern = own
        found = sorted(map(str, base.glob(pattern)))
        if not found:
            hints = [found_there(base), "other names: data.urls=my-{000..127}.tar"]
            if self.joint and any(base.glob(own)):
                hints.append("shards of two domains without pairs: data.paired=false")
            raise DataError(f"{str(base.absolute())!r} holds no {pattern}", hints)
        return found

    def _place(self, url: str) -> str:
        if "://" in url:
            return url
        return f"{self.root.rstrip('/')}/{url}" if "://" in self.root else str(Path(self.root, url))

    def _parts_of(self, urls: Mapping[str, list[str]]) -> tuple[str | None, ...]:
        """What follows the key in the names of a and b; a single one for files that hold both, ``None`` for all."""
        if self._parts is not None:
            return self._parts
        if urls["a"] != urls["b"]:
            return None, None
        first = urls["a"][0]
        return find_parts(self._index(first), first)

    def _index(self, url: str) -> ShardIndex:
        try:
            return self._store.index(url) if "://" in url else read_index(Path(url))
        except ShardError as error:
            raise DataError(error.message, error.hints) from error

    def _load(self, urls: Mapping[str, list[str]], parts: tuple[str | None, ...]) -> dict[str, "_Loaded"]:
        """Reads the indexes of shards, of which each is for the domains that it stands for."""

        def load(url: str) -> _Loaded:
            index = self._index(url)
            shard, total = Shard(url, index.size), len(index.members)
            if self.joint:
                files, orphans = select_pairs(index, url, [str(part) for part in parts])
                packed = [pack(one) for one in files]
                return _Loaded(shard, {"a": packed[0], "b": packed[-1]}, orphans, total)
            of = {"a": parts[0], "b": parts[-1]}
            return _Loaded(shard, {name: pack(select_images(index, url, of[name])) for name in urls[url]}, [], total)

        pool = ThreadPoolExecutor(8)  # more than cores: disks and servers make threads wait
        try:
            with Progress("", len(urls), count="shards") as progress:
                loaded = {}
                for url, one in zip(urls, pool.map(load, urls), strict=True):
                    loaded[url] = one
                    progress.advance()
                return loaded
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, shard: Shard, member: Member) -> bytes:
        if shard.is_remote:
            return self._store.read(shard, member)
        with Path(shard.url).open("rb") as file:
            return check_content(file, shard.url, member)

    def _check_budget(self, sides: list[Members]) -> None:
        """Refuses a store that what is open and what comes next do not fit into together."""
        remote = {shard for side in sides for shard in side.shards if shard.is_remote}
        total = sum(shard.size for shard in remote)
        own = sides[:1] if self.joint else sides
        needed = min(total, sum((self._open + 1) * max(shard.size for shard in side.shards) for side in own))
        if remote and needed > self._store.budget:
            raise DataError(
                f"data.store_gb={self._store.budget / GB:g} is too small: {self._open} open shards and the next one "
                f"need {needed / GB:.3g}",
                ["a larger store_gb, fewer open_shards, or smaller shards"],
            )


def _members(side: Side) -> Members:
    assert isinstance(side.paths, Members)
    return side.paths


class _Loaded(NamedTuple):
    """What a shard holds of each domain; what is wrong with files that have no partner, and how many there are."""

    shard: Shard
    files: dict[str, Files]
    orphans: list[str]
    total: int


def _check_urls(urls: Urls | None, path: tuple[str, ...]) -> None:
    for url in [urls] if isinstance(urls, str) else urls or []:
        scheme = url.partition("://")[0] if "://" in url else ""
        try:
            expand_braces(url)
        except ValueError as error:
            raise ArgumentError(f"urls: {error}", path) from error
        if scheme not in ("", "http", "https"):
            raise ArgumentError(f"urls: {url} is neither a path nor an http address", path)
    if urls == []:
        raise ArgumentError("urls: names no shard", path)
