"""Bundles from strangers and from failing disks: an error of one line, no memory, no code, within seconds."""

import copy
import json
import struct
import sys
from collections.abc import Callable
from typing import Annotated

import pytest
import torch
from torch import nn

from i2i.cli import main
from i2i.core.errors import CheckpointError, ConfigError
from i2i.core.files.tensor_files import MAX_HEADER
from i2i.core.registry import GENERATORS, Nested
from i2i.inference.bundle.bundle import load_bundle, read_info
from i2i.inference.bundle.files import read_state
from i2i.run.experiment import Experiment
from tests.bundles import REPOSITORY, make_bundle
from tests.core.files.hostile_pickles import equal, frugal
from tests.core.files.test_torch_files import damages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits address space")
HUGE = 10**9
ESCAPE = "\x1b]0;owned\x07\x1b[2J"
LAYER = "networks", "G", "arguments"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model.safetensors")


def parts(path):
    """Returns a bundle's header, metadata as plain data, and the bytes of its tensors."""
    data = path.read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    metadata = {key: json.loads(value) for key, value in header["__metadata__"].items() if key != "sha256"}
    return header, metadata, data[8 + length :]


def assemble(path, header, metadata, content, **raw):
    header["__metadata__"] = {key: json.dumps(value) for key, value in metadata.items()} | raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def put(target, path, value):
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value


def deep(count):
    value = []
    for _ in range(count):
        value = [value]
    return value


HUGE_NUMBERS = [HUGE, 10**12, 2**63, 10**30, -1, 0, 1e308, float("nan"), float("inf"), True]
ODD_VALUES = [*HUGE_NUMBERS, None, "", "x" * 1000, ESCAPE, [], {}, [HUGE], {"type": "resnet"}, deep(20)]
ARGUMENTS = ["in_channels", "out_channels", "base_channels", "num_blocks", "norm", "dropout", "padding", "upsample"]
METADATA = {
    **{f"argument {name}={str(value)[:12]!r} {i}": ((*LAYER, name), value) for name in ARGUMENTS
       for i, value in enumerate(ODD_VALUES)},
    **{f"{name}={str(value)[:12]!r} {i}": ((name,), value) for i, value in enumerate(ODD_VALUES) for name in
       ("networks", "directions", "channels", "pipeline", "norm_policy", "dropout_policy", "format")},
    **{f"{name}={value!r}": ((name,), value) for name in ("step", "seed") for value in (-1, 1e308, "x", [], None)},
    "seed": (("seed",), 2**64),
    "size": (("size",), ["x"]),
    "channels of a": (("channels", "a"), HUGE),
    "many channels of a": (("channels", "a"), 10**400),
    "an argument too deep": (LAYER, {"x": deep(60)}),
    "too deep for json": (("config",), deep(900)),
    "a short direction": (("directions",), {"x": "a2b"}),
    "no direction": (("directions",), {"": "a2b"}),
    "a direction for a shell": (("directions",), {"a2b; touch pwned": "a2b"}),
    "owner": (("networks", "G", "owner"), {"distribution": 5}),
    "owner's file": (("networks", "G", "owner"), {"file": "x.py"}),
    "owner's digest": (("networks", "G", "owner"), {"file": "../../x.py", "sha256": "0" * 64}),
    "pipeline's owner": (("pipeline_owner",), {"file": "x.py"}),
    "kind of a list": (("networks", "G", "kind"), []),
    "another kind": (("networks", "G", "kind"), "loss"),
    "a nested loss": (("networks", "G", "nested"), [{"kind": "loss", "type": "perceptual", "owner": {}}]),
    "another component": (("networks", "G", "type"), "unet"),
    "a module": (("networks", "G", "type"), "os:system"),
    "a path": (("networks", "G", "type"), "../../evil"),
    "nested": (("networks", "G", "nested"), 5),
    "nested of odd": (("networks", "G", "nested"), [5]),
    "nested unknown": (("networks", "G", "nested"), [{"kind": "generator", "type": "evil", "owner": {}}]),
    "escapes": (("networks", "G", "type"), ESCAPE),
    "shell": (("networks", "G"), {"kind": "generator", "type": "evil", "arguments": {}, "owner":
              {"distribution": "x; touch pwned", "version": "1"}}),
    "a letter": (("networks", ESCAPE), {"kind": "generator", "type": "resnet", "arguments": {}, "owner": {}}),
    "domain": (("domains", "a"), {"kind": "os.system"}),
    "domain of nothing": (("domains", "a"), {"kind": []}),
    "depth": (("domains", "a"), {"kind": "image", "channels": HUGE, "depth": HUGE}),
    "labels": (("domains", "a"), {"kind": "labels", "classes": [{"id": HUGE, "name": "x", "colour": [0, 0, 0]}]}),
    "colour": (("domains", "a"), {"kind": "labels", "classes": [{"id": 0, "name": "x", "colour": [HUGE] * 3}]}),
    "pool": (("pipeline", "pool_size"), -HUGE),
    "unknown": (("pipeline", "unknown"), 1),
}  # fmt: skip


def refused(path, most=1000):
    """Loads a bundle, which must fail at once and say where in one short, printable line."""
    with frugal(seconds=30), pytest.raises(CheckpointError) as error:
        load_bundle(path)
    message, *_ = str(error.value).splitlines()
    assert message.startswith(str(path)) and "MemoryError" not in message
    assert len(message) < most and "\x1b" not in str(error.value)
    return str(error.value)


# Twenty thousand layers are built before there are too many.
DEEPEST = [
    case for case in METADATA if METADATA[case][0][-1:] == ("num_blocks",) and METADATA[case][1] in HUGE_NUMBERS[:4]
]


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in DEEPEST else case for case in METADATA]
)
def test_hostile_metadata(bundle, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    header, metadata, content = parts(bundle)
    before = copy.deepcopy(metadata)
    put(metadata, *METADATA[case])
    path = assemble(tmp_path / "x.safetensors", header, metadata, content)
    try:
        info, pipeline = load_bundle(path)
    except CheckpointError:
        message = refused(path)
        assert "pip install x;" not in message
    else:  # what means the same, such as True for 1, or is made up for by a default, is no harm
        assert info.networks.keys() == before["networks"].keys()
        names = {name for name in pipeline.state_dict() if name.startswith("members.")}
        assert names == {f"members.{name}" for name in header if name != "__metadata__"}
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


TENSOR = "G.layers.0.weight"


def tensors(change):
    def changed(header, metadata, content):
        name = next(name for name in header if name.startswith("G.") and len(header[name]["shape"]) == 4)
        return change(header, header[name], content) or content

    return changed


HEADERS = {
    "shape": tensors(lambda h, t, c: t.update(shape=[HUGE, HUGE])),
    "shape beyond 64 bits": tensors(lambda h, t, c: t.update(shape=[2**63, 2**63])),
    "negative": tensors(lambda h, t, c: t.update(shape=[-1])),
    "dims": tensors(lambda h, t, c: t.update(shape=[1] * 100_000)),
    "other shape": tensors(lambda h, t, c: t.update(shape=t["shape"][::-1])),
    "flat": tensors(lambda h, t, c: t.update(shape=[(t["data_offsets"][1] - t["data_offsets"][0]) // 4])),
    "overlap": tensors(lambda h, t, c: t.update(data_offsets=[0, t["data_offsets"][1] - t["data_offsets"][0]])),
    "range": tensors(lambda h, t, c: t.update(data_offsets=[10**12, 10**12 + 4])),
    "backwards": tensors(lambda h, t, c: t.update(data_offsets=t["data_offsets"][::-1])),
    "integers": tensors(lambda h, t, c: t.update(dtype="I32")),
    "unknown type": tensors(lambda h, t, c: t.update(dtype="F31")),
    "float8": tensors(lambda h, t, c: t.update(dtype="F8_E4M3", shape=[*t["shape"], 4])),
    "unsigned": tensors(lambda h, t, c: t.update(dtype="U32")),
    "complex": tensors(lambda h, t, c: t.update(dtype="C64", shape=[t["shape"][0] // 2, *t["shape"][1:]])),
    "double": tensors(lambda h, t, c: t.update(dtype="F64", shape=[t["shape"][0] // 2, *t["shape"][1:]])),
    "missing": tensors(lambda h, t, c: h.pop(next(n for n in h if n.startswith("F."))) and c),
    "hole": tensors(lambda h, t, c: c + b"\0" * 8),
    "cut": tensors(lambda h, t, c: c[:-1]),
    "nothing": tensors(lambda h, t, c: b"\0"),
    "unexpected": tensors(lambda h, t, c: h.update({"G.x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}})),
}


@pytest.mark.parametrize("case", HEADERS)
def test_hostile_headers(bundle, tmp_path, case):
    header, metadata, content = parts(bundle)
    content = HEADERS[case](header, metadata, content)
    refused(assemble(tmp_path / "x.safetensors", header, metadata, content))


def test_many_tensors_are_no_harm(bundle, tmp_path):
    header, metadata, content = parts(bundle)
    header |= {f"G.x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(30_000)}
    refused(assemble(tmp_path / "x.safetensors", header, metadata, content))


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 1000 + "]" * 1000, "9" * 5000, '"\\ud800', "", "{", "NaN", "5"])
def test_hostile_json(bundle, tmp_path, text):
    header, metadata, content = parts(bundle)
    del metadata["networks"]
    refused(assemble(tmp_path / "x.safetensors", header, metadata, content, networks=text))


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1, 99_000_000, MAX_HEADER + 8])
def test_headers_of_another_length(bundle, tmp_path, length):
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + bundle.read_bytes()[8:])
    refused(path)


def test_a_header_of_megabytes_is_not_read(bundle, tmp_path):
    header, metadata, content = parts(bundle)
    metadata["name"] = "x" * MAX_HEADER
    path = assemble(tmp_path / "x.safetensors", header, metadata, content)
    assert "bytes, more than" in refused(path)


def test_a_header_that_is_too_deep_for_its_reader(bundle, tmp_path):
    path = tmp_path / "x.safetensors"
    text = b'{"a":' * 100_000
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    refused(path, most=10_000)


def test_other_types_of_floating_point_become_ours(bundle, tmp_path):
    header, metadata, _ = parts(bundle)
    state = read_state(bundle, "G"), read_state(bundle, "F")
    from safetensors.torch import save_file

    saved = {f"{letter}.{n}": t.double() for letter, own in zip("GF", state, strict=True) for n, t in own.items()}
    save_file(saved, tmp_path / "x.safetensors", {key: json.dumps(value) for key, value in metadata.items()})
    _, pipeline = load_bundle(tmp_path / "x.safetensors")
    loaded = pipeline.members["G"].state_dict()
    assert equal({name: loaded[name] for name in state[0]}, state[0])


class Greedy(nn.Module):
    """A plugin's network that needs numbers while it is built, and computes a buffer that is not saved."""

    def __init__(self, in_channels: int, out_channels: int, width: int = 2, table: int = 4, layers: int = 1) -> None:
        super().__init__()
        steps = [step.item() for step in torch.linspace(0, 1, 3)]
        self.register_buffer("table", torch.ones(1).expand(table) * steps[2], persistent=False)
        self.out = nn.Conv2d(in_channels, out_channels, 1)
        self.wide = nn.Linear(width, width)
        self.more = nn.ModuleList(nn.Identity() for _ in range(layers))

    def forward(self, x):
        return self.out(x) * self.table[0]


@pytest.fixture
def greedy(tmp_path):
    GENERATORS.register("greedy")(Greedy)
    yield make_bundle(tmp_path / "greedy.safetensors", "pix2pix", "generator={type: greedy}")
    del GENERATORS._local["greedy"]


@pytest.mark.parametrize("argument", [{"width": 10_000}, {"width": 10**5}, {"table": 10**8}, {"layers": 10**9}])
def test_networks_that_need_numbers_are_no_larger_than_the_file(greedy, tmp_path, argument):
    load_bundle(greedy)
    header, metadata, content = parts(greedy)
    metadata["networks"]["G"]["arguments"] |= argument
    refused(assemble(tmp_path / "x.safetensors", header, metadata, content))


class Judging(nn.Module):
    """A plugin's generator with a component of another kind within."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        loss: Annotated[Callable[..., nn.Module] | None, Nested("loss")] = None,
    ) -> None:
        super().__init__()
        self.out = nn.Conv2d(in_channels, out_channels, 1)
        self.loss = loss() if loss is not None else None

    def forward(self, x):
        return self.out(x)


@pytest.mark.parametrize("place", ["network", "nested", "unlisted"])
def test_nothing_but_networks_is_built(bundle, tmp_path, monkeypatch, place):
    monkeypatch.setattr("i2i.losses.perceptual.Perceptual.__init__", lambda *_, **__: pytest.fail("was built"))
    GENERATORS.register("judging")(Judging)
    try:
        path = make_bundle(tmp_path / "judging.safetensors", "pix2pix", "generator={type: judging}")
        load_bundle(path)
        header, metadata, content = parts(path)
        spec = metadata["networks"]["G"]
        if place == "network":
            spec |= {"kind": "loss", "type": "perceptual", "arguments": {}}
        else:
            spec["arguments"]["loss"] = {"type": "perceptual"}
            inner = {"kind": "loss", "type": "perceptual", "owner": {"distribution": "i2i", "version": "0"}}
            spec["nested"] = [inner] if place == "nested" else []
        message = refused(assemble(tmp_path / "x.safetensors", header, metadata, content))
        assert place != "unlisted" or "a bundle holds networks alone, and G asks for a loss" in message
    finally:
        del GENERATORS._local["judging"]


def test_damage_anywhere_is_found_or_changes_nothing(bundle, tmp_path):
    path, found = tmp_path / "x.safetensors", 0
    info, pipeline = load_bundle(bundle)
    for damaged in damages(bundle.read_bytes(), 100, seed=2):
        path.write_bytes(damaged)
        try:
            other_info, other = load_bundle(path)
        except CheckpointError:
            found += 1
        else:
            assert other_info == info and equal(dict(other.state_dict()), dict(pipeline.state_dict()))
    assert found > 150


def test_the_checksum_is_optional_and_the_file_reproducible(bundle, tmp_path):
    header, metadata, content = parts(bundle)
    old = assemble(tmp_path / "old.safetensors", header, metadata, content)
    info, pipeline = load_bundle(old)  # as i2i 0.3 and before wrote it
    assert info == read_info(bundle)
    again = make_bundle(tmp_path / "again.safetensors")
    assert again.read_bytes() == bundle.read_bytes()
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(data)
    assert "flipped.safetensors: the bundle's checksum is wrong" in refused(tmp_path / "flipped.safetensors")
    assert "do not fit" not in refused(tmp_path / "flipped.safetensors")


def test_a_bundle_never_runs_a_plugin_file(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('pwned', 'w')")
    header, metadata, content = parts(bundle)
    metadata["config"]["plugins"] = [str(tmp_path / "evil.py"), "./evil.py"]
    load_bundle(assemble(tmp_path / "x.safetensors", header, metadata, content))
    metadata["networks"]["G"]["owner"] = {"file": "evil.py; id", "sha256": "0" * 64}
    assert "--plugin 'path/to/evil.py; id'" in refused(assemble(tmp_path / "x.safetensors", header, metadata, content))
    assert not (tmp_path / "pwned").exists()


HOSTILE_IN_YAML = {
    "huge": ((*LAYER, "base_channels"), HUGE),
    "deep": ((*LAYER, "num_blocks"), HUGE),
    "wide": ((*LAYER, "base_channels"), 4096),
    "odd": ((*LAYER, "num_blocks"), [1]),
    "unknown": (("networks", "G", "type"), "evil"),
    "escape": (("networks", "G", "type"), ESCAPE),
    "gone": (("networks",), {}),
    "owner": (("networks", "G", "owner"), {"file": "x.py"}),
    "format": (("format",), 5),
}


def refused_in_yaml(*overrides):
    with frugal(seconds=30), pytest.raises((ConfigError, CheckpointError)) as error:
        Experiment.load(REPOSITORY / "configs/tiny/cyclegan.yaml", overrides).build_pipeline()
    message = str(error.value)
    assert "\x1b" not in message and len(message) < 3000
    return error.value, message


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case == "deep" else case for case in HOSTILE_IN_YAML]
)
def test_hostile_bundles_in_a_yaml_have_a_place(bundle, tmp_path, case):
    header, metadata, content = parts(bundle)
    put(metadata, *HOSTILE_IN_YAML[case])
    path = assemble(tmp_path / "x.safetensors", header, metadata, content)
    error, message = refused_in_yaml(f"generator={{bundle: {path}}}")
    assert isinstance(error, ConfigError) and message.startswith("<command line> generator")


@pytest.mark.parametrize("key", ["init_from={}", "generator={{bundle: {}}}"])
def test_damaged_bundles_in_a_yaml_are_named(bundle, tmp_path, key):
    path = tmp_path / "x.safetensors"
    data = bundle.read_bytes()
    override = key.format(path)
    shape = ["generator.base_channels=4", "generator.num_blocks=1"] if key.startswith("init") else []
    path.write_bytes(data[:-1])
    error, message = refused_in_yaml(*shape, override)
    assert isinstance(error, ConfigError) and message.startswith("<command line> ")
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    error, message = refused_in_yaml(*shape, override)  # weights are read when the run begins
    assert "checksum is wrong" in message and str(path) in message


def test_what_starts_from_a_bundle_is_built_by_the_yaml(bundle):
    """The arguments in the bundle build nothing there; its shapes are compared."""
    error, message = refused_in_yaml("generator.base_channels=4096", f"init_from={bundle}")
    assert isinstance(error, ConfigError) and message.startswith("<command line> init_from: the weights of G")


def test_translate_says_it_in_two_lines_at_most(bundle, tmp_path, capsys):
    header, metadata, content = parts(bundle)
    metadata["networks"]["G"]["type"] = ESCAPE
    path = assemble(tmp_path / "x.safetensors", header, metadata, content)
    assert main("translate", [str(path), str(tmp_path), str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert "\x1b" not in shown and len(shown.splitlines()) <= 2 and "Traceback" not in shown
