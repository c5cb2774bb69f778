"""Answers of a session as files."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pathreason.errors import ExportError, PathreasonError
from napari_pathreason.exports import AnswerFiles, UsedModel

from ._layers import slide_opener
from ._session import Entry, Session


def entries_like(session: Session, entry: Entry) -> list[Entry]:
    """Answers that go into one file with an entry: of the same image and the same model."""
    return [
        other
        for other in session.entries
        if other.image() is entry.image()
        and other.result.slide == entry.result.slide
        and other.result.model == entry.result.model
    ]


def files_of(entries: Sequence[Entry]) -> AnswerFiles:
    """What is needed to write entries of one image and one model.

    Raises
    ------
    ExportError
        If their image was closed.
    SlideError
        If it is no slide any more.
    """
    last = entries[-1]
    image = last.image()
    if image is None:
        raise ExportError(
            f"the image of answer {last.id} was closed; open {last.result.slide.name} again "
            "and ask once more to save it"
        )

    def model() -> UsedModel:
        from napari_pathreason.slide_run import used_model

        return used_model(last.model_id)

    return AnswerFiles([entry.result for entry in entries], slide_opener(image), model)


def write_answers(files: AnswerFiles, path: str) -> str:
    """Write a file, for a worker; returns why it could not be written, empty where it was."""
    try:
        files.write(path)
    except PathreasonError as error:
        return str(error)
    except Exception as error:  # a fault of ours; its own message may hold paths
        return f"unexpected {type(error).__name__} while saving; please report it"
    return ""
