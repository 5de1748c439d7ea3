"""Fully connected networks, the first that adversarial training was shown with.

Goodfellow et al., "Generative Adversarial Networks" (2014, arXiv:1406.2661), section 5. Labels as in Mirza and
Osindero, "Conditional Generative Adversarial Nets" (2014, arXiv:1411.1784), section 4.1: in both networks they have a
first layer of their own, beside that of the input.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from i2i.networks.blocks.conditions import label_vector

Size = int | tuple[int, int]


class _Hidden(nn.Module):
    """The hidden layers, ``[N, in_features] -> [N, out_features]``.

    A one-hot label among hundreds of pixels would hardly be seen: it has as many units of its own as the input has.
    """

    def __init__(
        self, in_features: int, widths: tuple[int, ...], num_labels: int, dropout: float = 0.0, norm: str = "none"
    ) -> None:
        super().__init__()
        self.first = _layer(in_features, widths[0], dropout)
        self.label = _layer(num_labels, widths[0], dropout) if num_labels else None
        joined = widths[0] * (2 if num_labels else 1)
        numbers = (joined, *widths[1:])
        self.rest = nn.Sequential(*(_layer(one, other, dropout, norm) for one, other in pairwise(numbers)))
        self.out_features = numbers[-1]

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        x = self.first(x)
        if self.label is not None:
            x = torch.cat([x, self.label(condition)], dim=1)
        return self.rest(x)


def _layer(in_features: int, out_features: int, dropout: float, norm: str = "none") -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(in_features, out_features)]
    if norm == "batch":
        layers.append(nn.BatchNorm1d(out_features))
    layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))


class MLPGenerator(nn.Module):
    """Makes images of latents, ``[N, z_dim] -> [N, C, H, W]`` in [-1, 1].

    Args:
        out_channels: C of the images.
        size: Height and width of the images, or one number for both.
        z_dim: Numbers of a latent.
        widths: Units of each hidden layer.
        norm: Of all hidden layers but the first; not in the paper, as in Radford et al. 2015 (arXiv:1511.06434),
            section 3. Without it, drawn digits of all classes became a few alike.
        num_classes: Number of classes that are read beside the latent; 0 for none.
        num_attributes: Number of attributes that are read beside the latent; 0 for none.

    Raises:
        ValueError: A number is below 1, or there are classes and attributes.
    """

    def __init__(
        self,
        out_channels: int,
        size: Size,
        z_dim: int = 100,
        widths: tuple[int, ...] = (256, 512, 1024),
        norm: Literal["batch", "none"] = "batch",
        num_classes: int = 0,
        num_attributes: int = 0,
    ) -> None:
        super().__init__()
        self.height, self.width = _checked(size, widths, num_classes, num_attributes)
        if z_dim < 1:
            raise ValueError(f"z_dim must be at least 1, got {z_dim}")
        self.z_dim, self.out_channels = z_dim, out_channels
        self.num_classes, self.num_attributes = num_classes, num_attributes
        self.hidden = _Hidden(z_dim, widths, num_classes + num_attributes, norm=norm)
        self.head = nn.Linear(self.hidden.out_features, out_channels * self.height * self.width)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Makes images of latents ``[N, z_dim]`` and, where it reads them, labels ``[N]`` or ``[N, K]``."""
        x = self.hidden(z, label_vector(label, self.num_classes, self.num_attributes, len(z)))
        return torch.tanh(self.head(x)).view(-1, self.out_channels, self.height, self.width)


class MLPDiscriminator(nn.Module):
    """Judges images of one size, ``[N, C, H, W] -> [N, 1]``.

    Args:
        in_channels: C of the images.
        size: Height and width of the images, or one number for both.
        widths: Units of each hidden layer.
        dropout: Share of the units of each hidden layer that is left out in training.
        num_classes: Number of classes that are read beside the image; 0 for none.
        num_attributes: Number of attributes that are read beside the image; 0 for none.

    Raises:
        ValueError: A number is out of range, or there are classes and attributes.
    """

    def __init__(
        self,
        in_channels: int,
        size: Size,
        widths: tuple[int, ...] = (1024, 512, 256),
        dropout: float = 0.3,
        num_classes: int = 0,
        num_attributes: int = 0,
    ) -> None:
        super().__init__()
        height, width = _checked(size, widths, num_classes, num_attributes)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.fixed_size = (height, width)
        self.num_classes, self.num_attributes = num_classes, num_attributes
        self.hidden = _Hidden(in_channels * height * width, widths, num_classes + num_attributes, dropout)
        self.head = nn.Linear(self.hidden.out_features, 1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Judges images ``[N, C, H, W]`` and, where it reads them, labels ``[N]`` or ``[N, K]``."""
        condition = label_vector(label, self.num_classes, self.num_attributes, len(x))
        return self.head(self.hidden(x.flatten(1), condition))


def _checked(size: Size, widths: tuple[int, ...], num_classes: int, num_attributes: int) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size must be at least 1, got {height}x{width}")
    if not widths or min(widths) < 1:
        raise ValueError(f"widths must be at least one number of at least 1, got {list(widths)}")
    if num_classes < 0 or num_attributes < 0 or (num_classes and num_attributes):
        raise ValueError(f"num_classes or num_attributes: {num_classes} classes and {num_attributes} attributes")
    return height, width
