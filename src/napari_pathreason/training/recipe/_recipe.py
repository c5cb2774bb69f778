"""Recipes: every hyper-parameter of a run; an unknown key is an error."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from napari_pathreason.training.samples import Augmentation
from napari_pathreason.types import Effort

FORMAT_VERSION = 1
MOST = 10**9
"""Of any count or weight: what is above it is a slip."""


def _no_switch(value: object) -> object:
    """What is no ``true`` or ``false``, which Python takes for 1 and 0; ``yes`` and ``on``, too."""
    if isinstance(value, bool):
        raise ValueError("give a number, not true or false")
    return value


NUMBER = BeforeValidator(_no_switch)
Positive = Annotated[int, Field(gt=0, le=MOST), NUMBER]
Several = Annotated[int, Field(ge=2, le=MOST), NUMBER]
Count = Annotated[int, Field(ge=0, le=MOST), NUMBER]
Above = Annotated[float, Field(gt=0, le=MOST), NUMBER]
NotBelow = Annotated[float, Field(ge=0, le=MOST), NUMBER]
Share = Annotated[float, Field(ge=0, le=1), NUMBER]
Weight = Annotated[float, Field(ge=-MOST, le=MOST), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**32), NUMBER]
"""What NumPy takes, too."""
Name = Annotated[str, Field(min_length=1)]
PolicyLoss = Literal["dapo", "dr_grpo", "grpo"]
Cost = Literal["flops", "share"]
"""What lambda taxes; see `AllocatorRecipe`."""


class Strict(BaseModel):
    """Frozen; an unknown key is an error, and so is a number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _not_all_zero(weights: dict[Any, float]) -> dict[Any, float]:
    if weights and not any(weights.values()):
        raise ValueError("give at least one of them a weight above 0")
    return weights


Budgets = Annotated[dict[Positive, NotBelow], Field(min_length=1), AfterValidator(_not_all_zero)]
"""How often each number of visual tokens is drawn, beside the others."""


class DataRecipe(Strict):
    """Where samples come from and how often each source is drawn (relative weights).

    ``questions`` are asked of a picture at once, at the most; ``stain``, ``levels``,
    ``sharpness`` and ``varied`` are those of `Augmentation`.
    """

    folder: Name
    weights: dict[str, NotBelow] = {}  # of a source that is not named 1
    questions: Positive = 4
    turn: bool = True
    stain: NotBelow = 0.08
    levels: Share = 0.0
    sharpness: Share = 0.0
    varied: tuple[str, ...] = ()

    @property
    def augmentation(self) -> Augmentation:
        """What may change between two readings of a picture to train on."""
        return Augmentation(self.turn, self.stain, self.levels, self.sharpness, self.varied)


class MetadataRecipe(Strict):
    """What the model shall say of its training that its samples do not tell; see `Metadata`.

    ``name`` is what to call the model, None the name of the folder ``output``. ``tissues`` are what
    its images show, and ``mpp`` is the least and most um per pixel that it reads them at, where
    that is known. ``zoom_labels`` are labels of small things that are boxed better by a zoom on
    each detection. ``window`` is the side in native pixels of the windows that a large region is
    best cut into, and ``joint`` whether a question about them is asked once with all of them in one
    prompt. ``domains`` says what the images of a source are of, by the name of the
    source, where that name itself does not: those of one domain are held together when unlike
    images are told from them.
    """

    name: Name | None = None
    tissues: tuple[str, ...] = ()
    mpp: tuple[Above, Above] | None = None
    zoom_labels: tuple[str, ...] = ()
    window: Positive | None = None
    joint: bool = False
    domains: dict[str, str] = Field(default={})

    @field_validator("mpp")
    @classmethod
    def _least_first(cls, mpp: tuple[float, float] | None) -> tuple[float, float] | None:
        if mpp is not None and not mpp[0] <= mpp[1] < math.inf:
            raise ValueError("give the least and the most µm per pixel")
        return mpp


class ModelRecipe(Strict):
    """Where training begins.

    ``start`` is ``embedded``, a folder or a hub id. ``words`` adds the names of classes to its
    tokenizer as whole words, which supervised fine-tuning without ``lora`` can learn.
    """

    start: str | None = None
    words: bool = False


class LoraRecipe(Strict):
    """Low-rank adapters on a large checkpoint, whose own weights stay as they are.

    ``rank`` and ``alpha`` as in ``W + alpha / rank * B A`` (LoRA, arXiv:2106.09685, section 4.1);
    ``targets`` are last names of linear layers such as ``q_proj``, None for all of them, those of
    the vision encoder too. ``weights`` is the precision that the frozen weights lie in, ``4bit``
    (QLoRA) for TRL as the engine alone; adapters are float32, on weights in four bits bf16.
    ``checkpointing`` computes each layer again in the backward pass, which takes a third more time
    and a small part of the memory. ``dropout`` is that of supervised fine-tuning; GRPO leaves it
    out, as sampling and learning must be of one distribution.
    """

    rank: Positive = 16
    alpha: Positive = 64
    dropout: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.0
    targets: tuple[str, ...] | None = None
    weights: Literal["bf16", "fp32", "4bit"] = "bf16"
    checkpointing: bool = True


class SFTRecipe(Strict):
    """Supervised fine-tuning; ``stop_after`` ends it early, in the midst of its schedule.

    ``objective`` is ``module:Class``, what is taught (`Objective`); None teaches to write answers.
    ``objective_options`` are handed to that class, which checks them. A step reads at most
    ``batch`` pictures and about ``tokens`` visual tokens. ``vision_encoder_lr`` is the vision
    encoder's share of the learning rate. Coordinates of boxes are written as multiples of
    ``box_quantum``. A step of the optimiser learns from ``gradient_accumulation`` such batches.

    At each validation ``score_samples`` questions of each kind of ``val`` are answered greedily, at
    the largest budget; 0 leaves it at the losses. ``best`` keeps the weights that did best at that
    measure (`training.validation.Measure`), else the last ones are; ``patience`` validations
    without a better score end the run.
    """

    objective: str | None = None
    objective_options: dict[str, Any] = Field(default={})
    budgets: Budgets = Field(default={4: 1, 8: 1, 16: 2, 32: 2, 64: 3, 128: 1, 256: 1})
    steps: Positive = 4000
    stop_after: Positive | None = None
    batch: Positive = 32
    gradient_accumulation: Positive = 1
    tokens: Positive = 1024
    precision: Literal["no", "bf16"] = "no"
    lr: NotBelow = 6e-4
    vision_encoder_lr: NotBelow = 1.0
    warmup: Count = 100
    weight_decay: NotBelow = 0.05
    max_grad_norm: Above = 1.0
    box_quantum: Positive = 10
    checkpoint_every: Positive = 200
    validate_every: Positive = 200
    validate_samples: Positive = 128
    score_samples: Count = 0
    best: Literal["score", "balanced", "macro_f1"] | None = None
    patience: Positive | None = None

    @model_validator(mode="after")
    def _best_is_scored(self) -> SFTRecipe:
        if self.best is not None and not self.score_samples:
            raise ValueError("best needs answers to score; set score_samples above 0")
        if self.patience is not None and self.best is None:
            raise ValueError("patience waits for a better score; name one as best")
        return self


class PolicyRecipe(Strict):
    """GRPO of performer and writing allocator; names are TRL's ``GRPOConfig``'s, where it has one.

    A step reads ``batch_size`` pictures, and samples ``num_generations`` completions of at most
    ``max_completion_length`` tokens for every question about them; the optimiser takes
    ``num_iterations`` steps on them. ``format_weight`` weighs a completion that keeps to its form,
    ``beta`` the distance to the start; ``epsilon_high`` is the upper bound of the probability ratio
    where it differs from the lower one, ``epsilon`` (DAPO). ``scale_rewards`` says whether
    advantages are divided by their group's deviation; None leaves it to ``loss_type``.
    ``vision_encoder_lr`` is the vision encoder's share of the learning rate. ``gather`` is for a
    sharded model: each process holds the whole of it while it samples, not one layer after the
    other for every token.
    """

    format_weight: NotBelow = 1.0
    loss_type: PolicyLoss = "dapo"
    scale_rewards: bool | None = None
    beta: NotBelow = 0.001
    epsilon: Above = 0.2
    epsilon_high: Above | None = None
    num_iterations: Positive = 1
    num_generations: Several = 8
    temperature: Above = 1.0
    max_completion_length: Positive = 192
    batch_size: Positive = 8
    steps: Positive = 500
    stop_after: Positive | None = None
    precision: Literal["no", "bf16"] = "no"
    lr: NotBelow = 1e-5
    vision_encoder_lr: NotBelow = 1.0
    warmup: Count = 10
    weight_decay: NotBelow = 0.0
    max_grad_norm: Above = 1.0
    gather: bool = False
    checkpoint_every: Positive = 50
    validate_every: Positive = 50
    validate_samples: Positive = 128


class GRPORecipe(PolicyRecipe):
    """Of the performer, from labels alone; the rest as in `PolicyRecipe`.

    ``start`` is ``embedded``, a folder or a hub id; None continues from the model that supervised
    fine-tuning of the same recipe wrote. A step learns from ``gradient_accumulation`` batches, and
    asks at most ``questions`` of each picture and
    reads about ``tokens`` visual tokens. ``budgets`` are weights of budgets, of which an
    allocator's policy leaves ``floor``.

    ``rewards`` are functions of completions, ``task``, ``paper`` or ``module:function`` (see
    `Rewards` and `load_object`), whose sum is weighed by ``reward_weights``, all 1 if left out.
    In the first two, ``format_weight`` weighs the form, and ``evidence_weight`` cited facts that
    the labels confirm or deny (`RewardBreakdown.reward`); 0 leaves the rationale to the answers
    alone.
    """

    start: str | None = None
    gradient_accumulation: Positive = 1
    rewards: Annotated[tuple[str, ...], Field(min_length=1)] = ("task",)
    reward_weights: tuple[Weight, ...] | None = None
    evidence_weight: NotBelow = 0.0
    budgets: Budgets = Field(default={4: 1, 8: 1, 16: 1, 32: 1, 64: 1, 128: 1, 256: 1})
    floor: Share = 0.25
    questions: Positive = 1
    tokens: Positive = 1024

    @model_validator(mode="after")
    def _weights_fit(self) -> GRPORecipe:
        if len(set(self.rewards)) < len(self.rewards):
            raise ValueError("rewards: name each function once; reward_weights weigh them")
        if self.reward_weights is not None and len(self.reward_weights) != len(self.rewards):
            raise ValueError("reward_weights: give one for each of rewards")
        return self

    @property
    def scaled(self) -> bool:
        """Whether advantages are divided by their group's deviation; Dr. GRPO leaves it out."""
        return self.loss_type != "dr_grpo" if self.scale_rewards is None else self.scale_rewards


class TextRecipe(PolicyRecipe):
    """Of an allocator that writes, a number or windows; the rest as in `PolicyRecipe`.

    It sees a picture at ``overview`` visual tokens, and learns at the lambda of one ``effort``.
    """

    overview: Positive = 64
    effort: Effort = "balanced"
    max_completion_length: Positive = 64
    batch_size: Positive = 4


class WindowsRecipe(Strict):
    """Of an allocator of windows, which serves large regions and leaves that of one picture alone.

    ``budgets`` are visual tokens of a window, rising, ``native`` for all of them: every window of
    the half-step grid is answered once at each. ``lambdas`` are what all windows of a region at
    native size cost, in points of score, at each effort. A step takes ``batch_size`` questions; the
    first ``warm_steps`` learn what ``num_generations`` random sets of windows of each add to its
    answer, the rest draw as many trajectories of two rounds from the policy, at ``temperature``
    points of score; ``entropy`` weighs the bonus, and ``anchor`` what the first steps learn, which
    the others go on with.
    """

    budgets: tuple[Positive | Literal["native"], ...] = (16, 64, "native")
    lambdas: dict[Effort, NotBelow] = Field(default={"low": 2.0, "balanced": 0.5, "high": 0.1})
    entropy: NotBelow = 0.003
    anchor: NotBelow = 1.0
    temperature: Above = 0.03
    num_generations: Several = 16
    batch_size: Positive = 16
    warm_steps: Count = 300
    steps: Positive = 900
    stop_after: Positive | None = None
    lr: NotBelow = 3e-3
    weight_decay: NotBelow = 0.05
    max_grad_norm: Above = 1.0
    checkpoint_every: Positive = 50
    validate_every: Positive = 25

    @field_validator("lambdas")
    @classmethod
    def _each_effort(cls, lambdas: dict[Effort, float]) -> dict[Effort, float]:
        return _of_each_effort(lambdas)

    @field_validator("budgets")
    @classmethod
    def _three_rising(cls, budgets: tuple[int | str, ...]) -> tuple[int | str, ...]:
        tokens = [math.inf if isinstance(one, str) else one for one in budgets]
        if len(tokens) != 3 or sorted(set(tokens)) != tokens:
            raise ValueError("give three numbers of visual tokens, rising; the last may be native")
        return budgets

    @property
    def levels(self) -> tuple[int | None, ...]:
        """The budgets, None for native size."""
        return tuple(None if isinstance(one, str) else one for one in self.budgets)


def _of_each_effort(lambdas: dict[Effort, float]) -> dict[Effort, float]:
    if set(lambdas) != set(get_args(Effort)):
        raise ValueError(f"give a lambda for each of {', '.join(get_args(Effort))}")
    return lambdas


class AllocatorRecipe(Strict):
    """How an allocator learns.

    ``form`` is ``head``, a light net over the budget grid, ``text``, a second adapter on a large
    checkpoint that writes its number (the paper's; see `TextRecipe`), ``windows``, a light net
    over the windows of large regions (`WindowsRecipe`), or ``text_windows``, a second adapter that
    writes windows of large regions (`TextRecipe` as well). ``start`` is the performer
    that it allocates for, a folder or a hub id, or ``embedded``, of which a copy is made; None
    takes the last one that the same recipe wrote. ``questions`` of each kind are asked at every
    budget, and ``validate_questions`` of held-out ones, which tell the state to keep.
    ``learn_from`` is the split of the former. A performer may answer what it was trained on at any
    budget, so that s(N) of ``train`` says that tokens buy nothing; of ``val``, both numbers
    together are asked, and every third picture is held out. ``lambdas`` are lambda of each effort,
    and ``cost`` is what they tax: ``flops`` beside the mean answer at native size, so that a
    FLOP costs the same wherever it is spent, or ``share`` of the answer that the same question
    would have at native size. What follows is the head's alone: the first ``warm_steps`` learn the
    ranking of the budgets, the rest climb the reward; ``entropy`` weighs the bonus.
    """

    form: Literal["head", "text", "windows", "text_windows"] = "head"
    start: str | None = None
    questions: Positive = 60
    validate_questions: Positive = 30
    learn_from: Literal["train", "val"] = "train"
    reward: Literal["gated", "paper"] = "gated"
    cost: Cost = "flops"
    lambdas: dict[Effort, NotBelow] = Field(default={"low": 0.8, "balanced": 0.3, "high": 0.05})
    text: TextRecipe = TextRecipe()
    windows: WindowsRecipe = WindowsRecipe()
    entropy: NotBelow = 0.01
    warm_steps: Count = 100
    steps: Positive = 400
    stop_after: Positive | None = None
    lr: NotBelow = 2e-3
    weight_decay: NotBelow = 0.05
    checkpoint_every: Positive = 50
    validate_every: Positive = 10

    @field_validator("lambdas")
    @classmethod
    def _each_effort(cls, lambdas: dict[Effort, float]) -> dict[Effort, float]:
        return _of_each_effort(lambdas)

    @property
    def scaled(self) -> bool:
        """Whether the text form's advantages are divided by their deviation: in the paper they are.

        Elsewhere they are mean-centred alone, as that division erases lambda.
        """
        settings = self.text
        if settings.scale_rewards is not None:
            return settings.scale_rewards
        return self.reward == "paper" and settings.loss_type != "dr_grpo"


class BilateralRecipe(Strict):
    """How often performer and allocator are trained in turn."""

    rounds: Positive = 2


class LabRecipe(Strict):
    """What ``train lab`` does behind supervised fine-tuning.

    ``grpo`` goes on with reinforcement learning, and is kept where ``val`` says so; ``allocator``
    trains one for the model that was kept. ``budgets`` are what the model is measured at, native
    beside them; on ``val`` the best of them is chosen. ``baseline`` fits colour and texture beside.
    ``margin`` is by how much a later stage must score better on ``val`` to be kept.
    """

    grpo: bool = True
    allocator: bool = True
    budgets: Annotated[tuple[Positive, ...], Field(min_length=1)] = (16, 64)
    baseline: bool = True
    margin: NotBelow = 0.0


class TRLRecipe(Strict):
    """What TRL's own configs are told beside what the recipe says already (``--engine trl``).

    Fields of ``SFTConfig`` and ``GRPOConfig`` by their names there, such as ``use_vllm``,
    ``deepspeed`` or ``mask_truncated_completions``; what follows from ``sft``, ``grpo`` or ``lora``
    here is refused, so that it is said once.
    """

    sft: dict[str, Any] = Field(default={})
    grpo: dict[str, Any] = Field(default={})


class Recipe(Strict):
    """A whole run.

    ``format_version`` is that of the keys and of what they mean; a newer one is refused.
    ``log_with`` names a tracker that gets what the log holds, beside it; None is none.
    """

    format_version: Positive = FORMAT_VERSION
    seed: Seed = 0
    output: Name
    log_with: Literal["tensorboard", "wandb", "trackio"] | None = None
    data: DataRecipe
    metadata: MetadataRecipe = MetadataRecipe()
    model: ModelRecipe = ModelRecipe()
    lora: LoraRecipe | None = None
    sft: SFTRecipe = SFTRecipe()
    grpo: GRPORecipe = GRPORecipe()
    allocator: AllocatorRecipe = AllocatorRecipe()
    bilateral: BilateralRecipe = BilateralRecipe()
    lab: LabRecipe = LabRecipe()
    trl: TRLRecipe = TRLRecipe()
    _beside: tuple[Path, ...] = PrivateAttr(default=())

    @field_validator("format_version")
    @classmethod
    def _known(cls, version: int) -> int:
        if version > FORMAT_VERSION:
            raise ValueError(
                f"the recipe is of version {version}, newer than this installation knows "
                f"({FORMAT_VERSION}); install a newer napari-pathreason"
            )
        return version

    @model_validator(mode="after")
    def _fits_large(self) -> Recipe:
        if self.lora is not None and self.model.words:
            raise ValueError(
                "model.words adds embeddings, which lora leaves frozen; leave one of both out"
            )
        if self.lora is not None:
            if self.model.start is None and self.grpo.start is None:
                raise ValueError("lora adapts a checkpoint; name it as model.start")
        elif self.allocator.form in ("text", "text_windows"):
            raise ValueError(
                "an allocator that writes is a second adapter; add a lora section, or set "
                "allocator.form to head"
            )
        return self

    @property
    def beside(self) -> tuple[Path, ...]:
        """Folders of its file and of those that it extends, for `load_object`; none without."""
        return self._beside

    def beside_folders(self, folders: Iterable[Path]) -> Recipe:
        """The same recipe, whose code is looked for in some folders too."""
        recipe = self.model_copy()
        recipe._beside = tuple(dict.fromkeys(folders))
        return recipe
