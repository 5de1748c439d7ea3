"""What a run tells on the terminal."""

from i2i.core.progress import say


def test_what_others_have_named_is_said_as_text(capsys):
    """Names of images come from strangers, and need not be text."""
    say("left out", "    a\x1b[2J\udcff.png")
    assert capsys.readouterr().out == "left out\n    a\\x1b[2J\\udcff.png\n"
