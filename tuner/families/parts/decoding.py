"""Decode whole sequences from a network that predicts the next token: greedy and beam search.

Both work on a whole batch. A state is a tuple of tensors whose first dimension is the batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], tuple[Tensor, State]]  # tokens [N] → logits [N, V], next state


def greedy(step: Step, state: State, *, end: int, max_length: int) -> Tensor:
    """Take the most likely token at each step; int64 [N, ≤ max_length], padded with 0.

    `end` is also the token that decoding starts from; sequences are returned without it.
    """
    rows = len(state[0])
    tokens = torch.full((rows,), end, device=state[0].device)
    is_open = torch.ones_like(tokens, dtype=torch.bool)
    columns = []
    for _ in range(max_length):
        logits, state = step(tokens, state)  # [N, V]
        tokens = logits[:, 1:].argmax(dim=1) + 1  # never padding
        is_open &= tokens != end
        columns.append(torch.where(is_open, tokens, 0))
        if not is_open.any():
            break
    return torch.stack(columns, dim=1)


def beam(
    step: Step, state: State, *, end: int, max_length: int, width: int, length_power: float = 0.0
) -> Tensor:
    """Follow the `width` best hypotheses and return the best; shaped as by `greedy`.

    The best has the highest log-probability / length ^ `length_power` (Wu et al., 2016); 0 does not
    correct for length.
    """
    rows, device = len(state[0]), state[0].device
    state = tuple(tensor.repeat_interleave(width, dim=0) for tensor in state)  # [N · width, …]
    offsets = torch.arange(rows, device=device).unsqueeze(1) * width  # first hypothesis of each row
    scores = torch.full((rows, width), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all hypotheses are equal at first: only one counts
    tokens = torch.full((rows * width,), end, device=device)
    is_open = torch.ones(rows, width, dtype=torch.bool, device=device)
    lengths = torch.zeros(rows, width, device=device)
    sequences = torch.zeros(rows, width, 0, dtype=torch.int64, device=device)  # [N, width, steps]
    for _ in range(max_length):
        logits, state = step(tokens, state)
        log_probabilities = logits.float().log_softmax(dim=1).view(rows, width, -1)
        log_probabilities[:, :, 0] = -torch.inf  # never padding
        vocabulary = log_probabilities.shape[2]
        closed = torch.full((vocabulary,), -torch.inf, device=device)
        closed[end] = 0.0  # a hypothesis that has ended keeps its score
        log_probabilities = torch.where(is_open.unsqueeze(2), log_probabilities, closed)
        candidates = (scores.unsqueeze(2) + log_probabilities).flatten(1)  # [N, width · V]
        scores, indices = candidates.topk(width, dim=1)
        parents, next_tokens = indices // vocabulary, indices % vocabulary  # [N, width]
        is_open = is_open.gather(1, parents) & (next_tokens != end)
        lengths = lengths.gather(1, parents) + is_open
        sequences = sequences.gather(1, parents.unsqueeze(2).expand_as(sequences))
        column = torch.where(is_open, next_tokens, 0).unsqueeze(2)
        sequences = torch.cat([sequences, column], dim=2)
        flat = (offsets + parents).flatten()
        state = tuple(tensor[flat] for tensor in state)
        tokens = next_tokens.flatten()
        if not is_open.any():
            break
    best = (scores / (lengths + 1) ** length_power).argmax(dim=1)
    return sequences[torch.arange(rows, device=device), best]
