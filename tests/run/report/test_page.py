"""The page as a whole: what it shows, that it loads nothing, that no text acts as markup."""

import base64
import hashlib
import re

import numpy as np
import pytest
from PIL import Image

from i2i.run.report.page import write_report
from i2i.run.report.pictures import Picture
from tests.run.report.pages import read_page, smooth_image, write_log

HOSTILE = "<script>alert(1)</script>\"'&--><img src=x onerror=alert(2)>"
LOG = [{"step": s, "epoch": s / 8, "G_adversarial": 1 / s, "D": 0.5, "images_per_second": 4.0} for s in (2, 4, 8)]


def picture(name="one.jpg", direction="a2b", size=(40, 30), target=True, seed=0, **options):
    before, after, goal = (smooth_image(size, 10 * seed + number) for number in range(3))
    return Picture(direction, name, before, after, goal if target else None, **options)


def test_pictures_are_in_the_page_with_their_pixels(tmp_path):
    small, large = picture("small.png"), picture("large.jpg", "b2a", (1600, 1200), target=False, seed=1)
    page = read_page(write_report(tmp_path, [small, large]))
    for alt, expected in (("before", small.before), ("after, a2b", small.after), ("target", small.target)):
        np.testing.assert_array_equal(page.picture(f"{alt}: small.png"), expected)
    for alt, whole in (("before", large.before), ("after, b2a", large.after)):
        shown = page.picture(f"{alt}: large.jpg").astype(int)
        assert shown.shape == (384, 512, 3)
        expected = np.asarray(Image.fromarray(whole).resize((512, 384), Image.Resampling.BOX)).astype(int)
        assert np.abs(shown - expected).mean() < 2
    assert not [e for e in page.all("img") if e.attributes["alt"] == "target: large.jpg"]
    headings = [e.text for e in page.all("h3", inside=page.section("pictures"))]
    assert headings == ["a2b", "b2a"]


def test_detail_that_png_holds_badly_becomes_a_jpeg(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    page = read_page(write_report(tmp_path, [Picture("a2b", "noise", noise, np.zeros_like(noise))]))
    kinds = {e.attributes["alt"]: e.attributes["src"].partition(";")[0] for e in page.all("img")}
    assert kinds == {"before: noise": "data:image/jpeg", "after, a2b: noise": "data:image/png"}


def test_each_pair_has_a_slider_that_a_keyboard_reaches(tmp_path):
    page = read_page(write_report(tmp_path, [picture("x.png"), picture("y.png")]))
    pairs = page.all("figure", "pair")
    assert len(pairs) == 2
    for pair in pairs:
        (slider,) = page.all("input", inside=pair)
        assert slider.attributes["type"] == "range" and slider.attributes["aria-label"]
        assert "tabindex" not in slider.attributes
        assert len(page.all("img", inside=page.all("div", "compare", pair)[0])) == 2


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_page_says_whether_training_saw_the_images(tmp_path, split):
    text = read_page(write_report(tmp_path, [picture(split=split)])).section("pictures").text
    assert ("Training images." in text) == (split == "train")
    assert ("Images of the test split, which training never saw." in text) == (split == "test")


def test_the_page_loads_nothing(tmp_path):
    write_log(tmp_path, LOG)
    (tmp_path / "samples").mkdir()
    Image.fromarray(smooth_image((60, 40), 0)).save(tmp_path / "samples/step_00000002.png")
    path = write_report(tmp_path, [picture()])
    page, source = read_page(path), path.read_text()
    assert {e.tag for e in page.elements}.isdisjoint({"link", "iframe", "object", "embed", "base", "audio", "video"})
    for element in page.elements:
        for name, value in element.attributes.items():
            if name in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"):
                assert value.startswith(("data:image/", "#")), (element.tag, name, value[:80])
            assert not name.startswith("on"), (element.tag, name)
    style = page.all("style")[0].text
    assert "@import" not in style and "url(" not in style
    assert not re.search(r"https?:|//[a-z]", re.sub(r"data:image/[^\"]*", "", source))
    (script,) = page.all("script")
    assert not script.attributes
    assert not re.search(r"fetch|XMLHttp|import|WebSocket|sendBeacon|eval", script.text)


def test_the_policy_allows_the_one_script_alone(tmp_path):
    page = read_page(write_report(tmp_path))
    (policy,) = [e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(page.all("script")[0].text.encode()).digest()).decode()
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data:"
    assert directives["script-src"] == f"'sha256-{digest}'"


def test_it_is_made_for_phones_and_dark_rooms(tmp_path):
    page = read_page(write_report(tmp_path))
    (viewport,) = [e for e in page.all("meta") if e.attributes.get("name") == "viewport"]
    assert viewport.attributes["content"] == "width=device-width, initial-scale=1"
    style = page.all("style")[0].text
    assert re.search(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{ --paper:", style)
    widths = [float(width) for width in re.findall(r"minmax\(min\(100%, ([\d.]+)rem\)", style)]
    assert widths, "a grid whose columns never outgrow the screen"
    assert not re.search(r"(?<!max-)width: [3-9]\d\dpx", style)


def test_hostile_text_stays_text(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"name: '{HOSTILE.replace(chr(39), chr(39) * 2)}'\npipeline: {{type: '</style><b>'}}\n")
    write_log(tmp_path, [{"step": 1, HOSTILE: 1.0}, {"step": 2, HOSTILE: 2.0}])
    page = read_page(write_report(tmp_path, [picture(HOSTILE, HOSTILE)], notes=[HOSTILE]))
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not [e for e in page.elements if e.tag == "b" or "onerror" in e.attributes]
    assert page.all("title")[0].text == f"{HOSTILE}: report"
    assert page.all("h1")[0].text == HOSTILE
    assert HOSTILE in page.all("ul", "legend")[0].text
    assert HOSTILE in page.all("ul", "notes")[0].text
    assert page.all("figcaption")[0].text == HOSTILE
    assert config.read_text() in page.section("configuration").text


def test_samples_are_first_some_and_last(tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    for step in range(10, 120, 10):
        size = (1000, 500) if step == 110 else (50, 25)
        Image.fromarray(smooth_image(size, step)).save(folder / f"step_{step:08}.png")
    (folder / "step_notes.png").write_bytes(b"not a sample")
    page = read_page(write_report(tmp_path))
    captions = [e.text for e in page.all("figcaption", inside=page.section("samples"))]
    assert captions == ["step 10", "step 30", "step 60", "step 80", "step 110"]
    shown = page.picture("sample grid at step 110").astype(int)
    expected = np.asarray(Image.fromarray(smooth_image((1000, 500), 110)).resize((800, 400))).astype(int)
    assert shown.shape == expected.shape and np.abs(shown - expected).mean() < 2


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_samples_are_all_shown(tmp_path, count):
    (tmp_path / "samples").mkdir()
    for step in range(count):
        Image.fromarray(smooth_image((20, 10), step)).save(tmp_path / f"samples/step_{step:08}.png")
    page = read_page(write_report(tmp_path))
    assert len(page.all("img", inside=page.section("samples"))) == count


def test_an_empty_folder_has_a_report_that_says_what_is_missing(tmp_path):
    page = read_page(write_report(tmp_path))
    notes = [e.text for e in page.all("li", inside=page.all("ul", "notes")[0])]
    assert notes == [
        "config.yaml is missing",
        "model.safetensors is missing: the run ended before its first checkpoint",
        "log.jsonl is missing: there are no curves",
    ]
    assert page.all("h1")[0].text == tmp_path.name
    assert page.section("figures") and page.section("environment")
    for name in ("pictures", "curves", "samples", "translate", "configuration"):
        assert page.section(name) is None


def test_damaged_files_are_named_and_do_no_harm(tmp_path):
    write_log(tmp_path, [*LOG, '{"step": 9, "D": 0.'])
    (tmp_path / "config.yaml").write_bytes(b"name: [\xff\n")
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/step_00000001.png").write_bytes(b"nothing")
    page = read_page(write_report(tmp_path))
    notes = page.all("ul", "notes")[0].text
    for name in ("config.yaml", "model.safetensors", "log.jsonl", "step_00000001.png"):
        assert name in notes
    assert "1 line of log.jsonl could not be read" in notes
    assert page.section("curves") and page.section("configuration")


def test_an_old_report_survives_a_failure(tmp_path):
    path = write_report(tmp_path)
    before = path.read_bytes()
    (tmp_path / "log.jsonl").mkdir()  # which no one can read
    with pytest.raises(OSError):
        write_report(tmp_path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))
