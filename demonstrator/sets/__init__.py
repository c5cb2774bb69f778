"""What the embedded model learns from: labelled folders side by side, each with its table.

Folders of our own making (see the model card for what lies in them), not as published; published
sets have converters in `napari_pathreason.training.convert`, whose questions are asked here too. A
change of what this gives changes what the embedded model is trained on, and the fingerprint of its
data.
"""
