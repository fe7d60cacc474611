"""Linear heads on features: which of several classes, or which of several attributes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facestudio.errors import BadOption

STEPS = 60
DECAY = 3e-3  # weight of the squared weights in the loss, for features of spread 1


@dataclass(frozen=True)
class Head:
    """A linear map from features (N, D) to a score for each of K names.

    one_of: the names exclude each other (softmax); else each holds or not (sigmoid), its two
    answers weighed alike however rare it is.
    """

    names: tuple[str, ...]
    one_of: bool
    weight: np.ndarray  # (K, D)
    bias: np.ndarray  # (K,)
    mean: np.ndarray  # (D,), of the features it was fitted on
    spread: np.ndarray  # (D,)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(N, K): the largest wins, or those over 0 hold."""
        return np.asarray((features - self.mean) / self.spread @ self.weight.T + self.bias)

    def choose(self, features: np.ndarray) -> np.ndarray:
        """The number of the winning name, (N,)."""
        return np.asarray(self.scores(features).argmax(1))

    def holds(self, features: np.ndarray) -> np.ndarray:
        """Whether each name holds, bool (N, K)."""
        return self.scores(features) > 0


def fit_head(
    features: np.ndarray, labels: np.ndarray, names: tuple[str, ...], one_of: bool
) -> Head:
    """The head of least penalised loss: logistic regression by L-BFGS, the same each time.

    features (N, D); labels: class numbers (N,) if one_of, else truth values (N, K).
    Raises BadOption where a name has no example, or nothing but examples.
    """
    _check_labels(labels, names, one_of)
    mean, spread = features.mean(0), features.std(0) + 1e-3
    x = torch.from_numpy((features - mean) / spread).float()
    weight = torch.zeros(len(names), x.shape[1], requires_grad=True)
    bias = torch.zeros(len(names), requires_grad=True)
    truth = torch.from_numpy(np.asarray(labels, np.int64 if one_of else np.float32))
    balance = torch.from_numpy(balance_of(labels, len(names), one_of))
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe", history_size=10
    )

    def closure() -> Tensor:
        solver.zero_grad()
        scores = x @ weight.T + bias
        if one_of:
            loss = F.cross_entropy(scores, truth, weight=balance)
        else:
            each = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")
            loss = (each * torch.where(truth > 0, balance, 1.0)).mean()
        loss = loss + DECAY * (weight**2).sum() / len(names)
        loss.backward()
        return loss

    solver.step(closure)
    found = (weight.detach().numpy(), bias.detach().numpy())
    return Head(names, one_of, *found, mean.astype(np.float32), spread.astype(np.float32))


def balance_of(labels: np.ndarray, count: int, one_of: bool) -> np.ndarray:
    """Weights (K,) that make classes count alike, or the examples of a name as much as the rest."""
    if one_of:
        frequency = np.bincount(labels, minlength=count) / len(labels)
        return (1 / (count * frequency)).astype(np.float32)
    share = np.asarray(labels, bool).mean(0)
    return ((1 - share) / share).astype(np.float32)


def _check_labels(labels: np.ndarray, names: tuple[str, ...], one_of: bool) -> None:
    if one_of:
        counts = np.bincount(labels, minlength=len(names))
        empty = counts == 0
    else:
        share = np.asarray(labels, bool).mean(0)
        empty = (share == 0) | (share == 1)
    if empty.any():
        lacking = ", ".join(np.array(names)[empty])
        raise BadOption(f"no pictures to learn from for: {lacking}")
