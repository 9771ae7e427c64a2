"""The real stories: cut apart, cleaned, and split into training, development and held-out parts."""

import random
import re

CONTEXT = 512
SHORT = 320  # bytes; a piece shorter than this is a paragraph, not a story
# UTF-8 read as Windows-1252 by whoever made the data set, and typographic signs.
SIGNS = {
    "\u00e2\u20ac\u0153": '"', "\u00e2\u20ac\ufffd": '"', "\u00e2\u20ac\u2122": "'", "\u00e2\u20ac\u02dc": "'",
    "\u00e2\u20ac\u201c": "-", "\u00e2\u20ac\u201d": "-", "\u00e2\u20ac\u00a6": "...", "\u00e2\u20ac": '"',
    "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2013": "-", "\u2014": "-", "\u2026": "...",
    "\u00a0": " ", "\u00c2": "", "\u200b": "",
}  # fmt: skip


def clean(text):
    """ASCII text with paragraphs parted by one empty line, or None if signs are left over."""
    for wrong, right in SIGNS.items():
        text = text.replace(wrong, right)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n\s*", "\n\n", text).strip()
    return text if text and text.isascii() else None


def cut(text):
    """Stories of a file in which single newlines part stories, and some paragraphs as well."""
    stories, before = [], ""
    for piece in re.split(r"(?<!\n)\n(?!\n)", text):
        opening = piece.startswith("Once upon")
        paragraph = before.endswith(" ") or min(len(before), len(piece)) < SHORT
        if stories and paragraph and not opening:
            stories[-1] += "\n" + piece
        else:
            stories.append(piece)
        before = piece
    return stories


def split(path, seed=9):
    """(training, development, held-out) stories of `path`: 92, 3 and 5 % in a seeded order.

    Development steers decisions during training; nothing but the final figures is taken from the
    held-out part.
    """
    text = open(path, encoding="utf-8").read()
    stories = [s for s in map(clean, cut(text)) if s]
    random.Random(seed).shuffle(stories)
    held, dev = len(stories) // 20, len(stories) * 3 // 100
    return stories[held + dev :], stories[held : held + dev], stories[:held]
