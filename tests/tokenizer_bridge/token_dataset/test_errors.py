"""Errors on one line."""

from tokenizer_bridge.token_dataset.errors import one_line


def test_a_long_text_keeps_what_was_done_and_why_it_failed():
    text = "Failed to write " + "/long/path" * 100 + ":\n  No space left on device"
    line = one_line(RuntimeError(text), limit=120)
    assert line.startswith("Failed to write /long/path")
    assert line.endswith(": No space left on device")
    assert len(line) == 120
    assert one_line(RuntimeError("a\n b")) == "a b" and one_line(KeyError()) == "KeyError"
