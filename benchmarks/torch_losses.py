"""Losses of others as objectives of a component: written with torch, differentiated by autograd.

They get the student's scores as padded batches. What depends on the batch's lengths alone is kept
between calls; potentials that are -inf become -1e4, with which these libraries can do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch_struct
import torchcrf

from spacy_skd.distill.objectives import OfSentence
from spacy_skd.distill.targets import Target
from spacy_skd.structures import ChainMarginals, LinearChain

FORBIDDEN = -1e4


class TorchObjective:
    """An objective whose loss is a function of torch tensors.

    loss: of emissions (B, T, L), transitions (L, L), start (L,), end (L,), gold labels (B, T),
    mask (B, T) and the teacher's potentials in the same form, or None.
    """

    started = True

    def __init__(self, loss: Callable[..., torch.Tensor]) -> None:
        self.loss = loss

    def start(self, total_steps: int) -> None:
        """Nothing depends on the length of the run."""

    def finish_step(self) -> None:
        """Nothing depends on the step."""

    def __call__(
        self, student: LinearChain, annotation: np.ndarray, targets: Sequence[OfSentence]
    ) -> tuple[float, ChainMarginals]:
        lengths = torch.tensor(student.lengths)
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        emissions = padded(torch.from_numpy(student.emissions), mask).requires_grad_()
        tables = [
            torch.from_numpy(np.maximum(table, FORBIDDEN)).requires_grad_()
            for table in (student.transitions, student.start, student.end)
        ]
        teacher = None
        if targets[0]:
            found = [target if isinstance(target, Target) else target[0] for target in targets]
            scores = np.concatenate([target.scores for target in found]).astype("float32")
            theirs = found[0].teacher.tables
            teacher = (
                padded(torch.from_numpy(scores), mask),
                *(
                    torch.from_numpy(np.maximum(theirs[name], FORBIDDEN))
                    for name in ("transitions", "start", "end")
                ),
            )
        gold = padded(torch.from_numpy(annotation.astype("int64")), mask)
        loss = self.loss(emissions, *tables, gold, mask, teacher) / len(lengths)
        loss.backward()
        gradients = [
            np.zeros_like(student.start) if table.grad is None else table.grad.numpy()
            for table in tables
        ]
        return loss.item(), ChainMarginals(emissions.grad[mask].numpy(), *gradients)


def padded(flat: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(N, ...) as (B, T, ...)."""
    batch = torch.zeros(*mask.shape, *flat.shape[1:], dtype=flat.dtype)
    batch[mask] = flat
    return batch


def pytorch_crf(emissions, transitions, start, end, gold, mask, teacher) -> torch.Tensor:
    """The negative log-likelihood of pytorch-crf."""
    crf = torchcrf.CRF(len(start), batch_first=True)
    # Parameters of a module cannot be set to tensors that are no leaves of its own.
    del crf.transitions, crf.start_transitions, crf.end_transitions
    crf.transitions, crf.start_transitions, crf.end_transitions = transitions, start, end
    return -crf(emissions, gold, mask)


def pytorch_struct(emissions, transitions, start, end, gold, mask, teacher) -> torch.Tensor:
    """The negative log-likelihood of torch-struct; sentences have at least two tokens."""
    lengths = mask.sum(dim=1)
    sentences = torch.arange(len(lengths))
    # edges[b, i, to, from]: the step from token i to token i + 1.
    edges = emissions[:, 1:, :, None] + transitions.T
    first = (emissions[:, 0] + start)[:, None, None, :]
    last = torch.zeros_like(edges).index_put(
        (sentences, lengths - 2), end[:, None].expand(len(lengths), -1, len(end))
    )
    edges = torch.cat([edges[:, :1] + first, edges[:, 1:]], dim=1) + last
    chain = torch_struct.LinearChainCRF(edges, lengths=lengths)
    score = edges[sentences[:, None], torch.arange(mask.shape[1] - 1), gold[:, 1:], gold[:, :-1]]
    return (chain.partition - (score * mask[:, 1:]).sum(dim=1)).sum()


def local_matching(emissions, transitions, start, end, gold, mask, teacher) -> torch.Tensor:
    """Lin et al. 2022: squared difference of the scores of all pairs, and the gold likelihood."""
    their_emissions, their_transitions, _, _ = teacher
    ours = emissions[:, :, None, :] + transitions
    theirs = their_emissions[:, :, None, :] + their_transitions
    squares = ((ours - theirs) ** 2).mean(dim=(2, 3))
    nll = pytorch_crf(emissions, transitions, start, end, gold, mask, teacher)
    return 0.5 * (squares * mask).sum() + 0.5 * nll
