"""Distributions that are installed by lying on ``sys.path``: what pip leaves of a package, without pip."""

from collections.abc import Mapping
from pathlib import Path


def install(
    folder: Path,
    distribution: str,
    components: Mapping[str, Mapping[str, str]],
    files: Mapping[str, str] | None = None,
    version: str = "1.0",
) -> Path:
    """Writes a distribution.

    Args:
        folder: Where; to be put on ``sys.path``.
        distribution: Its name.
        components: Entry-point group -> name -> ``module:Class``.
        files: Name -> content of its modules.
        version: Its version.

    Returns:
        The folder.
    """
    metadata = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in names.items())])
        for group, names in components.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups) + "\n")
    for name, content in (files or {}).items():
        (folder / name).write_text(content)
    return folder
