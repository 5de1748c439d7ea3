"""Lists of files: a CSV of pairs or of images, or a text file a domain."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from i2i.core.errors import DataError, first_of
from i2i.data.finding.files import SHOWN
from i2i.data.finding.sides import SPLITS
from i2i.images.files import describe_os_error

Files = str | tuple[str, str]
_PLACEHOLDER = "{split}"


class FileList:
    """The files of a data set, as its lists name them.

    A CSV has a header with the names of the columns and, optionally, ``split``; without that column, and in text lists
    of a path a line, all belong to ``train``. A list named ``…{split}…`` belongs to the split in its name. Lists, and
    the paths in them, are relative to the data set's root.

    Args:
        root: The data set's root.
        files: A CSV, or a text list a column.
        columns: What is wanted, such as ``("a", "b")``.
        joint: Whether a row belongs together; else columns may differ in length, and cells may be empty.
        optional: Columns that a CSV may lack; their cells are text, not paths.
    """

    def __init__(
        self, root: str, files: Files, columns: Sequence[str], joint: bool, optional: Sequence[str] = ()
    ) -> None:
        self.root, self.columns, self.joint, self.optional = Path(root), tuple(columns), joint, tuple(optional)
        self.files = (files,) if isinstance(files, str) else files

    @property
    def splits(self) -> list[str]:
        """Which of train, val and test there are."""
        if any(_PLACEHOLDER in name for name in self.files):
            paths = {split: [self._path(name, split) for name in self.files] for split in SPLITS}
            return [split for split in SPLITS if all(path.is_file() for path in paths[split])]
        if len(self.files) > 1 or not self._path(self.files[0], "train").is_file():
            return ["train"]
        found = {row.get("split", "train") for _, row in self._rows(self._path(self.files[0], "train"), [])}
        return [split for split in SPLITS if split in found]

    def read(self, split: str) -> dict[str, list[str]]:
        """Returns the paths of each column, and the text of each optional column that is there.

        Raises:
            DataError: A list is missing or has no such split; or lines are wrong or name files that are not there,
                all of which are counted and the first of which are shown.
        """
        problems: list[str] = []
        cells = self._read_csv(split, problems) if len(self.files) == 1 else self._read_texts(split, problems)
        for name in self.columns:
            for place, path in cells[name]:
                if not (self.root / path).is_file():
                    what = "is a folder" if (self.root / path).is_dir() else "no such file"
                    problems.append(f"{place}: {name} {str(self.root / path)!r}: {what}")
        if problems:
            raise _wrong_lines(problems)
        empty = [name for name in self.columns if not cells[name]]
        if empty:
            hints = [f"splits found: {', '.join(self.splits)}"] if self.splits else []
            raise DataError(f"{' and '.join(self._names(split))}: name no {' and no '.join(empty)} of {split!r}", hints)
        return {
            name: [str(self.root / cell) if name in self.columns else cell for _, cell in found]
            for name, found in cells.items()
        }

    def _path(self, name: str, split: str) -> Path:
        return self.root / name.replace(_PLACEHOLDER, split)

    def _names(self, split: str) -> list[str]:
        return [str(self._path(name, split)) for name in self.files]

    def _read_csv(self, split: str, problems: list[str]) -> dict[str, list[tuple[str, str]]]:
        path = self._path(self.files[0], split)
        belongs = split if _PLACEHOLDER in self.files[0] else "train"
        cells: dict[str, list[tuple[str, str]]] = {name: [] for name in self.columns}
        for line, row in self._rows(path, problems):
            if row.get("split", belongs) != split:
                continue
            for name in (*self.columns, *self.optional):
                if row.get(name):
                    cells.setdefault(name, []).append((f"{path}:{line}", row[name]))
                elif name in row and (self.joint or name in self.optional):
                    problems.append(f"{path}:{line}: has no {name}")
        return cells

    def _read_texts(self, split: str, problems: list[str]) -> dict[str, list[tuple[str, str]]]:
        cells = {}
        for column, name in zip(self.columns, self.files, strict=True):
            path = self._path(name, split)
            lines = _text_of(path).splitlines()
            cells[column] = [(f"{path}:{n}", line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
            if split != "train" and _PLACEHOLDER not in name:
                cells[column] = []
        counts = [len(found) for found in cells.values()]
        if self.joint and len(set(counts)) > 1:
            numbers = " and ".join(map(str, counts))
            problems.append(
                f"{' and '.join(self._names(split))}: name {numbers} files, but line by line they are pairs"
            )
        return cells

    def _rows(self, path: Path, problems: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
        """The rows of a CSV, each with its line."""
        reader = csv.reader(_text_of(path).splitlines(), strict=True)
        try:
            header = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in self.columns if name not in header]
            if missing:
                wanted = ",".join((*self.columns, *self.optional))
                raise DataError(
                    f"{path}:1: the header has no column {' and no column '.join(missing)}",
                    [f"expected a first line such as: {wanted}   (and ,split if it holds several)"],
                )
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    problems.append(f"{path}:{reader.line_num}: has {len(cells)} cells, the header {len(header)}")
                    continue
                yield reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: is no CSV: {error}") from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {describe_os_error(error)}", ["lists are named relative to data.root"]) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8") from error


def _wrong_lines(problems: Sequence[str]) -> DataError:
    if len(problems) == 1:
        return DataError(problems[0], ["paths are relative to data.root"])
    return DataError(f"{len(problems)} lines of data.files cannot be used", first_of(problems, SHOWN))
