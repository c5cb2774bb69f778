"""Limits of what a file may ask for, in one place, each with its reason.

They end what is hostile or broken in one line, within a second and below 1 GB, and are far above
what scanners write.
"""

from __future__ import annotations

DIRECTORIES = 2_000
"""Of a TIFF: pages and levels. Scanners write below 20, and a level of 100 channels has 100; of
more a library takes seconds to find which belong together."""

SIZES = 200
"""Of pages of a TIFF, that differ: each is held against each, as they may be levels."""

TAGS = 1_000
"""Of one directory; the longest that is known (NDPI) has about 60."""

TABLE = 20_000_000
"""Tiles of one level: a slide of 1 m x 1 m at 0.25 um in tiles of 1,024 px has 15 million."""

COARSEST_TILES = 2_000_000
"""Of the coarsest level, all of which a look at the whole slide decodes: far above a slide of
4,000 Mpx in tiles of 256 px, and some minutes of a processor."""

TILE_BYTES = 256 * 2**20
"""Of one tile or strip that is decoded for a part of it; 8,192 x 8,192 px of RGB are 192 MiB."""

FLAT_PIXELS = 300_000_000
"""Of a picture that has to be decoded whole; in RGB it takes 900 MB."""

XML = 64 * 2**20
"""Characters of OME-XML; 10,000 planes with their times and places take 10 MB."""

SHOWN_PIXELS = 4_000_000_000
"""Of the coarsest level of a slide that is shown: a viewer needs a small one, which is made of it.
It takes about a minute."""

SIDE = 2**31 - 1
"""Pixels of a side: more fit in no table, and not in the integers of most libraries."""

LEVELS = 64
"""Of a pyramid: halves of the longest side end after 31."""

JSON = 16 * 2**20
"""Bytes of the metadata of an OME-Zarr group or array."""

DICOM_FILES = 10_000
"""Of a folder, among which the instances of one slide are looked for."""
