from ._agreement import (
    MODEL as MODEL,
    Agreement as Agreement,
    agreement_line as agreement_line,
    agreement_of as agreement_of,
    cohens_kappa as cohens_kappa,
    write_agreement as write_agreement,
)
from ._anndata import to_anndata as to_anndata, write_anndata as write_anndata
from ._answer_files import (
    ENDINGS as ENDINGS,
    AnswerFiles as AnswerFiles,
    FileKind as FileKind,
)
from ._answer_table import (
    RESEARCH_ONLY as RESEARCH_ONLY,
    AnswerRow as AnswerRow,
    Review as Review,
    write_answer_table as write_answer_table,
    write_labels as write_labels,
)
from ._geojson import (
    Feature as Feature,
    Shape as Shape,
    read_geojson as read_geojson,
    write_geojson as write_geojson,
)
from ._manifest import (
    Manifest as Manifest,
    ManifestEntry as ManifestEntry,
    OtherSlide as OtherSlide,
    ShownSlide as ShownSlide,
    UsedModel as UsedModel,
    digest_of as digest_of,
    entry_of as entry_of,
    fingerprint as fingerprint,
    other_names as other_names,
    read_manifest as read_manifest,
    versions_here as versions_here,
    write_manifest as write_manifest,
)
from ._marks import (
    WINDOW_CLASS as WINDOW_CLASS,
    Mark as Mark,
    confidence_of as confidence_of,
    detections_in as detections_in,
    features_of_marks as features_of_marks,
    marks_of as marks_of,
    new_run as new_run,
)
from ._numbers import (
    Numbers as Numbers,
    numbers_of as numbers_of,
    write_numbers as write_numbers,
)
from ._picture import (
    LEVEL_COLOURS as LEVEL_COLOURS,
    RULE as RULE,
    colours_of as colours_of,
    font as font,
    mark_findings as mark_findings,
    region_picture as region_picture,
    round_below as round_below,
)
from ._reliability import (
    LEVEL_KEY as LEVEL_KEY,
    NO_ANSWER as NO_ANSWER,
    RANK as RANK,
    REASONS_KEY as REASONS_KEY,
    UNREADABLE as UNREADABLE,
    answer_line as answer_line,
    guess as guess,
    headline as headline,
    joined_reasons as joined_reasons,
    reliability_in as reliability_in,
    reliability_line as reliability_line,
    reliability_sentence as reliability_sentence,
    to_reliability as to_reliability,
)
from ._report import write_report as write_report
from ._tables import (
    plain as plain,
    write_account as write_account,
    write_csv as write_csv,
    write_table as write_table,
    write_transcript as write_transcript,
    write_views as write_views,
)
from ._views import (
    ViewRow as ViewRow,
    budget_colours as budget_colours,
    budget_level as budget_level,
    budget_name as budget_name,
    has_windows as has_windows,
    telling_rows as telling_rows,
    view_rows as view_rows,
    views_line as views_line,
    windows_read as windows_read,
)
