from ._allocator_recipe import AllocatorRecipe as AllocatorRecipe, Cost as Cost
from ._load import load_recipe as load_recipe
from ._objects import file_beside as file_beside, load_object as load_object
from ._policy_recipe import GRPORecipe as GRPORecipe, PolicyRecipe as PolicyRecipe
from ._recipe import (
    BilateralRecipe as BilateralRecipe,
    DataRecipe as DataRecipe,
    LoraRecipe as LoraRecipe,
    MetadataRecipe as MetadataRecipe,
    ModelRecipe as ModelRecipe,
    Recipe as Recipe,
    SFTRecipe as SFTRecipe,
)
from ._recipe_base import (
    PolicyLoss as PolicyLoss,
    RewardKind as RewardKind,
    TrackerName as TrackerName,
)
