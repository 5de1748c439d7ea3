"""Shows that the style loss acts: paints a picture until its Gram matrices are those of another.

python benchmarks/style.py OUT.png
python benchmarks/style.py OUT.png --weights vgg19.safetensors --steps 300

No model is trained: the pixels themselves are. Prints the Gram distance to the style picture before and after, as the
backbone sees it and as a network sees it that took no part. With random weights, which need no download, colours and
texture carry over all the same; trained ones see more.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.data.drawn.dataset import Synthetic
from i2i.images.files import make_grid, save_image, to_uint8
from i2i.losses.perceptual import Perceptual, Style
from i2i.losses.regularizers import TotalVariation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.png")
    parser.add_argument("--backbone", default="vgg19.tv_in1k")
    parser.add_argument("--weights", default="random", help="auto, a path, or random (the default)")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=96, help="pixels")
    parser.add_argument("--content", type=float, default=0.05, help="weight of the content, where the style's is 1")
    args = parser.parse_args()

    content, style_of = pictures(args.size)
    noise = 0.2 * torch.randn(content.shape, generator=torch.Generator().manual_seed(0))
    rows = {"noise": (noise, 0.0), "a picture, content kept": (content, args.content)}
    losses = Style(args.backbone, weights=args.weights), Perceptual(args.backbone, weights=args.weights)
    witness = Style("resnet18", weights="random")
    columns: dict[str, list[Tensor]] = {"start": [], "style of": [], "result": []}
    for name, (start, weight) in rows.items():
        started = time.perf_counter()
        result = paint(start, style_of, content, *losses, weight, args.steps)
        seconds = time.perf_counter() - started
        for seen_by, measure in (
            (f"{args.backbone}, {args.weights}", losses[0]),
            ("resnet18, random, took no part", witness),
        ):
            with torch.no_grad():
                before, after = (float(measure(image, style_of)) for image in (start, result))
            print(f"{name} ({seen_by}): {before:.3g} -> {after:.3g}, {before / after:.1f} times less")
        print(f"{name}: {seconds:.0f} s")
        for column, image in zip(columns.values(), (start, style_of, result), strict=True):
            column.append(to_uint8(image[0].clamp(-1, 1)))
    save_image(args.out, make_grid(columns))
    return 0


def pictures(size: int) -> tuple[Tensor, Tensor]:
    """An animal without a pattern, and a town from above, ``[1, 3, H, W]`` in [-1, 1]."""
    scenes = (Synthetic(domain, size=size, split="test") for domain in ("animals", "maps"))
    content, style_of = (torch.as_tensor(scene[0]["a"])[None] for scene in scenes)
    return content, style_of


def paint(
    start: Tensor, style_of: Tensor, content_of: Tensor, style: Style, content: Perceptual, weight: float, steps: int
) -> Tensor:
    """Descends the losses, each in units of its value at the start, on the pixels of an image."""
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.05)
    smooth = TotalVariation()
    with torch.no_grad():
        unit = float(style(image, style_of))
        content_unit = float(content(style_of, content_of))
    for _ in range(steps):
        loss = style(image, style_of) / unit + 0.01 * smooth(image, image)
        if weight:
            loss = loss + weight * content(image, content_of) / content_unit
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(-1, 1)
    return image.detach()


if __name__ == "__main__":
    sys.exit(main())
