"""Decoding on a GPU: one CUDA graph launches all kernels of a step.

The step of a small model is hundreds of kernels, and Python takes longer to launch one than the GPU
to run it. A CUDA graph launches them together, but the shapes and addresses of its tensors are
fixed. So each prompt has as many slots as its completions need, whether these still run or not, and
each slot has room for more tokens than it holds. When the room is used up, or few completions are
left, the running ones move to a new table and the step is captured again.

Shape legend:
    G  prompts with running completions
    M  slots of each prompt
    B  slots, G * M
    C  completions
    W  tokens of a completion for which there is room
    V  vocabulary
    K  key heads
    R  query heads per key head
    D  size of a head
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from realm.prefix.interface import run_backbone
from realm.prefix.kernels import Rules, attend_visible, merge
from realm.prefix.logps import compute_logits
from realm.prefix.sampler import Sampler, get_stop_tokens

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import GenerationConfig, PreTrainedModel

    from realm.prefix.decoding import PromptCache

_FIRST_ROOM = 128
"""Tokens for which a completion has room at first. Each new table has room for half as many more:
to capture a step, Python launches it twice."""
_CHECK_EVERY = 32
"""Steps between two looks at how many completions still run, each of which waits for the GPU."""
_FEW_SLOTS = 64
"""With fewer slots a step takes about as long as with a few: little is gained by leaving some."""
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def can_use_graphs(model: PreTrainedModel) -> bool:
    """Return whether the model is on a CUDA device and its steps are all the same kernels.

    Experts get as many tokens as the router sends them, and the frequencies of dynamic and LongRoPE
    embeddings depend on the longest position.
    """
    if model.device.type != "cuda" or any(getattr(model.config, name, None) for name in _EXPERTS):
        return False
    kinds = [getattr(module, "rope_type", "") for module in model.modules()]
    is_fixed = not any(word in str(kind) for kind in kinds for word in ("dynamic", "longrope"))
    return is_fixed and getattr(model, "hf_quantizer", None) is None


class GraphDecoder:
    """The slots, what their completions hold, and the attention of their next token."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: PromptCache,
        counts: Sequence[int],
        settings: GenerationConfig,
    ) -> None:
        """Give each prompt its number of completions."""
        self._model = model
        self._prompts = prompts
        self._sampler = Sampler(settings)
        self._max_tokens = int(settings.max_new_tokens or 0)
        device = prompts.lengths.device
        self._stops = torch.tensor(get_stop_tokens(settings), dtype=torch.long, device=device)
        # One row more: what slots without a completion draw goes there.
        self._drawn = torch.zeros(
            (sum(counts) + 1, self._max_tokens), dtype=torch.long, device=device
        )
        self._num_drawn = torch.zeros((), dtype=torch.long, device=device)
        self._has_nan = torch.zeros((), dtype=torch.bool, device=device)
        self._room = min(_FIRST_ROOM, self._max_tokens)
        self._own: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        repeats = torch.tensor(counts, device=device)
        prompt_of = torch.arange(len(counts), device=device).repeat_interleave(repeats)
        self._assign_slots(prompt_of, torch.arange(sum(counts), device=device))
        self._fed = torch.zeros_like(self._completions)

    def complete_all(self, logits: Tensor) -> Tensor:
        """Return tokens (C, longest) from the logits (G, V) after each prompt.

        What follows a stop token means nothing.

        Raises:
            FloatingPointError: the model computes NaN.
        """
        self._draw_tokens(logits.repeat_interleave(self._num_slots, 0))
        num_drawn = 1
        while num_drawn < self._max_tokens and self._count_running():
            if num_drawn > self._room:
                self._room = min(self._room + self._room // 2, self._max_tokens)
            self._move_running()
            step = self._capture_step()
            num_drawn += 1
            while num_drawn < min(self._max_tokens, self._room + 1):
                if num_drawn % _CHECK_EVERY == 0 and self._leaves_most():
                    break
                step()
                num_drawn += 1
        self._require_numbers()
        return self._drawn[:-1, :num_drawn]

    def _draw_tokens(self, logits: Tensor) -> None:
        """Give each slot its next token, from the logits (B, V)."""
        self._has_nan |= logits.isnan().any()
        tokens = self._sampler.draw_tokens(logits)
        # Not `drawn[completions, num_drawn] = ...`, which would read the number off the GPU.
        at = self._completions, self._num_drawn.expand_as(tokens)
        self._drawn.index_put_(at, tokens)
        self._is_done |= (tokens[:, None] == self._stops).any(-1)
        self._fed.copy_(tokens)
        self._num_drawn += 1

    def _take_step(self) -> None:
        """Feed each slot its last token and draw the next. A graph holds all that happens here."""
        self._place = self._num_drawn - 1
        positions = (self._prompts.lengths + self._place).repeat_interleave(self._num_slots)[
            :, None
        ]
        hidden = run_backbone(self._model, self._fed[:, None], positions, self)
        self._draw_tokens(compute_logits(self._model, hidden[:, -1]))

    def _capture_step(self) -> Callable[[], object]:
        """Take one step, and return what takes the next ones."""
        # What a kernel sets up in its first run cannot be captured.
        self._take_step()
        if not self._fed.is_cuda:
            return self._take_step
        graph = torch.cuda.CUDAGraph()
        # Other threads, of a data loader for example, may go on using the GPU.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._take_step()
        return graph.replay

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return (B, 1, K * R, D) from query (B, K * R, 1, D), key and value (B, K, 1, D)."""
        if module not in self._own:
            shape = (*key.shape[:2], self._room)
            # Zeros, since hidden values count as 0 times what stands there.
            self._own[module] = (
                key.new_zeros(*shape, key.shape[-1]),
                value.new_zeros(*shape, value.shape[-1]),
            )
        for store, new in zip(self._own[module], (key, value), strict=True):
            store.index_copy_(2, self._place[None], new)
        own_query = query.squeeze(2).unflatten(1, (key.shape[1], -1))  # (B, K, R, D)
        own = attend_visible(own_query, *self._own[module], rules, self._find_hidden_own(rules))
        # All queries of a prompt in one sequence: (G, K, M * R, D).
        folded = own_query.unflatten(0, (-1, self._num_slots)).transpose(1, 2).flatten(2, 3)
        found = attend_visible(
            folded, *self._prompts.layers[module], rules, self._find_hidden_prompt(rules)
        )
        shape = (self._num_slots, own_query.shape[2])
        seen = (x.unflatten(2, shape).transpose(1, 2).flatten(0, 1) for x in found)
        output, _ = merge(*own, *seen)
        return output.flatten(1, 2)[:, None]

    def _find_hidden_own(self, rules: Rules) -> Tensor:
        """Return (1, 1, 1, W), true where no token stands yet or where it is out of the window."""
        distances = self._place - torch.arange(self._room, device=self._place.device)
        hidden = distances < 0
        if rules.window is not None:
            hidden |= distances >= rules.window
        return hidden[None, None, None]

    def _find_hidden_prompt(self, rules: Rules) -> Tensor | None:
        """Return (G, 1, 1, P), true where a prompt has ended or is out of the window."""
        if rules.window is None:
            return self._padding
        lengths = self._prompts.lengths[:, None, None, None]
        places = torch.arange(self._prompts.max_length, device=lengths.device)
        return (lengths + self._place - places >= rules.window) | (places >= lengths)

    def _assign_slots(self, prompt_of: Tensor, completions: Tensor) -> Tensor:
        """Give each completion a slot of its prompt; `prompt_of` is ascending.

        Returns:
            (B,) which of the completions each slot has. An empty slot has the first one, to have
            something to compute; it counts as done.
        """
        counts = torch.bincount(prompt_of, minlength=len(self._prompts.lengths))
        self._num_slots = int(counts.max())
        ranks = torch.arange(len(prompt_of), device=counts.device)
        ranks -= (counts.cumsum(0) - counts)[prompt_of]  # the first of each prompt gets rank 0
        slots = prompt_of * self._num_slots + ranks
        chosen = slots.new_zeros(len(counts) * self._num_slots)
        chosen[slots] = torch.arange(len(slots), device=slots.device)
        self._is_done = torch.ones_like(chosen, dtype=torch.bool)
        self._is_done[slots] = False
        self._completions = torch.full_like(chosen, len(self._drawn) - 1)
        self._completions[slots] = completions
        self._padding = self._prompts.find_padding()
        return chosen

    def _move_running(self) -> None:
        """Move the running completions to a new table, whose prompts all have some."""
        slots = (~self._is_done).nonzero().flatten()
        left, prompt_of = (slots // self._num_slots).unique(return_inverse=True)
        if len(left) < len(self._prompts.lengths):
            self._prompts.keep_prompts(left)
        sources = slots[self._assign_slots(prompt_of, self._completions[slots])]
        self._fed = self._fed[sources]
        for module, (keys, values) in self._own.items():
            moved = _copy_slots(keys, sources, self._room), _copy_slots(values, sources, self._room)
            self._own[module] = moved

    def _count_running(self) -> int:
        return int((~self._is_done).sum())

    def _leaves_most(self) -> bool:
        """Return whether moving to a new table is worth it, or nothing runs."""
        self._require_numbers()
        running = self._count_running()
        return not running or (2 * running < len(self._fed) and len(self._fed) > _FEW_SLOTS)

    def _require_numbers(self) -> None:
        if self._has_nan:
            raise FloatingPointError("the model computes NaN")


def _copy_slots(store: Tensor, sources: Tensor, room: int) -> Tensor:
    """Return keys or values (B, K, W, D) of the given slots with W = `room`."""
    moved = store.new_zeros(len(sources), store.shape[1], room, store.shape[3])
    moved[:, :, : store.shape[2]] = store[sources]
    return moved
