"""How much memory the trainings and the evaluation need, by arithmetic. Nothing is measured.

GB are 10**9 bytes. The symbols of the formulas:

    N  parameters, and n of them trained (with LoRA those of the adapter)
    L  layers              H  hidden size         I  width of the feed-forward part
    K  width of the keys of one layer (all heads) V  size of the vocabulary
    P  tokens of a prompt  C  tokens of a completion
    T  tokens of one micro-batch, a shared prompt counted once
    S  processes that share the weights out (FSDP2, ZeRO-3), else 1
    s  processes that share out gradients and optimizer (also ZeRO-2), else 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GB = 10**9
# For the CUDA context, fragments of free memory, and what the formulas leave out.
_RESERVE = 0.1
_GPU_SIZES = (16, 24, 32, 40, 48, 80, 96, 141, 180)
# Of TRL's fused head, which computes the logits in tiles.
_TILE_TOKENS, _TILE_WORDS = 4096, 32768


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a model that its memory follows from. See the symbols above."""

    parameters: int
    trained: int
    layers: int
    hidden: int
    intermediate: int
    keys: int
    vocabulary: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one process trains: the settings that its memory follows from."""

    tokens: int
    """T: tokens of one micro-batch."""
    cached_tokens: int = 0
    """Tokens whose keys and values rollouts hold. 0: no rollouts, or vLLM does them."""
    scored_tokens: int = 0
    """Taught tokens of one micro-batch, where their whole logits are held: distillation on a CPU.
    0: the head computes the logits in tiles."""
    weight_bytes: int = 4
    trained_bytes: int = 4
    state_bytes: float = 8.0
    """Bytes of the optimizer per trained parameter; AdamW holds two numbers of `trained_bytes`."""
    is_half: bool = True
    """Whether passes compute in bfloat16."""
    is_checkpointed: bool = True
    """Gradient checkpointing: the backward pass computes the values inside a layer again."""
    has_reference: bool = False
    """Whether there is a second copy of the model, for the KL term."""
    processes: int = 1
    weight_shards: int = 1
    state_shards: int = 1


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes of one process, by what they hold."""

    weights: float
    gradients: float = 0.0
    optimizer: float = 0.0
    copies: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    rollouts: float = 0.0

    @property
    def lasting(self) -> float:
        """Return what is held all the time."""
        return self.weights + self.gradients + self.optimizer

    @property
    def peak(self) -> float:
        """Return the most that is held at once. Rollouts and passes take turns."""
        return self.lasting + max(self.copies + self.activations + self.logits, self.rollouts)

    def describe(self) -> str:
        """Return the parts in GB, without those that are next to nothing."""
        names = {"copies": "bfloat16 copies"}
        parts = {names.get(name, name): size / GB for name, size in vars(self).items()}
        return ", ".join(f"{name} {size:.1f}" for name, size in parts.items() if size >= 0.05)


def plan_training(shape: Shape, work: Work) -> MemoryPlan:
    """Return what one process of a training holds.

    weights      N x bytes / S, of which an adapter has its own; twice with a reference model
    gradients    n x bytes / s, twice with DDP, whose buckets are a copy
    optimizer    n x 2 x bytes / s
    copies       2n, of float32 weights for passes in bfloat16; of one layer where S > 1
    activations  checkpointed: 4HTL, the input of each layer, and (30H + 8I + 4K)T of one layer;
                 else (30H + 8I + 4K)TL. Counted for layers of Llama and Qwen2 in bfloat16 around a
                 float32 residual; 1.5 times as much for passes in float32.
    logits       2 x tile, and 4VH for the gradient of a head that is trained; where they are held
                 whole 12V per scored token: themselves, their logarithm, their gradient
    rollouts     2 x 2K bytes per token and layer in bfloat16
    """
    is_sharded = work.weight_shards > 1
    frozen = shape.parameters - shape.trained
    weights = frozen * work.weight_bytes + shape.trained * work.trained_bytes
    is_ddp = work.processes > 1 and work.state_shards == 1
    copied = shape.trained / shape.layers if is_sharded else shape.trained
    in_layer = (30 * shape.hidden + 8 * shape.intermediate + 4 * shape.keys) * work.tokens
    if not work.is_half:
        in_layer = in_layer * 3 // 2
    activations = in_layer * shape.layers
    if work.is_checkpointed:
        activations = 4 * shape.hidden * work.tokens * shape.layers + in_layer
    value_bytes = 2 if work.is_half else 4
    # An adapter leaves the head alone.
    trains_head = shape.trained == shape.parameters
    tile = min(work.tokens, _TILE_TOKENS) * min(shape.vocabulary, _TILE_WORDS)
    logits = tile * value_bytes + 4 * shape.vocabulary * shape.hidden * trains_head
    if work.scored_tokens:
        logits = 12 * shape.vocabulary * work.scored_tokens
    return MemoryPlan(
        weights=weights * (1 + work.has_reference) / work.weight_shards,
        gradients=shape.trained * work.trained_bytes * (1 + is_ddp) / work.state_shards,
        optimizer=shape.trained * work.state_bytes / work.state_shards,
        copies=2 * copied if work.is_half and work.trained_bytes == 4 else 0.0,
        activations=activations,
        logits=logits,
        rollouts=2 * value_bytes * shape.keys * shape.layers * work.cached_tokens,
    )


def plan_answers(shape: Shape, *, batch_tokens: int, prompt_tokens: int, bytes_: int) -> MemoryPlan:
    """Return what a model that answers holds.

    weights      N x bytes
    activations  (4H + 3I) x bytes per prompt token: one layer, since none is kept
    rollouts     2K x bytes per token and layer

    Args:
        shape: The sizes of the model.
        batch_tokens: Tokens of a batch, prompts and completions together.
        prompt_tokens: How many of them are prompts.
        bytes_: Of one number: 2 on a GPU, 4 on a CPU.
    """
    return MemoryPlan(
        weights=shape.parameters * bytes_,
        activations=(4 * shape.hidden + 3 * shape.intermediate) * bytes_ * prompt_tokens,
        rollouts=2 * shape.keys * shape.layers * bytes_ * batch_tokens,
    )


def choose_gpu(plan: MemoryPlan, *, vllm_share: float = 0.0, vllm_weights: float = 0.0) -> int:
    """Return the smallest usual size of a GPU in GB that the plan fits; 0 if there is none.

    Args:
        plan: What the training holds.
        vllm_share: Share of the GPU that vLLM takes beside it.
        vllm_weights: Bytes of the weights that must fit into that share.
    """
    for size in _GPU_SIZES:
        usable = size * GB * (1 - _RESERVE)
        fits_beside = plan.peak <= usable - vllm_share * size * GB
        if fits_beside and vllm_weights <= vllm_share * usable:
            return size
    return 0


def read_shape(model: PreTrainedModel) -> Shape:
    """Return the sizes of a model, which may be without weights and may have an adapter."""
    text = model.config.get_text_config()
    weights = list(model.parameters())
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Shape(
        parameters=sum(weight.numel() for weight in weights),
        trained=sum(weight.numel() for weight in weights if weight.requires_grad),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        keys=(getattr(text, "num_key_value_heads", None) or heads) * width,
        vocabulary=text.vocab_size,
    )
