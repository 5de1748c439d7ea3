"""The classic data sets that ``prepare_data`` knows: where they come from and how they are laid out.

Addresses are those of the download scripts of the PyTorch CycleGAN and pix2pix code, the present ones first, the ones
used until 2021 as mirrors. A count stands here only where the published archive is known to hold exactly that many
images (papers and documentation often differ from what is in the archives); elsewhere a folder must merely not be
empty. No checksum was ever published, so none stands here: the first use records its own in ``SOURCE.json``.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from i2i.core.errors import DataError


@dataclass(frozen=True)
class Source:
    """One data set.

    Attributes:
        name: What the user types, and the folder that results.
        about: A few words for listings.
        folders: Folders with images, each with their number, ``None`` where that is not published.
        optional: Folders that may be missing; those that are not in ``folders`` have no published number.
        endings: What the names of those images of a folder end in that are counted; all images elsewhere.
        aliases: Names that folders have in another common layout, and what they become.
        urls: The archive's addresses, best first; empty for a data set that a program cannot fetch.
        sha256: The archive's published checksum, if there is one.
        by_hand: For a data set that cannot be fetched: what to get, and where.
    """

    name: str
    about: str
    folders: Mapping[str, int | None]
    optional: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    by_hand: tuple[str, ...] = ()
    endings: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All folders that it may have."""
        return tuple(dict.fromkeys((*self.folders, *self.optional)))

    @property
    def required(self) -> tuple[str, ...]:
        """The folders that it must have."""
        return tuple(name for name in self.folders if name not in self.optional)

    @property
    def archive_name(self) -> str:
        """File name under which the downloaded archive is kept until it is unpacked."""
        suffix = ".tar.gz" if self.urls and self.urls[0].endswith((".tar.gz", ".tgz")) else ".zip"
        return self.name + suffix


UNPAIRED = ("trainA", "trainB", "testA", "testB")


def _cyclegan(
    name: str, about: str, counts: Mapping[str, int] | None = None, published_as: str | None = None
) -> Source:
    archive = f"{published_as or name}.zip"
    return Source(
        name=name,
        about=about,
        folders={folder: (counts or {}).get(folder) for folder in UNPAIRED},
        urls=(
            f"http://efrosgans.eecs.berkeley.edu/cyclegan/datasets/{archive}",
            f"https://people.eecs.berkeley.edu/~taesung_park/CycleGAN/datasets/{archive}",
        ),
    )


def _pix2pix(name: str, about: str, folders: Mapping[str, int | None], optional: tuple[str, ...] = ()) -> Source:
    return Source(
        name=name,
        about=about,
        folders=folders,
        optional=optional,
        urls=(
            f"http://efrosgans.eecs.berkeley.edu/pix2pix/datasets/{name}.tar.gz",
            f"https://people.eecs.berkeley.edu/~tinghuiz/projects/pix2pix/datasets/{name}.tar.gz",
        ),
    )


def _cityscapes(part: str) -> dict[str, int | None]:
    """Cordts et al. 2016, section 2.2: the split of the finely annotated images."""
    return {f"{part}/train": 2975, f"{part}/val": 500, f"{part}/test": 1525}


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        _cyclegan("horse2zebra", "unpaired", {"trainA": 1067, "trainB": 1334, "testA": 120, "testB": 140}),
        _cyclegan("apple2orange", "unpaired"),
        _cyclegan("summer2winter_yosemite", "unpaired"),
        _cyclegan("monet2photo", "unpaired"),
        _cyclegan("cezanne2photo", "unpaired"),
        _cyclegan("ukiyoe2photo", "unpaired"),
        _cyclegan("vangogh2photo", "unpaired"),
        _cyclegan("iphone2dslr_flower", "unpaired"),
        # The same names stand for paired archives at the pix2pix address, which is what `maps` and `facades` mean here.
        _cyclegan("maps_unpaired", "maps, laid out as two domains", published_as="maps"),
        _cyclegan("facades_unpaired", "facades, laid out as two domains", published_as="facades"),
        _pix2pix("maps", "pairs side by side", {"train": 1096, "val": 1098}),
        _pix2pix("facades", "pairs side by side", {"train": 400, "val": 100, "test": 106}),
        _pix2pix("edges2shoes", "pairs side by side", {"train": None}, optional=("val", "test")),
        _pix2pix("edges2handbags", "pairs side by side", {"train": None}, optional=("val", "test")),
        _pix2pix("night2day", "pairs side by side", {"train": None}, optional=("val", "test")),
        Source(
            name="cityscapes",
            about="photographs and label maps; needs a login, so --from only",
            folders=_cityscapes("leftImg8bit") | _cityscapes("gtFine"),
            optional=("leftImg8bit/test", "gtFine/test"),  # those of gtFine are blank: the benchmark keeps them
            endings={
                f"{part}/{split}": f"_{part}{kind}.png"
                for part, kind in (("leftImg8bit", ""), ("gtFine", "_labelIds"))
                for split in ("train", "val", "test")
            },
            by_hand=(
                "log in at https://www.cityscapes-dataset.com and download leftImg8bit_trainvaltest.zip and "
                "gtFine_trainvaltest.zip",
            ),
        ),
        Source(
            name="camvid",
            about="frames of a drive and label maps; --from only",
            folders={f"{split}/{part}": None for split in ("train", "val", "test") for part in ("images", "labels")},
            optional=("test/images", "test/labels"),
            aliases={
                f"{split}{suffix}": f"{split}/{part}"
                for split in ("train", "val", "test")
                for suffix, part in (("", "images"), ("annot", "labels"))
            },
            by_hand=(
                "get CamVid with class ids of one channel, as the SegNet tutorial has it (train, trainannot, val, "
                "valannot): http://mi.eng.cam.ac.uk/projects/segnet/tutorial.html",
                "or bring your copy into train/images, train/labels, val/images and val/labels, names the same but for "
                "the suffix",
            ),
        ),
    )
}


def find_source(name: str) -> Source:
    """Returns the data set of that name.

    Raises:
        DataError: If there is none.
    """
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=1)
    guess = f", did you mean '{near[0]}'?" if near else ""
    raise DataError(f"{name}: not a data set this command knows{guess}", hints=[f"known: {', '.join(SOURCES)}"])
