"""What a folder's manifest says about precision."""

import json

import pytest

from i2i.inference.jobs.jobs import Options
from i2i.inference.jobs.manifest import Manifest
from i2i.inference.jobs.precisions import counts_as_done, recorded_precision

OPTIONS = Options("a2b")


def listed(precision, is_calibrated=False, options=OPTIONS):
    return options.deciding(precision, is_calibrated)


def write(path, *lines, bundle="abc"):
    manifest = Manifest(path, bundle, {})
    for number, options in enumerate(lines):
        manifest.options = options
        manifest.append(f"{number}.png", f"{number}.jpg", 1, (4, 3))
    manifest.close()


@pytest.mark.parametrize(
    ("asked", "alike"),
    [("auto", {"fp32", "fp32+", "bf16+"}), ("fp32", {"fp32", "fp32+"}), ("bf16", {"bf16", "bf16+"}), ("fp16", set())],
)
def test_auto_keeps_what_is_near_enough_and_others_what_they_ask_for(asked, alike):
    is_alike = counts_as_done(asked, OPTIONS)
    assert {n for n in ("fp32", "fp32+", "bf16", "bf16+") if is_alike(listed(n.strip("+"), "+" in n))} == alike


@pytest.mark.parametrize(
    "other", [None, [], {}, {**listed("fp32"), "half": "left"}, {**listed("fp32"), "calibrated": 1}, Options("b2a")]
)
def test_other_options_are_other_translations(other):
    other = listed("fp32", options=other) if isinstance(other, Options) else other
    assert not counts_as_done("auto", OPTIONS)(other)
    assert not counts_as_done("fp32", OPTIONS)(other)


def test_the_last_calibration_is_found(tmp_path):
    path = tmp_path / "manifest.jsonl"
    assert recorded_precision(path, "abc", OPTIONS) is None
    write(path, listed("bf16", True), listed("winograd", True), listed("fp32"), listed("bf16"))
    write(path, listed("bf16", True), bundle="other")
    write(path, listed("bf16", True, Options("b2a")))
    assert recorded_precision(path, "abc", OPTIONS) == "winograd"
    assert recorded_precision(path, "abc", Options("a2b", "jpg")) is None
    write(path, listed("fp32", True))
    assert recorded_precision(path, "abc", OPTIONS) == "fp32"


@pytest.mark.parametrize("length", range(65_530, 65_545))
def test_lines_are_found_wherever_blocks_end(length, tmp_path):
    path = tmp_path / "manifest.jsonl"
    write(path, listed("bf16", True))
    first = path.read_bytes()
    path.write_bytes(first + b"x" * (length - len(first)) + b"\n" + first[:30])
    assert recorded_precision(path, "abc", OPTIONS) == "bf16"


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\xff", b'"abc" "calibrated"\n', b'{"options": 3, "calibrated": "abc"}']
)
def test_what_is_no_manifest_records_nothing(content, tmp_path):
    (tmp_path / "m").write_bytes(content)
    assert recorded_precision(tmp_path / "m", "abc", OPTIONS) is None


def test_a_manifest_takes_what_is_alike_as_done(tmp_path):
    write(tmp_path / "m", listed("bf16", True), listed("bf16"))
    manifest = Manifest(tmp_path / "m", "abc", listed("fp32"), counts_as_done("auto", OPTIONS))
    assert manifest.is_done("0.png", "0.jpg", 1)
    assert not manifest.is_done("1.png", "1.jpg", 1)
    manifest.append("1.png", "1.jpg", 1, (4, 3))
    assert manifest.is_done("1.png", "1.jpg", 1)
    assert json.loads((tmp_path / "m").read_text().splitlines()[-1])["options"] == listed("fp32")
