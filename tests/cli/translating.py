"""Runs the command, and reads what it leaves behind."""

import json

from i2i.cli import main


def translate(*arguments):
    return main("translate", [str(argument) for argument in arguments])


def tree(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return names - {"manifest.jsonl", "refused.jsonl"}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def refusals(folder):
    return {entry["input"]: entry["reason"] for entry in lines(folder / "refused.jsonl")}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in tree(folder)}
