from ._lab import RECIPE as RECIPE, lab_recipe as lab_recipe, train_lab as train_lab
from ._page import draw_confusion as draw_confusion
