"""`spacy-skd.FineTuningAdam.v1`: the pretrained transformer learns slowly, the rest fast."""

from typing import Any

from thinc.api import Optimizer
from thinc.types import FloatsXd


class FineTuningAdam(Optimizer):
    """Adam with a lower rate for the parameters of PyTorch models that have modules within."""

    __slots__ = ["pretrained_rate"]

    def __init__(self, learn_rate: Any, *, pretrained_rate: float, **settings: Any) -> None:
        super().__init__(learn_rate, **settings)
        self.pretrained_rate = pretrained_rate

    def __call__(
        self,
        key: tuple[int, str],
        weights: FloatsXd,
        gradient: FloatsXd,
        *,
        lr_scale: float = 1.0,
    ) -> tuple[FloatsXd, FloatsXd]:
        """Apply a gradient; `key` is the number of the model or shim, and the parameter's name."""
        if "." in key[1]:  # "encoder.layer.0.…": thinc's own names have no dots
            lr_scale *= self.pretrained_rate
        return super().__call__(key, weights, gradient, lr_scale=lr_scale)


def make_fine_tuning_adam(
    learn_rate: Any,
    *,
    pretrained_rate: float = 0.1,
    L2: Any = 0.01,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    eps: Any = 1e-8,
    grad_clip: Any = 1.0,
    L2_is_weight_decay: bool = True,
    use_averages: bool = False,
) -> FineTuningAdam:
    """Construct an Adam optimiser for a teacher.

    learn_rate: of all parameters that are not a transformer's, a number or a schedule.
    pretrained_rate: the transformer's learn rate as a part of it. Scores begin at nothing, and at
        the rate that a pretrained transformer can bear they are far from their best when the
        transformer has seen enough.
    The others are those of `Adam.v1`.

    Raises ValueError for a pretrained_rate that is negative.
    """
    if pretrained_rate < 0:
        raise ValueError(f"pretrained_rate should not be negative, but it is {pretrained_rate}.")
    return FineTuningAdam(
        learn_rate,
        pretrained_rate=pretrained_rate,
        L2=L2,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        grad_clip=grad_clip,
        L2_is_weight_decay=L2_is_weight_decay,
        use_averages=use_averages,
    )
