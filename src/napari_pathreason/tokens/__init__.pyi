from ._budget_grid import BUDGET_GRID as BUDGET_GRID, parse_budget as parse_budget, snap as snap
from ._cost import flops as flops
from ._plan import ReadPlan as ReadPlan, native_tokens as native_tokens, plan as plan
from ._resize import smart_resize as smart_resize
