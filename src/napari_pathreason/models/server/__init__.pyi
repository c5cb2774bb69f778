from ._address import Address as Address, is_address as is_address, parse_address as parse_address
from ._choices import Structured as Structured, bound_to as bound_to
from ._client import (
    BrokeOff as BrokeOff,
    Client as Client,
    Served as Served,
)
from ._families import ServedFamily as ServedFamily, family_named as family_named
from ._load import (
    SPACES as SPACES,
    ServerReport as ServerReport,
    chosen_boxes as chosen_boxes,
    keep_calibration as keep_calibration,
    known_address as known_address,
    list_models as list_models,
    load_server as load_server,
    look_at_server as look_at_server,
    prepare_server as prepare_server,
    read_server_info as read_server_info,
    resolve_address as resolve_address,
    set_boxes as set_boxes,
)
from ._memory import (
    KEY as KEY,
    SENT as SENT,
    allocator_folder as allocator_folder,
    allow_host as allow_host,
    allowed_hosts as allowed_hosts,
    check_allowed as check_allowed,
    is_allowed as is_allowed,
    keep_key as keep_key,
    key_of as key_of,
    served_sha256 as served_sha256,
)
from ._performer import ServerPerformer as ServerPerformer
from ._probe import (
    MANY as MANY,
    Capabilities as Capabilities,
    probe as probe,
    remembered as remembered,
)
from ._request import as_url as as_url, body_of as body_of
from ._stream import (
    DONE as DONE,
    Chunk as Chunk,
    Unreadable as Unreadable,
    Usage as Usage,
    chunks_of as chunks_of,
    lines_of as lines_of,
    messages_of as messages_of,
)
from ._trouble import NoPictures as NoPictures, Refused as Refused
