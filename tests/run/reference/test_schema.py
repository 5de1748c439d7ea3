"""The schema agrees with the loader: it takes every good document, and refuses the bad ones that one file can show."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from i2i.cli import main
from i2i.core.config.document import load_config, parse
from i2i.core.errors import ConfigError
from i2i.core.registry import GENERATORS, PIPELINES
from i2i.run.checks import FRAMEWORK_KEYS
from i2i.run.reference.schema import KEYS, config_schema
from tests.conftest import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
BAD = sorted((REPOSITORY / "tests/bad_configs").glob("*.yaml"))
GOOD = """
pipeline: {type: cyclegan}
generator: {type: resnet, num_blocks: 1}
discriminator: {type: patchgan}
losses: {adversarial: {type: lsgan}, cycle: [{type: l1, weight: 10}, {type: charbonnier}]}
data: {type: synthetic, workers: auto, direction: b2a}
trainer: {steps: 1}
"""
# What a message looks like where keys, types, choices or names are wrong, which a schema can know.
STRUCTURAL = re.compile(
    r": (unknown (key|role)|expected |no \w+ is named|needs '|the \w+ has no 'type'|the role '\w+' has no loss"
    r"|the trainer needs|'\w+' is not (an adversarial loss|a loss that compares))"
)


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(config_schema(plugins=False, warn=pytest.fail))


def problems(validator: jsonschema.Draft7Validator, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def changed(changes: str) -> Any:
    """The good document with other values for some of its keys."""
    return parse(GOOD, "good").plain() | parse(changes, "changes").plain()


def test_it_is_a_schema(validator: jsonschema.Draft7Validator) -> None:
    jsonschema.Draft7Validator.check_schema(validator.schema)
    assert set(KEYS) == {"extends", *FRAMEWORK_KEYS}
    # What the YAML language server refuses of a schema, beyond the letter of draft 7.
    assert not re.search(r'"(enum|allOf|anyOf)": \[\]', json.dumps(validator.schema))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_takes_every_shipped_document(path: Path, validator: jsonschema.Draft7Validator) -> None:
    assert problems(validator, parse(path.read_text(), str(path)).plain()) == []
    assert problems(validator, load_config(path).plain()) == []


def test_bad_documents_of_both_kinds_were_found() -> None:
    structural = [path for path in BAD if STRUCTURAL.search(path.read_text().splitlines()[0])]
    assert len(structural) > 20
    assert len(BAD) - len(structural) > 10


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_it_refuses_what_is_structurally_wrong(path: Path, validator: jsonschema.Draft7Validator) -> None:
    """Ranges, what needs two files or the network itself to be known, and bad YAML are left to the loader."""
    try:
        document = parse(path.read_text(), str(path)).plain()
    except ConfigError:
        return  # an editor's YAML parser tells
    found = problems(validator, document)
    with contextlib.suppress(ConfigError):
        found += problems(validator, load_config(path).plain())
    assert found or not STRUCTURAL.search(path.read_text().splitlines()[0])


@pytest.mark.parametrize(
    "changes",
    [
        "{}",
        "generator: {type: unet, dropout: 0}",  # an integer is a number
        "data: {type: paired, root: x, load_size: [286, 512], crop_size: null}",
        "data: {type: paired, root: x, transforms: [{type: Resize, height: 8, width: 8}]}",
        "optimizer: {type: adam, betas: [0, 0.9], discriminator: {lr: 1.0e-4}}",
        "optimizer: {generator: {type: adam}, discriminator: {type: sgd, momentum: 0.9}}",
        "discriminator: {type: multiscale, discriminator: {type: patchgan, num_layers: 2}}",
        "discriminator: {type: multiscale, num_scales: 2, discriminator: null}",
        "schedule: {type: multistep, milestones: [1, 2]}",
        "generator: {type: resnet, frozen: true}\ninit_from: runs/x/001",
        "generator: {bundle: runs/x/001, frozen: true}",
        "validation: {every: 10, count: null, best: psnr, metrics: [psnr, {type: ssim}], data: {root: x}, split: test}",
        "validation: {metrics: l1}",
        "format: 1",
        "plugins: [./mine.py]",
    ],
)
def test_it_takes(changes: str, validator: jsonschema.Draft7Validator) -> None:
    assert problems(validator, changed(changes)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("generatr: {type: resnet}", r"\$: Additional .* 'generatr'|'generatr'"),
        ("generator: {type: resnet, num_blocks: 1.5}", r"\$\.generator\.num_blocks: 1.5 is not of type 'integer'"),
        ("generator: {num_blocks: 1}", r"\$\.generator: 'type' is a required"),
        ("generator: resnet", r"\$\.generator: 'resnet' is not of type 'object'"),
        (
            "discriminator: {type: multiscale, discriminator: {num_layers: 2}}",
            r"discriminator\.discriminator: 'type' is",
        ),
        ("discriminator: {type: multiscale, discriminator: {type: patchgan, layers: 2}}", "'layers'"),
        ("discriminator: {type: multiscale, discriminator: 3}", r"\$\.discriminator\.discriminator: 3 is not of type"),
        ("losses: {adversarial: {type: lsgan}, cycle: []}", r"\$\.losses\.cycle: \[\]"),
        ("losses: {adversarial: {type: lsgan}, cycle: [{weight: 1}]}", r"\$\.losses\.cycle\[0\]: 'type' is a required"),
        ("losses: {adversarial: {type: lsgan}, cycle: {type: l1}, reconstruction: {type: l1}}", "'reconstruction'"),
        ("data: {type: paired, root: x, load_size: [1, 2, 3]}", r"\$\.data\.load_size"),
        ("data: {type: synthetic, worker: 2}", "'worker'"),
        ("optimizer: {lr: 1.0e-4}", r"\$\.optimizer: "),
        ("optimizer: {type: adam, encoder: {lr: 1.0e-4}}", "'encoder'"),
        ("generator: {bundle: 3}", r"\$\.generator\.bundle: 3 is not of type 'string'"),
        ("generator: {bundle: x, num_blocks: 3}", "'num_blocks'"),
        ("generator: {type: resnet, frozen: 1}", r"\$\.generator\.frozen: 1 is not of type 'boolean'"),
        ("discriminator: {type: multiscale, discriminator: {type: patchgan, frozen: true}}", "'frozen'"),
        ("validation: {metrics: [pnsr]}", r"\$\.validation\.metrics\[0\]: 'pnsr' is not one of"),
        ("validation: {evry: 3}", "'evry'"),
        ("trackers: [{type: nothing}]", r"\$\.trackers\[0\]\.type: 'nothing' "),
        ("schedule: {type: multistep}", r"\$\.schedule: 'milestones' is a required"),
        ("trainer: {steps: 1, precision: fp64}", r"\$\.trainer\.precision: 'fp64' is not one of"),
        ("name: a/b", r"\$\.name: "),
    ],
)
def test_it_refuses(changes: str, words: str, validator: jsonschema.Draft7Validator) -> None:
    found = problems(validator, changed(changes))
    assert len(found) == 1, found
    assert re.search(words, found[0])


def test_a_document_that_extends_another_may_leave_out_what_that_one_says(
    validator: jsonschema.Draft7Validator,
) -> None:
    def found(text: str) -> list[str]:
        return problems(validator, parse(f"extends: other.yaml\n{text}", "x").plain())

    assert found("generator: {num_blocks: 3}\nlosses: {cycle: {weight: 2}}\ntrainer: {batch_size: 2}") == []
    assert found("pipeline: {type: pix2pix}\nlosses: {reconstruction: {weight: 2}}\nschedule: {type: multistep}") == []
    assert len(found("generator: {num_blocs: 3}")) == 1
    assert len(found("generator: {type: unet, num_blocks: 3}")) == 1  # of a resnet
    assert len(found("pipeline: {type: pix2pix}\nlosses: {cycle: {weight: 2}}")) == 1  # of a cyclegan
    assert len(found("losses: {cycle: [{weight: 2}]}")) == 1  # a list replaces, so its items are whole
    assert len(found("trainer: {batch_sise: 2}")) == 1


def test_hover_texts_and_defaults(validator: jsonschema.Draft7Validator) -> None:
    resnet = validator.schema["definitions"]["generator.resnet"]
    assert resnet["description"].startswith("Shrinks the image")
    assert resnet["properties"]["num_blocks"] == {
        "type": "integer",
        "default": 9,
        "description": "Number of residual blocks.",
    }
    adam = validator.schema["definitions"]["optimizer.adam"]["properties"]
    assert adam["lr"] == {"type": "number", "default": 0.001}  # without torch's Tensor
    assert adam["betas"] == {
        "type": "array",
        "items": [{"type": "number"}, {"type": "number"}],
        "additionalItems": False,
        "minItems": 2,
        "maxItems": 2,
        "default": [0.9, 0.999],
    }
    synthetic = validator.schema["definitions"]["dataset.synthetic"]["properties"]
    assert synthetic["direction"]["enum"] == ["a2b", "b2a"]


def test_what_plugins_bring_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        """Mine.

        Args:
            width: How wide.
        """

        def __init__(self, in_channels: int, out_channels: int, *, width: int) -> None:
            raise AssertionError("never built")

    monkeypatch.setattr(GENERATORS, "_local", {})
    monkeypatch.setattr(PIPELINES, "_builtin", PIPELINES._builtin | {"gone": "i2i.nowhere:Gone"})
    GENERATORS.register("mine", owner="mine.py")(Mine)
    warnings: list[str] = []
    validator = jsonschema.Draft7Validator(config_schema(warn=warnings.append))
    assert len(warnings) == 1
    assert "pipeline 'gone' of i2i cannot be imported" in warnings[0]
    assert problems(validator, changed("generator: {type: mine, width: 3}")) == []
    found = problems(validator, changed("generator: {type: mine, wide: 3}"))
    assert len(found) == 2
    assert any("'width' is a required" in line for line in found)
    assert any("('wide' was unexpected)" in line for line in found)
    assert problems(validator, changed("pipeline: {type: gone}\nanything: {type: else}")) == []
    builtin = jsonschema.Draft7Validator(config_schema(plugins=False))
    assert len(problems(builtin, changed("generator: {type: mine, width: 3}"))) == 1


def test_the_shipped_schema_is_up_to_date() -> None:
    shipped = json.loads((REPOSITORY / "docs/config.schema.json").read_text())
    assert shipped == config_schema(plugins=False), (
        "run: python tools/schema.py --no-plugins --out docs/config.schema.json"
    )


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("schema", ["--no-plugins"]) == 0
    printed = capsys.readouterr().out
    assert main("schema", ["--no-plugins", "--out", str(tmp_path / "x.json")]) == 0
    assert (tmp_path / "x.json").read_text() == printed
    assert json.loads(printed)["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert main("schema", ["--out", str(tmp_path / "nowhere/x.json")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/nowhere/x.json: cannot be written: No such file or directory\n"
