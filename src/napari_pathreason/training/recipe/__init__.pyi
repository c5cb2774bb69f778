from ._load import load_recipe as load_recipe
from ._objects import file_beside as file_beside, load_object as load_object
from ._recipe import (
    AllocatorRecipe as AllocatorRecipe,
    BilateralRecipe as BilateralRecipe,
    Cost as Cost,
    DataRecipe as DataRecipe,
    GRPORecipe as GRPORecipe,
    LabRecipe as LabRecipe,
    LoraRecipe as LoraRecipe,
    MetadataRecipe as MetadataRecipe,
    ModelRecipe as ModelRecipe,
    PolicyLoss as PolicyLoss,
    PolicyRecipe as PolicyRecipe,
    Recipe as Recipe,
    SFTRecipe as SFTRecipe,
    TRLRecipe as TRLRecipe,
    WindowsRecipe as WindowsRecipe,
)
