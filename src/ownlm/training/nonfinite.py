"""What was on the table when a loss or gradient stopped being a number."""

from typing import Any

import torch

from ownlm import files
from ownlm.errors import NonFiniteError
from ownlm.training import checkpoint
from ownlm.training.feed import Feed
from ownlm.training.run import RunFolder
from ownlm.training.step import Stepper


def refusal(run: RunFolder, stepper: Stepper, feed: Feed, step: int) -> NonFiniteError:
    """Write down what update `step` (from 0), which was not made, consisted of; the error to raise.

    No random state is kept anywhere, so the update can be replayed: the file tells the samples
    and the loss of each micro-batch, and the parameters whose gradient is not finite.
    """
    path = run.path / f"nonfinite-{checkpoint.name_of(step + 1)}.json"
    files.write_json(path, {"step": step + 1, **_replay(stepper, feed, step)})
    found = checkpoint.checkpoints(run.checkpoints)
    return NonFiniteError(
        "the loss or its gradient is not a number; the parameters were not changed",
        where=f"step {step + 1}",
        kept=f"{found[-1] if found else 'no checkpoint yet'}; samples and losses: {path}",
        next_command="look at these samples; --resume --allow-change with a smaller "
        "--optimizer.lr or with --train.precision fp32",
    )


def _replay(stepper: Stepper, feed: Feed, step: int) -> dict[str, Any]:
    parts, names = [], set()
    for micro, samples in enumerate(feed.look(step)):
        loss = stepper.micro_batch(samples, step, micro, first=True)
        ids = [int(number) for number in samples.sample_ids]
        parts.append({"loss": str(float(loss.total / loss.count)), "sample_ids": ids})
        gradients = stepper.weights.gradients()
        names |= {name for name, g in gradients.items() if not torch.isfinite(g).all()}
        stepper.weights.publish()
    return {"micro_batches": parts, "parameters": sorted(names)}
