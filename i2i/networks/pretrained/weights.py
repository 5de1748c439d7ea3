"""Where the weights of a timm backbone are: in a local file, in the cache of the hub, or behind the network."""

from pathlib import Path
from typing import Any

from i2i.core.errors import ArgumentError
from i2i.core.registry import did_you_mean

RANDOM = "random"
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT = 5  # seconds


def check_weights(backbone: str, weights: str) -> None:
    """Checks that weights can be had, without reading them.

    Args:
        backbone: A name of timm, with or without the tag of a set of weights.
        weights: ``auto``, a path, or ``random``.

    Raises:
        ArgumentError: There is no such backbone, or no way to its weights.
    """
    config = pretrained_config(backbone)
    if weights != RANDOM and _local_file(config, weights) is None:
        _check_download(backbone, config)


def fetch_weights(backbone: str, weights: str) -> Path | None:
    """Returns the file of the weights, downloaded if need be; ``None`` for random ones.

    Args:
        backbone: As for :func:`check_weights`.
        weights: As for :func:`check_weights`.

    Raises:
        ArgumentError: There is no such backbone, or no way to its weights.
    """
    config = pretrained_config(backbone)
    if weights == RANDOM:
        return None
    return _local_file(config, weights) or _download(backbone, config)


def pretrained_config(backbone: str) -> Any:
    """Returns what timm says of a backbone's weights: where they are, and how images are normalised for them.

    Raises:
        ArgumentError: There is no such backbone.
    """
    import timm

    path = ("backbone",)
    if not timm.is_model(backbone):
        near = did_you_mean(backbone.partition(".")[0], timm.list_models())
        raise ArgumentError(f"backbone: timm has no model {backbone!r}{near}", path)
    try:
        return timm.get_pretrained_cfg(backbone)
    except RuntimeError:
        name = backbone.partition(".")[0]
        known = timm.list_pretrained(f"{name}.*")
        hints = [f"known: {', '.join(known) or 'none'}"]
        raise ArgumentError(f"backbone: timm has no weights {backbone!r}", path, hints) from None


def _local_file(config: Any, weights: str) -> Path | None:
    if weights != "auto":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ArgumentError(f"weights: no file {weights!r}; expected a path, auto or random", ("weights",))
        return path.resolve()
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        for name in _hub_files(config):
            found = try_to_load_from_cache(config.hf_hub_id, name)
            if isinstance(found, str):
                return Path(found)
    elif config.url:
        found_at = _torch_cache(config.url)
        return found_at if found_at.is_file() else None
    return None


def _hub_files(config: Any) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_FILES


def _torch_cache(url: str) -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _check_download(backbone: str, config: Any) -> None:
    """Asks the hub for the file's head only, and not for long: a machine without a network must not stall."""
    if config.hf_hub_id:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        error: Exception | None = None
        for name in _hub_files(config):
            try:
                get_hf_file_metadata(hf_hub_url(config.hf_hub_id, name), timeout=_TIMEOUT)
                return
            except Exception as problem:  # offline, refused, not there: all mean that it cannot be had
                error = error or problem
        raise _unreachable(backbone, error)
    if not config.url:
        raise ArgumentError(f"weights: timm knows none for {backbone!r}; expected a path or random", ("weights",))


def _download(backbone: str, config: Any) -> Path:
    _check_download(backbone, config)
    try:
        if not config.hf_hub_id:
            import torch

            path = _torch_cache(config.url)
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(config.url, str(path))
            return path
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        *others, last = _hub_files(config)
        for name in others:
            try:
                return Path(hf_hub_download(config.hf_hub_id, name))
            except EntryNotFoundError:
                continue
        return Path(hf_hub_download(config.hf_hub_id, last))
    except Exception as error:  # the network may fail in any way
        raise _unreachable(backbone, error) from error


def _unreachable(backbone: str, error: Exception | None) -> ArgumentError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return ArgumentError(
        f"weights: those of {backbone!r} are not in the cache of the hub and cannot be downloaded ({reason})",
        ("weights",),
        [
            "weights: PATH, a .safetensors or .pth file of this backbone",
            f"where there is a network: python -c \"import timm; timm.create_model('{backbone}', pretrained=True)\", "
            "then copy the cache (HF_HOME)",
            "weights: random, to try things out",
        ],
    )
