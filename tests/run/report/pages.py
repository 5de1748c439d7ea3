"""Run folders to report on, and a second reader of the page."""

import base64
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from PIL import Image

VOID = {"meta", "img", "input", "line", "link", "br"}


@dataclass
class Element:
    tag: str
    attributes: dict
    parents: tuple = ()
    text: str = ""

    def has(self, name):
        return name in (self.attributes.get("class") or "").split()


@dataclass
class Page(HTMLParser):
    """All elements of a document, each with the text inside it."""

    source: str
    elements: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self._open = []
        self.feed(self.source)
        self.close()
        assert not self._open, [element.tag for element in self._open]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        element = Element(tag, dict(attrs), tuple(self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag):
        assert self._open and self._open[-1].tag == tag, f"</{tag}> does not close {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, tag, name=None, inside=None):
        return [
            element
            for element in self.elements
            if element.tag == tag
            and (name is None or element.has(name))
            and (inside is None or any(parent is inside for parent in element.parents))
        ]

    def section(self, name):
        found = [e for e in self.elements if e.tag == "section" and e.attributes.get("id") == name]
        return found[0] if found else None

    def picture(self, alt):
        """Decodes the image with this alternative text."""
        (image,) = [e for e in self.all("img") if e.attributes["alt"] == alt]
        return decoded(image)


def decoded(image):
    head, _, data = image.attributes["src"].partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    with Image.open(BytesIO(base64.b64decode(data, validate=True))) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert pixels.shape[:2] == (int(image.attributes["height"]), int(image.attributes["width"]))
    return pixels


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))


def write_log(folder, entries):
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(entry if isinstance(entry, str) else json.dumps(entry) + "\n" for entry in entries)
    (folder / "log.jsonl").write_text(text)
    return folder


def smooth_image(size, seed):
    """uint8 ``[H, W, 3]`` that a JPEG hardly changes; ``size`` is width and height."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC))
