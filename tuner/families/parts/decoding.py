"""From a network that tells the odds of the next token to whole sequences: greedy, and beam search.

Both work on a whole batch. A state is a tuple of tensors whose first dimension is the batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], tuple[Tensor, State]]  # tokens [N] → logits [N, V], next state


def greedy(step: Step, state: State, *, end: int, most: int) -> Tensor:
    """The most likely token at each step; int64 [N, ≤ most], 0 behind the end of a sequence.

    Sequences begin with `end`, which is not among what is returned.
    """
    rows = len(state[0])
    tokens = torch.full((rows,), end, device=state[0].device)
    is_open = torch.ones_like(tokens, dtype=torch.bool)
    written = []
    for _ in range(most):
        logits, state = step(tokens, state)
        tokens = logits[:, 1:].argmax(dim=1) + 1  # padding is no token
        is_open &= tokens != end
        written.append(torch.where(is_open, tokens, 0))
        if not is_open.any():
            break
    return torch.stack(written, dim=1)


def beam(
    step: Step, state: State, *, end: int, most: int, width: int, length_power: float = 0.0
) -> Tensor:
    """The best of `width` sequences that are followed at once; shaped as of `greedy`.

    Best by log-probability / length ^ `length_power` (Wu et al., 2016); 0 does not favour length.
    """
    rows, device = len(state[0]), state[0].device
    state = tuple(part.repeat_interleave(width, dim=0) for part in state)
    first = torch.arange(rows, device=device).unsqueeze(1) * width  # of the beams of a row
    scores = torch.full((rows, width), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams are alike: only one counts
    tokens = torch.full((rows * width,), end, device=device)
    is_open = torch.ones(rows, width, dtype=torch.bool, device=device)
    lengths = torch.zeros(rows, width, device=device)
    written = torch.zeros(rows, width, 0, dtype=torch.int64, device=device)
    for _ in range(most):
        logits, state = step(tokens, state)
        odds = logits.float().log_softmax(dim=1).view(rows, width, -1)
        odds[:, :, 0] = -torch.inf  # padding is no token
        kinds = odds.shape[2]
        closed = torch.full((kinds,), -torch.inf, device=device)
        closed[end] = 0.0  # one that has ended stays as it is
        odds = torch.where(is_open.unsqueeze(2), odds, closed)
        scores, chosen = (scores.unsqueeze(2) + odds).flatten(1).topk(width, dim=1)
        parent, token = chosen // kinds, chosen % kinds
        is_open = is_open.gather(1, parent) & (token != end)
        lengths = lengths.gather(1, parent) + is_open
        written = written.gather(1, parent.unsqueeze(2).expand_as(written))
        written = torch.cat([written, torch.where(is_open, token, 0).unsqueeze(2)], dim=2)
        flat = (first + parent).flatten()
        state = tuple(part[flat] for part in state)
        tokens = token.flatten()
        if not is_open.any():
            break
    best = (scores / (lengths + 1) ** length_power).argmax(dim=1)
    return written[torch.arange(rows, device=device), best]
