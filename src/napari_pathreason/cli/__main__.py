"""``python -m napari_pathreason.cli``, for where the scripts folder is not on the path."""

import sys

from ._main import main

if __name__ == "__main__":
    sys.exit(main())
