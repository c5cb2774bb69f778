"""Which windows of a large region to read: policies beside one another, on composed regions.

``python -m demonstrator.large_regions_table MODEL --data data/large/as_is/val.jsonl ...``
"""
