"""A performer that asks no prompt twice: what it answered lies in one file.

Policies choose among the same windows, so most of what one of them asks another has asked before.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Event

from napari_pathreason.engine import BatchPerformer, Performer
from napari_pathreason.models import checkpoint_sha256, find_checkpoint
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    ModelInfo,
    OODScore,
    Prompt,
    TokenLogprobs,
)


def answers_hash(model: str) -> str:
    """SHA-256 of what a performer's answers belong to: its weights and words, and its detector.

    No scale of confidence: answers are remembered as they were written.
    """
    folder, name = find_checkpoint(model)
    digest = hashlib.sha256(checkpoint_sha256(folder, name, performer_alone=True).encode())
    if (detector := folder / "ood.safetensors").is_file():
        digest.update(detector.read_bytes())
    return digest.hexdigest()


def windows_hash(model: str) -> str | None:
    """SHA-256 of a model's learned allocator of windows; None if it has none."""
    weights = find_checkpoint(model)[0] / "windows_allocator.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None


class RememberingPerformer:
    """Answers what was asked before from a file, and writes down what is new.

    Answers are remembered where they are greedy; a sampled one is drawn anew. Their seconds are
    those of the first time.

    Parameters
    ----------
    performer : Performer
    path : Path
        An SQLite file; several processes may use it at once.
    identity : str
        Of the weights; see `answers_hash`.
    """

    def __init__(self, performer: Performer, path: Path, identity: str) -> None:
        self._performer = performer
        self._identity = identity
        path.parent.mkdir(parents=True, exist_ok=True)
        self._answers = sqlite3.connect(path, timeout=60)
        with self._answers as answers:
            answers.execute(
                "CREATE TABLE IF NOT EXISTS answers (prompt BLOB PRIMARY KEY, text BLOB)"
            )
        self.asked_anew = 0
        """Prompts that the model had to answer."""

    @property
    def info(self) -> ModelInfo:
        """See `Performer.info`."""
        return self._performer.info

    def generate(
        self, prompt: Prompt, settings: GenerationSettings, cancel: Event
    ) -> Iterator[str | Completion]:
        """See `Performer.generate`."""
        key = self._key(prompt, settings)
        known = self._find(key)
        if known is not None:
            yield known
            return
        for piece in self._performer.generate(prompt, settings, cancel):
            if isinstance(piece, Completion):
                self._keep([(key, piece)])
            yield piece

    def generate_batch(
        self, prompts: Sequence[Prompt], settings: GenerationSettings, cancel: Event
    ) -> list[Completion]:
        """See `BatchPerformer.generate_batch`."""
        keys = [self._key(prompt, settings) for prompt in prompts]
        done = [self._find(key) for key in keys]
        new = [place for place, completion in enumerate(done) if completion is None]
        if new and isinstance(self._performer, BatchPerformer) and len(new) > 1:
            answers = self._performer.generate_batch([prompts[p] for p in new], settings, cancel)
            self._keep([(keys[p], answer) for p, answer in zip(new, answers, strict=True)])
        else:
            answers = [
                piece
                for place in new
                for piece in self.generate(prompts[place], settings, cancel)
                if isinstance(piece, Completion)
            ]
        for place, answer in zip(new, answers, strict=True):
            done[place] = answer
        return [completion for completion in done if completion is not None]

    def close(self) -> None:
        """Close the file."""
        self._answers.close()

    def _key(self, prompt: Prompt, settings: GenerationSettings) -> bytes | None:
        """What an answer depends on; None of one that is sampled."""
        if settings.temperature > 0:
            return None
        digest = hashlib.sha256(self._identity.encode())
        for picture in prompt.pictures:
            digest.update(str(picture.shape).encode())
            digest.update(picture.tobytes())
        words = [prompt.messages, settings.max_new_tokens, settings.begin]
        digest.update(json.dumps(words, sort_keys=True).encode())
        return digest.digest()

    def _find(self, key: bytes | None) -> Completion | None:
        row = self._answers.execute("SELECT text FROM answers WHERE prompt = ?", (key,)).fetchone()
        return None if row is None else _from_bytes(row[0])

    def _keep(self, answers: Sequence[tuple[bytes | None, Completion]]) -> None:
        self.asked_anew += len(answers)
        rows = [
            (key, _to_bytes(completion))
            for key, completion in answers
            if key is not None and completion.finish != "cancelled"
        ]
        with self._answers as file:
            file.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)


def _to_bytes(completion: Completion) -> bytes:
    return zlib.compress(json.dumps(asdict(completion)).encode())


def _from_bytes(packed: bytes) -> Completion:
    values = json.loads(zlib.decompress(packed))
    ood = values.pop("ood")
    written = tuple(
        TokenLogprobs(tuple((text, float(log)) for text, log in one["choices"]), one["chosen"])
        for one in values.pop("written")
    )
    if ood is not None:
        ood = OODScore(ood["score"], tuple(ood["against"]), ood["reason"])
    return Completion(**values, written=written, ood=ood)
