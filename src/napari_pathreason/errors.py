"""Errors a user can meet; each message is one line that names the remedy."""

from __future__ import annotations


class PathreasonError(Exception):
    """Base of all errors that are shown to users as one line, without a traceback."""


class SlideError(PathreasonError):
    """The file is not an image that can be opened, or it is damaged."""


class RegionError(PathreasonError):
    """The region is empty, outside the slide, or thinner than one visual token."""


class QueryError(PathreasonError):
    """The question, its options or the budget cannot be used as given."""


class ModelError(PathreasonError):
    """The model is unknown, incomplete, of an unserved family, or its process died."""


class WorkerError(PathreasonError):
    """Workers of a cluster died over some tiles; those of another slide they may answer."""


class OutOfMemoryError(PathreasonError):
    """The answer needs more memory than the device has; a smaller budget helps."""


class ExportError(PathreasonError):
    """A file of results cannot be written, or cannot be read back."""
