from ._annotations import Annotation as Annotation, annotations_of as annotations_of
from ._folder import (
    ProjectAnswer as ProjectAnswer,
    ProjectFolder as ProjectFolder,
    ProjectQuestion as ProjectQuestion,
    folder_for as folder_for,
    rows_of as rows_of,
)
from ._run import (
    AnnotationAnswered as AnnotationAnswered,
    AnnotationFailed as AnnotationFailed,
    AnnotationStarted as AnnotationStarted,
    ProjectEnded as ProjectEnded,
    ProjectEvent as ProjectEvent,
    ProjectItem as ProjectItem,
    ProjectStarted as ProjectStarted,
    items_of as items_of,
    run_project as run_project,
)
from ._slides import Project as Project, ProjectSlide as ProjectSlide, read_project as read_project
