"""Models that another program serves over HTTP, in the form that OpenAI's API made common.

Nothing here loads torch or transformers; the HTTP library loads at the first request.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
