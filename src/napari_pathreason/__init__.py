"""Ask questions of whole-slide images at a visual-token budget you can see and steer."""

__version__ = "0.1.0"
