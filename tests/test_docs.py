"""The documentation keeps its promises: YAML is checked, options exist, links and names lead somewhere.

A comment before a fenced block says what it is: ``<!-- file: NAME -->`` for a whole file that lies in the root of a
checkout, ``<!-- over: CONFIG -->`` for a fragment that extends a shipped YAML. Other YAML may only show ``data``.
"""

import argparse
import importlib
import json
import re
import shlex
import sys
from functools import reduce
from pathlib import Path

import pytest
import yaml

from i2i.cli import COMMANDS, main
from i2i.core.config.document import load_config, parse
from i2i.core.registry import REGISTRIES
from i2i.data.known.sources import SOURCES
from i2i.run.checks import make_data
from i2i.run.experiment import Experiment
from i2i.run.reference.interchange import choices, combinations, table
from i2i.run.reference.schema import config_schema
from tests.bundles import make_bundle, make_image
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
FENCE = re.compile(r"(?:^<!-- (file|over): (\S+) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(page, *match) for page, text in PAGES.items() for match in FENCE.findall(text)]
WITHOUT_CODE = {page: re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.M | re.S) for page, text in PAGES.items()}
# The flags of pytorch-CycleGAN-and-pix2pix at 2a7afba: options/*.py and what models and data sets add.
FLAGS = """
aspect_ratio batch_size beta1 checkpoints_dir continue_train crop_size dataroot dataset_mode direction display_freq
display_winsize epoch epoch_count eval gan_mode init_gain init_type input_nc lambda_A lambda_B lambda_L1 lambda_identity
load_iter load_size lr lr_decay_iters lr_policy max_dataset_size model model_suffix n_epochs n_epochs_decay n_layers_D
name ndf netD netG ngf no_dropout no_flip no_html norm num_test num_threads output_nc phase pool_size preprocess
print_freq results_dir save_by_iter save_epoch_freq save_latest_freq serial_batches suffix update_html_freq use_wandb
verbose wandb_project_name
"""
TINY = """generator.base_channels=4 discriminator.base_channels=4 trainer.steps=1 data.length=4 trainer.sample_count=1
          data.paired=true""".split()


def blocks(language, kind=None):
    """Page, kind, name and text of the fenced blocks of a language, and of a kind where one is given."""
    return [
        (page, of, name, text)
        for page, of, name, found, text in BLOCKS
        if found == language and (kind is None or of == kind)
    ]


def commands():
    """Page and words of each command line."""
    lines = []
    for page, _, _, text in blocks("bash"):
        for line in re.sub(r" *\\\n *", " ", text).splitlines():
            lines.append((page, shlex.split(line, comments=True)))
    return [(page, words) for page, words in lines if words]


def tool_lines():
    """Page, command and arguments of the lines that run a command of this package."""
    found = []
    for page, words in commands():
        place = next((i for i, word in enumerate(words) if re.fullmatch(r"tools/\w+\.py", word)), None)
        if place is not None:
            found.append((page, Path(words[place]).stem, words[place + 1 :]))
        elif words[0] == "i2i":
            found.append((page, words[1].replace("-", "_"), words[2:]))
    return found


def parsed(command, arguments):
    module = importlib.import_module(f"i2i.cli.{command}")
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    module.add_arguments(parser)
    return parser.parse_intermixed_args(arguments)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder like the root of a checkout, with a page's files; the working directory."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    monkeypatch.chdir(tmp_path)

    def write(page):
        for of, kind, name, _, text in BLOCKS:
            if of == page and kind == "file":
                (tmp_path / name).write_text(text)
                if name.startswith("draw_"):  # files that others of the page read
                    exec(compile(text, name, "exec"), {})
        return tmp_path

    for registry in REGISTRIES.values():
        monkeypatch.setattr(registry, "_local", dict(registry._local))
    monkeypatch.setattr("i2i.core.plugins._LOADED", {})
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:  # the page's files, so that another test runs them anew
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def test_blocks_were_found():
    assert {"index.md", "pipelines/pix2pix.md", "howto/from-the-original.md", "reference.md"} <= PAGES.keys()
    assert len(blocks("yaml", "file")) >= 5 and len(blocks("yaml", "over")) >= 12
    assert {command for _, command, _ in tool_lines()} >= {"train", "translate", "components", "report", "prepare_data"}


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_is_seen(page):
    """A comment that is not recognised would leave its block unchecked."""
    text = PAGES[page]
    assert text.count("<!-- file:") + text.count("<!-- over:") == sum(p == page and bool(of) for p, of, *_ in BLOCKS)


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, _, name, _ in blocks("yaml", "file")])
def test_whole_documents_are_good(page, name, checkout):
    Experiment.load(checkout(page) / name)


@pytest.mark.parametrize(("page", "kind", "base", "text"), blocks("yaml", "over"))
def test_fragments_are_good(page, kind, base, text, checkout):
    folder = checkout(page)
    if "weights/" in text:  # found, and not read: losses are built without memory
        (folder / "weights").mkdir()
        (folder / "weights/vgg16.safetensors").touch()
    if "runs/" in text:
        (folder / "runs/cyclegan/001").mkdir(parents=True)
        wide = ["generator.base_channels=8", "generator.num_blocks=2"]  # as in the tiny config
        make_bundle(folder / "runs/cyclegan/001/model.safetensors", "cyclegan", *wide)
    (folder / "fragment.yaml").write_text(f"extends: {base}\n{text}")
    Experiment.load(folder / "fragment.yaml")


@pytest.mark.parametrize(("page", "kind", "name", "text"), [block for block in blocks("yaml") if not block[1]])
def test_data_sets_are_good(page, kind, name, text):
    for part in re.split(r"^(?=data:)", text, flags=re.MULTILINE):  # a block may show several
        if part:
            root = parse(part, page)
            assert [key for key, _ in root.items()] == ["data"], "mark what is more than data"
            make_data(root)


@pytest.mark.parametrize(("page", "kind", "name", "text"), [block for block in blocks("python") if not block[1]])
def test_python_runs(page, kind, name, text, checkout):
    make_image(checkout(page) / "photo.jpg")
    exec(compile(text, page, "exec"), {})


def test_the_plugins_of_the_pages_do_what_they_say(checkout):
    folder = checkout("howto/own-metric-or-tracker.md")
    assert main("train", ["to_csv.yaml", "--out", "csv", *TINY, "data.size=32", "trainer.log_every=1"]) == 0
    logged = json.loads((folder / "csv/log.jsonl").read_text())
    header, row = (folder / "log.csv").read_text().splitlines()
    assert header == "step,value" and row.startswith("1,")
    assert float(row[2:]) == pytest.approx(logged["cycle_x"], rel=1e-4)
    assert main("train", ["brightness.yaml", "--out", "metric", *TINY, "data.size=32", "validation.count=2"]) == 0
    assert 0 < json.loads((folder / "metric/log.jsonl").read_text().splitlines()[-1])["val_brightness"] < 1


FEW = ["trainer.images=null", "trainer.steps=2", "trainer.batch_size=4", "trainer.ema=null", "trainer.precision=fp32"]


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("own-pipeline", "smooth"),
        ("own-pipeline", "small_vae"),
        ("own-data-set", "squares"),
        ("own-data-set", "faces"),
    ],
)
def test_the_plugins_built_from_nothing_train_and_are_used(page, name, checkout):
    """Every command of the page that uses the run, as it stands there."""
    folder, page = checkout(f"howto/{page}.md"), f"howto/{page}.md"
    make_image(folder / "photos/one.png", (40, 24))
    used = 0
    for of, words in commands():
        if of == page and words[0] == "i2i" and f"{name}.yaml" in words and "--out" in words:
            assert main("train", [*words[2:], *FEW]) == 0
            run = words[words.index("--out") + 1]
    for of, words in commands():
        if of == page and words[0] == "i2i" and run in words and words[1] != "train":
            if "--plugin" not in words:
                words = [*words, "--plugin", f"{name}.py"]
            assert main(words[1], [*words[2:], "--device", "cpu"]) == 0
            used += 1
    assert used


@pytest.mark.parametrize(("page", "command", "arguments"), tool_lines(), ids=lambda value: str(value)[:60])
def test_options_exist(page, command, arguments):
    assert command in COMMANDS and (REPOSITORY / f"tools/{command}.py").is_file()
    args = parsed(command, arguments)
    if command == "prepare_data":
        assert args.name in SOURCES


def trained():
    """Page, config and overrides of what the pages train, once each."""
    words = [(page, parsed(command, given).arguments) for page, command, given in tool_lines() if command == "train"]
    return sorted({(page, *sorted(arguments, key=lambda word: "=" in word)) for page, arguments in words})


@pytest.mark.parametrize(("page", "config", "overrides"), [(page, config, rest) for page, config, *rest in trained()])
def test_what_is_trained_is_good(page, config, overrides, checkout):
    folder = checkout(page)
    if (folder / config).exists():
        Experiment.load(folder / config, overrides)
    else:
        assert f"plugin {Path(config).parent}" in PAGES[page]  # what `new plugin` writes; its own tests try it


def test_other_programs_are_known_ones():
    programs = {words[0] for _, words in commands()}
    known = ". python python3 pip i2i make torchrun tensorboard srun sbatch for head=$(scontrol"
    assert programs <= set(known.split())
    makefile = (REPOSITORY / "Makefile").read_text()
    texts = " ".join(PAGES.values())
    for target in re.findall(r"`make ([\w-]+)", texts) + [words[1] for _, words in commands() if words[0] == "make"]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("words", [words for _, words in commands() if "torchrun" in words], ids=lambda w: w[-1])
def test_torchrun_takes_its_options(words):
    from torch.distributed.run import get_args_parser

    options = words[words.index("torchrun") + 1 :]
    numbers = ["4" if word == "$SLURM_NNODES" else word for word in options]
    assert get_args_parser().parse_args(numbers).training_script == "tools/train.py"


def anchors(text):
    """As both forges and Python-Markdown make them of plain headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKS = [(page, link) for page, text in WITHOUT_CODE.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)]


@pytest.mark.parametrize(("page", "link"), [(page, link) for page, link in LINKS if "://" not in link])
def test_links_lead_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = ((DOCS / page).parent / path).resolve() if path else DOCS / page
    assert target.is_file() and target.is_relative_to(DOCS)
    if anchor:
        assert anchor in anchors(target.read_text())


def test_every_page_is_in_the_navigation():
    class Loader(yaml.SafeLoader):
        pass

    def leaves(node):
        if isinstance(node, str):
            return [node]
        return [leaf for child in (node.values() if isinstance(node, dict) else node) for leaf in leaves(child)]

    listed = leaves(yaml.load((REPOSITORY / "mkdocs.yml").read_text(), Loader)["nav"])
    assert sorted(listed) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_paths_in_text_exist(page):
    for path in re.findall(r"`((?:i2i|configs|tests|tools|docs|plugins)/[\w./-]+)`", PAGES[page]):
        assert (REPOSITORY / path).exists() or path == "tools/NAME.py", path


@pytest.mark.parametrize("page", ["pipelines/pix2pix.md", "pipelines/cyclegan.md"])
def test_equations_stand_where_the_page_says(page):
    places = re.findall(r"`i2i/([\w/]+)\.py` `([\w.]+)`", PAGES[page])
    assert len(places) >= 8
    for module, name in places:
        if name.endswith(".phases"):
            continue  # of the pipeline as built
        reduce(getattr, name.split("."), importlib.import_module(f"i2i.{module.replace('/', '.')}"))


@pytest.mark.parametrize("pipeline", ["pix2pix", "cyclegan"])
def test_a_run_leaves_what_the_pages_say(pipeline, tmp_path):
    held_out = "validation={split: test, every: 1, count: 1, metrics: [psnr], best: psnr}"
    config = str(REPOSITORY / f"configs/tiny/{pipeline}.yaml")
    assert main("train", [config, "--out", str(tmp_path / "run"), held_out, *TINY]) == 0
    paths = (tmp_path / "run").iterdir()
    left = {re.sub(r"\.tfevents.*", ".tfevents…", path.name) + "/" * path.is_dir() for path in paths}
    for page, absent in (("concepts.md", set()), ("quickstart.md", {"best.safetensors", ".lock"})):
        rows = re.search(r"\| file \| what \|\n.*?\n(?=\n)", PAGES[page], re.DOTALL)[0].splitlines()[2:]
        told = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
        assert told == left - absent
    logged = json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[0])
    named = re.findall(r"`((?:[GF]|D|D_[XY]|cycle|identity)(?:_[a-z_]+)?)`", PAGES[f"pipelines/{pipeline}.md"])
    assert {"G_adversarial"} < set(named) and set(named) <= logged.keys() | {"identity_x", "identity_y"}


def test_every_flag_of_the_original_has_its_row():
    page = PAGES["howto/from-the-original.md"]
    rows = [line for line in page.splitlines() if line.startswith("| `--")]
    told = [flag for row in rows for flag in re.findall(r"`--(\w+)`", row.split(" | ")[0])]
    assert sorted(told) == sorted(FLAGS.split())


def test_the_keys_beside_them_exist():
    import jsonschema

    validator = jsonschema.Draft7Validator(config_schema(plugins=False, warn=pytest.fail))
    page = PAGES["howto/from-the-original.md"]
    overrides = {word for line in page.splitlines() for word in re.findall(r"`([a-z_.]+=[^`]+)`", line)} - {"key=value"}
    assert len(overrides) > 40
    for override in sorted(overrides):
        found = []
        for base in ("cyclegan_horse2zebra", "pix2pix_facades"):
            document = load_config(REPOSITORY / f"configs/{base}.yaml", [override]).plain()
            found.append([error.message for error in validator.iter_errors(document)])
        assert [] in found, (override, found)


def test_the_table_of_what_fits_has_every_part():
    lines = [line for line in PAGES["interchange.md"].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0][2:] == list(choices("loss"))
    possible = {(c.pipeline, f"{c.parts['generator']} + {c.parts['discriminator']}") for c in combinations()}
    assert {tuple(row[:2]) for row in rows[2:]} == possible


@pytest.mark.slow
def test_the_table_of_what_fits_is_up_to_date():
    assert table() in PAGES["interchange.md"]
