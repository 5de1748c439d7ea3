"""Turn the weights of other projects into a bundle, which translate and train take as any other.

  python tools/import_weights.py checkpoints/horse2zebra horse2zebra.safetensors
  python tools/import_weights.py latest_net_G.pth maps.safetensors --norm-policy batch --dropout on
  python tools/import_weights.py photo.pth day.safetensors --architecture '{type: resnet, norm: none}'

Known are the networks of pytorch-CycleGAN-and-pix2pix and the ResNets of CUT. Of a folder, one epoch's *_net_G*.pth and
*_net_D*.pth are taken: G_A becomes G (a to b), G_B becomes F (b to a), and the discriminators come along for further
training. The architecture is told by the tensors; what they cannot tell is assumed, and printed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from i2i.core.errors import I2IError, is_out_of_memory
from i2i.core.progress import say

if TYPE_CHECKING:
    from i2i.inference.importing.assembly import Model
    from i2i.inference.importing.networks import Imported

HELP = "turn the weights of other projects into a bundle"
_SUFFIX = ".safetensors"
_NORM_POLICIES = {
    "running": "batch normalisation by the statistics of training, as with the original's test.py --eval",
    "batch": "batch normalisation by the statistics of the image itself, as with the original's test.py",
}
_DROPOUT_POLICIES = {
    "off": "no dropout when translating, as with the original's test.py --eval",
    "on": "dropout as noise when translating, as with the original's test.py",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER", help="weights, or a folder of them")
    parser.add_argument("out", type=Path, metavar="OUT", help="the bundle, NAME.safetensors")
    parser.add_argument(
        "--architecture",
        action="append",
        default=[],
        metavar="NODE",
        help="what the tensors cannot tell, as in a YAML: '{norm: none}', '{type: unet, num_downsamplings: 7}', unet. "
        "It replaces what was inferred for the generators; with a discriminator's type, for the discriminators "
        "(may be repeated)",
    )
    parser.add_argument(
        "--norm-policy", choices=_NORM_POLICIES, default="running", help="when translating (default: running)"
    )
    parser.add_argument("--dropout", choices=_DROPOUT_POLICIES, default="off", help="when translating (default: off)")
    parser.add_argument(
        "--direction",
        choices=("a2b", "b2a"),
        help="which way the networks were trained: b2a where your b was their input, as with the original's "
        "--direction BtoA (default: what the original's options beside the weights say, or a2b)",
    )
    parser.add_argument("--epoch", metavar="NAME", help="of a folder's epochs (default: latest, or the highest)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT where it exists")


def run(args: argparse.Namespace) -> int:
    """Writes the bundle and says what is in it.

    Returns:
        0.

    Raises:
        I2IError: The weights cannot be used, or OUT cannot be written.
    """
    check_output(args.out, args.paths, args.overwrite)

    from i2i.images.files import describe_os_error
    from i2i.inference.bundle.bundle import save_bundle
    from i2i.inference.importing.architecture import Architectures
    from i2i.inference.importing.assembly import Policies, assemble
    from i2i.inference.importing.files import find_sources

    sources, notes = find_sources(args.paths, args.epoch)
    policies = Policies(args.norm_policy, args.dropout, args.direction)
    try:
        model = assemble(sources, Architectures(args.architecture), policies, args.out.stem)
        try:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            save_bundle(args.out, model.info, model.pipeline)
        except OSError as error:
            raise I2IError(f"{args.out}: cannot be written: {describe_os_error(error)}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise I2IError(f"{args.out}: not enough memory to import the weights") from error
    for line in (*notes, *report(model)):
        say(line)
    print(args.out)
    return 0


def check_output(out: Path, paths: Sequence[Path], overwrite: bool) -> None:
    """Refuses what would lose a file, before anything is read.

    Raises:
        I2IError: OUT is no bundle's name, is one of the inputs, or exists.
    """
    if out.suffix != _SUFFIX:
        raise I2IError(f"OUT {out}: a bundle's name ends in {_SUFFIX}", [f"such as {out.with_suffix(_SUFFIX).name}"])
    if out.is_dir():
        raise I2IError(f"OUT {out}: is a folder")
    if out.exists() and any(path.exists() and path.samefile(out) for path in paths):
        raise I2IError(f"OUT {out}: is one of the files to import", ["another name"])
    if (out.exists() or out.is_symlink()) and not overwrite:
        raise I2IError(f"OUT {out}: is there already", ["--overwrite replaces it"])


def report(model: "Model") -> list[str]:
    """Says in lines what the bundle holds, where it is from and how it will translate."""
    info = model.info
    lines = []
    for letter, network in model.networks.items():
        lines += _about(letter, network)
    lines += model.notes
    ways = [f"{way} by {', '.join(direction.networks)}" for way, direction in info.directions.items()]
    channels = ", ".join(f"{domain} {count}" for domain, count in info.channels.items())
    lines.append(f"{info.pipeline['type']}: {', '.join(ways)}; channels: {channels}")
    lines.append(f"norm policy {info.norm_policy}: {_NORM_POLICIES[info.norm_policy]} (--norm-policy)")
    lines.append(f"dropout policy {info.dropout_policy}: {_DROPOUT_POLICIES[info.dropout_policy]} (--dropout)")
    return lines


def _about(letter: str, network: "Imported") -> list[str]:
    arguments = ", ".join(f"{key} {_plain(value)}" for key, value in network.told.items())
    lines = [f"{letter}: {network.source.name}: {network.type}, {arguments}"]
    for key, why in network.assumed.items():
        other = {"norm": "none", "dropout": "0.0" if network.told[key] else "0.5"}[key]
        node = f"{key}: {other}" if network.kind == "generator" else f"type: {network.type}, {key}: {other}"
        lines.append(f"    assumed {key} {network.told[key]}: {why}; if not so, --architecture '{{{node}}}'")
    if network.left_out:
        kinds = sorted({name.rpartition(".")[2] for name in network.left_out})
        count = len(network.left_out)
        lines.append(
            f"    left out: {count} tensors without use here ({', '.join(kinds)}), {network.left_out[0]} first"
        )
    return lines


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
