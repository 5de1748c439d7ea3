"""Labels as numbers that networks read."""

import torch
from torch import Tensor


def label_vector(label: Tensor | None, num_classes: int, num_attributes: int, count: int) -> Tensor | None:
    """Returns labels as rows of numbers.

    Args:
        label: ``[N]`` int64 for classes, ``[N, K]`` float for attributes, or ``None``.
        num_classes: Number of classes that the network knows; 0 without.
        num_attributes: Number of attributes that the network reads; 0 without.
        count: N, for the message.

    Returns:
        One-hot ``[N, num_classes]``, or the attributes ``[N, num_attributes]``; ``None`` for a network without labels.

    Raises:
        ValueError: The network needs labels and gets none, or others; a class that it does not know, on a CPU.
    """
    if not num_classes and not num_attributes:
        return None
    if label is None:
        raise ValueError(f"the network was built for labels and gets none, with {count} images")
    if num_classes:
        if label.ndim != 1:
            raise ValueError(f"expected classes [N], got labels {list(label.shape)}")
        # A GPU would have to wait for the answer; there, whoever gives labels has checked them.
        if label.device.type == "cpu" and not torch.compiler.is_compiling():
            strange = label[(label < 0) | (label >= num_classes)]
            if len(strange):
                raise ValueError(f"there is no class {strange[0].item()}, they go from 0 to {num_classes - 1}")
        # By comparison: one_hot reads the values on the host, and cannot be tried without numbers.
        return (label[:, None] == torch.arange(num_classes, device=label.device)).float()  # [N, K]
    if label.ndim != 2 or label.shape[1] != num_attributes:
        raise ValueError(f"expected {num_attributes} attributes [N, {num_attributes}], got {list(label.shape)}")
    return label.float()
