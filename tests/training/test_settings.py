import os

import pytest

from i2i.core.errors import ArgumentErrors
from i2i.training.settings import DataSettings


@pytest.mark.parametrize(
    ("cores", "ranks", "expected"), [(16, "1", 8), (4, "1", 4), (16, "4", 4), (2, "8", 1), (64, "8", 8)]
)
def test_loader_processes_share_the_cores_of_the_host(cores, ranks, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert DataSettings().worker_count("cuda") == expected
    assert DataSettings().worker_count("cpu") == 0
    assert DataSettings(workers=3).worker_count("cpu") == 3


@pytest.mark.parametrize("values", [{"cache": -1}, {"workers": -1}, {"timeout": float("nan")}, {"cache": float("nan")}])
def test_what_is_below_nothing_is_refused(values):
    with pytest.raises(ArgumentErrors, match=f"{next(iter(values))} must not be negative"):
        DataSettings(**values)
