import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2i.core.config.document import dump, is_override, load_config, merge, parse, parse_overrides
from i2i.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1E5", 1e5), (".5", 0.5), ("-.5e1", -5.0), ("1.", 1.0), ("+12", 12),
        ("0o17", 15), ("0x1F", 31),
        ("010", 10), ("true", True), ("false", False), ("yes", "yes"), ("on", "on"), ("True", "True"), ("null", None),
        ("~", None), ("", None), ("1_000", "1_000"), ("2001-01-01", "2001-01-01"), ("12:30", "12:30"),
        (".inf", math.inf),
        ("-.inf", -math.inf), ("'1'", "1"), ("1e", "1e"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_of_yaml_1_2(text, value):
    parsed = parse(f"x: {text}", "f").plain()["x"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_nodes_know_their_line():
    root = parse("a: 1\nb:\n  c:\n    - x\n    - y: 2\n", "f.yaml")
    assert root.find(("b", "c", 1, "y")).place == "f.yaml:5"
    assert root.find(("b", "c", 1, "y")).path == ("b", "c", 1, "y")
    assert root.problem("wrong", "b", "missing").place == "f.yaml:2"
    assert str(root.problem("wrong", "b", "missing")) == "f.yaml:2 b.missing: wrong"


def test_a_node_whose_type_changes_is_replaced_whole():
    base = parse("g: {type: resnet, num_blocks: 9}\nd: {lr: 1}", "base")
    over = parse("g: {type: unet, depth: 3}\nd: {type: sgd}", "over")
    assert merge(base, over).plain() == {"g": {"type": "unet", "depth": 3}, "d": {"lr": 1, "type": "sgd"}}
    same = parse("g: {type: resnet, norm: batch}", "over")
    assert merge(base, same).plain()["g"] == {"type": "resnet", "num_blocks": 9, "norm": "batch"}


def test_lists_replace():
    assert merge(parse("x: [1, 2]", "a"), parse("x: [3]", "b")).plain() == {"x": [3]}


def test_extends_chains_and_keeps_places(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("x: {p: 1, q: 1}\ny: a\n")
    (tmp_path / "sub/b.yaml").write_text("extends: ../a.yaml\nx: {q: 2}\nplugins: [./blocks.py]\n")
    (tmp_path / "c.yaml").write_text("extends: sub/b.yaml\n\nz: 3\n")
    root = load_config(tmp_path / "c.yaml")
    plugin = str(tmp_path / "sub/blocks.py")  # relative to the YAML that names it
    assert root.plain() == {"x": {"p": 1, "q": 2}, "y": "a", "plugins": [plugin], "z": 3}
    assert root.find(("x", "p")).place.endswith("a.yaml:1")
    assert root.find(("x", "q")).place.endswith("b.yaml:2")


def test_overrides_in_any_order():
    base = parse("g: {type: resnet, num_blocks: 9}\nlosses: {cycle: [{type: l1}, {type: l2}]}", "f")
    for order in (1, -1):
        arguments = ["g.type=unet", "g.depth=3", "losses.cycle.1.weight=4", "new={a: [1, 2]}"][::order]
        plain = merge(base, parse_overrides(arguments)).plain()
        assert plain["g"] == {"type": "unet", "depth": 3}
        assert plain["losses"]["cycle"] == [{"type": "l1"}, {"type": "l2", "weight": 4}]
        assert plain["new"] == {"a": [1, 2]}


def test_an_override_is_placed_on_the_command_line_and_its_parents_are_not():
    root = merge(parse("g: {type: resnet}", "f"), parse_overrides(["g.depth=3"]))
    assert root.find(("g", "depth")).place == "<command line>"
    assert root.find(("g",)).place == root.place == "f:1"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a", "<command line>: expected key.path=value, got 'a'"),
        ("a=[1", "<command line> a: not valid YAML: "),
        ("l.5=1", "<command line> l.5: the list has 2 items, counted from 0"),
    ],
)
def test_bad_overrides(override, message):
    with pytest.raises(ConfigError) as error:
        merge(parse("l: [1, 2]", "f"), parse_overrides([override]))
    assert str(error.value).startswith(message)


def test_paths_are_no_overrides():
    assert is_override("a.b=1") and is_override("a=") and is_override("losses.cycle.0.weight=1")
    assert not is_override("configs/a.yaml") and not is_override("./x=1.yaml") and not is_override("configs/x=1.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [*x]",
        "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*d,*d]",
        "[" * 5000,
        "a: !!python/object/apply:os.system [ls]",
        "<<: {a: 1}",
        "1: {[1]: 2}",
        "a: 1\n---\nb: 2",
        "\0",
    ],
)
def test_hostile_documents_are_refused(text):
    with pytest.raises(ConfigError) as error:
        parse(text, "f")
    assert str(error.value).startswith("f")


def test_a_text_that_is_no_utf8_is_refused_at_its_line(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: 2\nc: \xff\n")
    with pytest.raises(ConfigError, match=r"x\.yaml:3: not a text file in UTF-8"):
        load_config(tmp_path / "x.yaml")


def test_a_file_without_end_is_not_read_to_it(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"# x\n" * 2**20)
    with pytest.raises(ConfigError, match=r"x\.yaml:1: more than 1,048,576 bytes"):
        load_config(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match=r"/dev/zero:1: more than"):
        load_config("/dev/zero")


@pytest.mark.parametrize("value", ["x" * 5000, "x/" * 5000, ".", "/dev/null", "../" * 50])
def test_extends_that_leads_nowhere_is_refused_at_its_place(tmp_path, value):
    (tmp_path / "x.yaml").write_text(f"a: 1\nextends: {value}\n")
    with pytest.raises(ConfigError, match=r"x\.yaml:2 extends: (no file|cannot be read: )"):
        load_config(tmp_path / "x.yaml")


def test_a_chain_without_end_is_refused(tmp_path):
    for index in range(200):
        (tmp_path / f"{index}.yaml").write_text(f"extends: {index + 1}.yaml\n")
    with pytest.raises(ConfigError, match="extends: more than 50 documents that extend one another"):
        load_config(tmp_path / "0.yaml")


def test_aliases_that_nest_are_as_deep_as_they_stand_for():
    lines = ["a: &a0 [1]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))]
    with pytest.raises(ConfigError, match="an alias that contains itself, or too many values"):
        parse("\n".join(lines), "f")


@pytest.mark.parametrize("index", ["9" * 5000, "2", "99999999999"])
def test_an_index_beyond_a_list_is_refused(index):
    with pytest.raises(ConfigError, match="the list has 2 items, counted from 0"):
        merge(parse("l: [1, 2]", "f"), parse_overrides([f"l.{index}=1"]))


def test_digits_of_other_scripts_are_no_indices():
    assert merge(parse("l: [1, 2]", "a"), parse("l: {'²': 1}", "b")).plain() == {"l": {"²": 1}}


def test_an_override_has_limits_too():
    with pytest.raises(ConfigError, match="<command line> a.a.a: nested too deeply"):
        parse_overrides([".".join("a" * 2000) + "=1"])
    with pytest.raises(ConfigError) as error:
        parse_overrides(["a=[" + "x" * 5000])
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": {3: 1}}, "<config> a: a key must be plain text, got 3"),
        ({"a": [1, 2**64]}, "<config> a.1: a number of more than 64 bits"),
        ({"a": {"b": b"x"}}, "<config> a.b: expected plain data, got bytes"),
    ],
)
def test_a_mapping_is_what_a_document_could_be(config, message):
    with pytest.raises(ConfigError) as error:
        load_config(config)
    assert str(error.value) == message


def test_a_mapping_within_itself_is_refused():
    config = {}
    config["a"] = config
    with pytest.raises(ConfigError, match="<config>: nested too deeply"):
        load_config(config)


def test_a_problem_is_one_printable_line():
    problem = str(parse("x: 1", "f").problem("is \x1b[31m\nred", "a\nb", "y" * 5000, hints=["really\u2028so"]))
    assert problem.splitlines() == ["f:1 a\\nb." + "y" * 57 + "...: is \\x1b[31m\\nred", "    really\\u2028so"]


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
plain_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | text,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(text.filter(lambda key: key != "<<"), children, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(text.filter(lambda key: key not in ("", "<<")), plain_data, max_size=4))
def test_dump_reads_back(data):
    assert parse(dump(data), "f").plain() == (data or {})
