"""Recipes: every hyper-parameter of a run."""
