"""Shipped configurations, mutated at random, are accepted or refused with a place: never a traceback, never a hang.

The same mutants each time, unless the environment says otherwise: ``I2I_FUZZ_SEED=7`` draws others,
``I2I_FUZZ_EXAMPLES=1000`` more of them for each configuration.
"""

import os
import shutil
import zlib
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from i2i.core.config.document import dump, load_config
from tests.conftest import REPOSITORY
from tests.core.config import config_mutants as mutants
from tests.core.config.config_judge import dry_run, faults

CONFIGS = sorted(path.relative_to(REPOSITORY) for path in (REPOSITORY / "configs").rglob("*.yaml"))
SEED = int(os.environ.get("I2I_FUZZ_SEED", "0"))
LEAST = 2000


def share_of(path: Path) -> int:
    """Returns a weight: a plan of a large CycleGAN takes twenty times as long as one of a tiny Pix2Pix."""
    return 1 if path.parent.name != "tiny" else 6 if path.stem.startswith("pix2pix") else 2


def examples_of(path: Path) -> int:
    """Returns how many mutants a configuration has."""
    return int(os.environ.get("I2I_FUZZ_EXAMPLES", -(-LEAST * share_of(path) // sum(map(share_of, CONFIGS)))))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A copy of all configurations, which is the working directory."""
    shutil.copytree(REPOSITORY / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mutate(rng: Random, path: Path) -> tuple[dict[Path, bytes], list[str]]:
    """Returns files to write beside a configuration, and the words of the command line."""
    text = rng.choice((path.read_text, lambda: dump(load_config(path).plain())))()
    level = rng.choice(("document", "document", "text", "overrides", "extends"))
    if level == "overrides":
        return {}, [str(path), *mutants.overrides(rng, text)]
    if level == "extends":
        files = mutants.chain(rng, text, "mutant.yaml")
    else:
        files = {"mutant.yaml": (mutants.changed_document if level == "document" else mutants.changed_text)(rng, text)}
    return {path.parent / name: data for name, data in files.items()}, [str(path.parent / "mutant.yaml")]


def fuzz(path: Path, examples: int) -> Counter[int]:
    """Judges mutants of a configuration; returns how many ended with which exit code."""
    shipped = {str(path): path.read_bytes() for path in Path("configs").rglob("*.yaml")}
    codes: Counter[int] = Counter()

    @seed(SEED + zlib.crc32(str(path).encode()))
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms())
    def judge(rng: Random) -> None:
        files, words = mutate(rng, path)
        try:
            for file, data in files.items():
                file.write_bytes(data)
            outcome = dry_run(words)
            found = faults(outcome, shipped | {str(file): data for file, data in files.items()})
            assert not found, (found, words, files.get(path.parent / "mutant.yaml", b"")[:3000])
            codes[outcome.code] += 1
        finally:
            for file in files:
                file.unlink()
        assert {str(path) for path in Path().rglob("*") if path.is_file()} == set(shipped)

    judge()
    return codes


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_some_mutants(workplace, count):
    codes = fuzz(Path("configs/tiny/pix2pix.yaml"), count)
    assert codes.total() >= count and codes[0] >= count // 20 and codes[2] > count // 2


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_mutants(path, workplace):
    codes = fuzz(path, examples_of(path))
    assert codes.total() >= examples_of(path) and codes[0] and codes[2]
