"""Labelled questions about regions: their pictures, what they show, and what should be written."""
