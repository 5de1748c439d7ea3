"""Put a folder of images into tar files in WebDataset's format, for sets that are too many files or larger than a disk.

python tools/make_shards.py datasets/horse2zebra shards/horse2zebra          trainA-*.tar, trainB-*.tar, testA-*.tar ...
python tools/make_shards.py datasets/facades shards/facades                  train-*.tar: files that are side by side
python tools/make_shards.py my/images shards/mine --paired --shard-size 1GB  train-*.tar: KEY.a.jpg and KEY.b.png
python tools/make_shards.py --index others/*.tar                             only the indexes, beside shards of others

Files are copied as they are, in a random order that is always the same. What is no image is left out and named. OUT is
there with all shards or not at all. Train with data: {type: shards, root: OUT}, paired: false where there are no pairs.

Exit codes: 0 all done; 1 done, but files were left out; 2 nothing was written, nor after a signal: 130, 143.
"""

import argparse
from pathlib import Path

HELP = "put a folder of images into shards"
_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("places", nargs="*", metavar="ROOT OUT", help="the set's folder, and a new one for the shards")
    parser.add_argument("--paired", action="store_true", help="the two folders of a split hold pairs of the same names")
    parser.add_argument(
        "--shard-size", default="256MB", metavar="SIZE", help="what a tar is filled up to (default: 256MB)"
    )
    parser.add_argument(
        "--index", nargs="+", type=Path, default=[], metavar="TAR", help="write the indexes of these shards instead"
    )


def run(args: argparse.Namespace) -> int:
    """Makes shards.

    Raises:
        DataError: Nothing could be made.
    """
    from i2i.core.errors import I2IError, first_of
    from i2i.core.progress import Progress, human_size, say
    from i2i.core.signals import StopRequest
    from i2i.data.shards.make import check_target, parse_size, plan_shards, urls_of, write_index, write_shards

    if bool(args.index) == bool(args.places) or (args.places and len(args.places) != 2):
        raise I2IError(f"expected ROOT and OUT, or --index TAR..., got {' '.join(args.places) or 'nothing'}")
    for shard in args.index:
        say(f"{shard}: {write_index(shard)} files")
    if args.index:
        return 0
    root, target = args.places[0], Path(args.places[1])
    size = parse_size(args.shard_size)
    check_target(target)  # before every image is looked at
    plan = plan_shards(root, args.paired)
    with StopRequest() as stop:

        def advance(amount: int) -> None:
            if stop.number is not None:
                raise KeyboardInterrupt
            progress.advance(amount)

        try:
            with Progress("writing shards", plan.size) as progress:
                counts = write_shards(plan, target, size, advance)
        except KeyboardInterrupt:
            say(f"stopped; {target} was not written, the same command starts again")
            return stop.exit_code or 130
    for group, count in counts.items():
        items = len(plan.groups[group])
        say(f"{target}/{urls_of(group, count)}: {items:,} {'image' if group[-1] in 'AB' else 'pair'}s")
    say(f"{human_size(plan.size)} in {sum(counts.values())} shards")
    for line in first_of([f"left out: {path}: {reason}" for path, reason in plan.left_out], _SHOWN):
        say(line)
    return 1 if plan.left_out else 0
