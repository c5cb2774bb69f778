"""PathMMU: multiple choice on pictures of articles, atlases, videos, posts and public sets.

Layout as published on the hub (jamessyx/PathMMU; the repository's eval/utils/data_utils.py)::

    data.json        {"PubMed": {"val": [...], "test": [...], "test_tiny": [...]}, ...} with
                     records of img, question, options ("A) ...") and answer ("A) ...")
    images/          pictures by the name in img; some must be had from elsewhere

No training split is published: ``val`` stays, ``test`` and ``test_tiny`` are ``test``. Tested on a
miniature of the published layout.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Sample, Split

from ._labels import alike
from ._layout import Kind, LabelledEntry, LeftOut, Options, PictureSet, ask_ready
from ._pictures import DOUBTFUL, PicturesByName
from ._splits import published

TINY: dict[str, Split] = {"test_tiny": "test"}
ALIKE = "questions have two options that are one after case and blanks and were left out"
AGAIN = "questions stand in test and test_tiny, or twice, and were taken once"
SUBSETS = {"PubMed", "SocialPath", "EduContent", "Atlas", "PathCLS"}
_MARK = re.compile(r"^\(?([A-Z])[).:]\s*")


def _matches(folder: Path) -> bool:
    table = folder / "data.json"
    if not table.is_file():
        return False
    with table.open(encoding="utf-8", errors="replace") as file:
        start = file.read(200)
    return any(f'"{name}"' in start for name in SUBSETS)


def _read(folder: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If a record lacks a field, or its answer is none of its options.
    """
    questions: dict[tuple[Split, str], list[Sample]] = {}
    files = PicturesByName(options.images or folder / "images")
    left = LeftOut()
    try:
        for subset, parts in json.loads((folder / "data.json").read_text("utf-8")).items():
            for name, split in published(parts, f"{subset} in data.json", TINY):
                for number, record in enumerate(parts[name], 1):
                    sample, where = _sample(record, subset, files), f"{subset}, {name} {number}"
                    if alike(sample.choices):  # nobody here can correct a published set
                        left.add(ALIKE, where)
                        continue
                    rows = questions.setdefault((split, str(sample.image)), [])
                    if sample in rows:
                        left.add(AGAIN, where)
                    else:
                        rows.append(sample)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise QueryError(
            "data.json is not as PathMMU publishes it (subset, split, records of img, question, "
            "options, answer); download it again"
        ) from None
    for name in sorted(files.doubtful):
        left.add(DOUBTFUL, Path(name).name)
    entries = [
        LabelledEntry(f"{split}/{image}", image, partial(ask_ready, samples), split, Path(image))
        for (split, image), samples in questions.items()
    ]
    return PictureSet(entries, "picture", (), left, frozenset({folder / "data.json"}))


def _sample(record: dict[str, Any], subset: str, files: PicturesByName) -> Sample:
    choices = tuple(_MARK.sub("", str(option)).strip() for option in record["options"])
    answer = str(record["answer"]).strip()
    marked = _MARK.match(answer)
    right = choices[ord(marked[1]) - ord("A")] if marked else answer
    if right not in choices:
        raise KeyError(answer)
    return Sample(
        image=str(files.find(str(record["img"]))),
        task="vqa",
        question=str(record["question"]).strip(),
        choices=choices,
        answer=right,
        source="pathmmu",
        topic=f"pathmmu: {subset}",
    )


KIND: Kind = Kind("pathmmu", "data.json, images/", _matches, _read, ("val", "test"))
