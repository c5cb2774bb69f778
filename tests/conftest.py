"""Settings shared by all tests."""

from hypothesis import settings

# a busy machine must not turn a slow example into a failure
settings.register_profile("project", deadline=None)
settings.load_profile("project")
