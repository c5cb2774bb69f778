"""Limits of what a checkpoint's files may ask for, in one place, each with its reason.

They end what is hostile or broken in one line before anything large is made of it, and are far
above what is released.
"""

from __future__ import annotations

JSON = 64 * 2**20
"""Bytes of a json file; an index of the largest models takes some MB. Tokenizers are read by their
own library."""

LAYERS = 1_000
"""Of either part of a model; the deepest that is released has 126."""

WIDTH = 1_000_000
"""Of a layer or its feed-forward part, and a side in pixels; 53,248 is the widest known."""

VOCABULARY = 10_000_000
"""Words of a tokenizer; 262,208 are the most known."""

NAME, TEXT = 200, 10_000
"""Characters of a model's name that are shown, and of a label or a question in what a checkpoint
says of its training."""

RANK = 4_096
"""Of an adapter: more than the width of most layers, where low rank has lost its meaning."""

PATTERN_SECONDS = 1.0
"""That the patterns of an adapter may take to find their modules; a few milliseconds do."""

LEVELS = 10_000
"""Numbers of visual tokens that a picture may have where not every one is possible."""

PIXELS = 2**31 - 1
"""Of a picture, as a preprocessor bounds it."""

TEMPLATE = 2**20
"""Characters of a chat template, and of what it makes of a short question; the longest released
template has 50,000. Also how often it may repeat a text, and pass through its loops."""

TEMPLATE_SECONDS = 0.5
"""Of a processor, that a chat template may take over a short question; they take a hundredth."""

GROWTH = 64
"""Times, that a tokenizer's rules of spelling may lengthen a text, and characters that they may put
before it; released ones write one mark for a blank. Also tokens that it may make of a byte."""

LEAST_BYTES = 0.25
"""On disk for each number that a config's sizes ask for; four bits take twice that."""
