"""Train the experiment that a YAML describes.

python tools/train.py configs/cyclegan_horse2zebra.yaml data.root=/my/images trainer.batch_size=4
torchrun --nproc-per-node 4 tools/train.py configs/cyclegan_horse2zebra.yaml trainer.batch_size=4
"""

import argparse

from i2i.cli.parts.one_config import add_config, one_config

HELP = "train the experiment that a YAML describes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: runs/NAME/NUMBER)")
    parser.add_argument(
        "--resume",
        metavar="never|auto|PATH",
        default="never",
        help="auto continues the run folder's newest checkpoint, or starts afresh (default: never)",
    )
    parser.add_argument(
        "--max-hours",
        type=float,
        metavar="H",
        help="stop after so many hours, with a checkpoint that --resume continues",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the YAML and print the plan of the run: shapes, compute, memory, time; touch neither data nor disk",
    )
    parser.add_argument("--no-measure", action="store_true", help="with --dry-run: take no steps to measure their time")


def run(args: argparse.Namespace) -> int:
    from i2i.core.errors import I2IError

    config, overrides = one_config(args)
    if args.out == "":
        raise I2IError("--out: is empty", ["leave it out for runs/NAME/NUMBER"])
    if args.max_hours is not None and not args.max_hours > 0:
        raise I2IError(f"--max-hours must be above 0, got {args.max_hours}")
    if args.no_measure and not args.dry_run:
        raise I2IError("--no-measure: goes with --dry-run")
    from i2i.cli.parts.offer import offer_download
    from i2i.run.experiment import Experiment
    from i2i.run.start import train
    from i2i.training import distributed

    with distributed.joined():
        with distributed.agreeing():
            experiment = Experiment.load(config, overrides)
        if args.dry_run:
            from i2i.run.plan import describe_plan

            for line in describe_plan(experiment, is_measured=not args.no_measure) if distributed.is_main() else ():
                print(line, flush=True)
            return 0
        if distributed.world_size() == 1:  # several have no terminal to ask on
            root = experiment.data.node.get("root")
            stopped = offer_download(root.plain() if root is not None else None)
            if stopped:
                return stopped
        return train(experiment, args.out, args.resume, max_hours=args.max_hours)[0]
