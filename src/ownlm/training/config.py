"""What decides a training besides model and data. No torch here: options are parsed with this."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ownlm.config import Config

Decay = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["fp32", "mixed", "bf16"]


class OptimizerConfig(Config):
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101), Muon, or Adafactor."""

    kind: Literal["adamw", "muon", "adafactor"] = "adamw"
    """adamw; muon: the matrices of the blocks move in orthogonal directions (Jordan et al. 2024),
    embeddings, head and vectors by AdamW; adafactor: moments of rows and columns only, steps as
    large as the parameters are (Shazeer and Stern, arXiv:1804.04235), T5's choice."""
    lr: float = Field(default=1e-3, ge=0)
    """Highest learning rate; the schedule scales it. 0: a recipe derives it from the width."""
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    """Decay of the running means of the gradient and of its square."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square, so that a tiny gradient makes no huge step."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Muon: decay of the running mean of the gradient."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Pull of matrices and embeddings towards zero, in units of the learning rate; norms and
    biases are never decayed."""


class ScheduleConfig(Config):
    """How the learning rate goes over the run, as a share of the optimizer's lr."""

    kind: Literal["cosine", "wsd", "inverse_sqrt", "constant"] = "cosine"
    """cosine: down half a wave from the end of warmup; wsd: flat, then down to the end in a
    straight line (warmup, stable, decay); inverse_sqrt: as one over the root of the step, from the
    end of warmup (the 2017 Transformer); constant: flat."""
    warmup: int = Field(default=0, ge=0)
    """Updates over which the rate climbs from near zero."""
    decay: float = Field(default=0.2, gt=0, le=1)
    """wsd: share of all updates that the descent takes, at the end."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Share of lr that is left at the end of a cosine or wsd run."""


class TrainConfig(Config):
    """The loop: how much, how exactly, and how often it looks, saves and speaks."""

    steps: int = Field(default=1000, ge=0, le=1_000_000_000_000)
    """Updates of the parameters. 0: a recipe derives them from the amount of data."""
    batch: int = Field(default=32, ge=1, le=1_048_576)
    """Sequences an update."""
    micro_batch: int = Field(default=0, ge=0)
    """Sequences in memory at once; must divide `batch`. 0: all of them. The result is the same."""
    precision: Literal["auto", "fp32", "mixed", "bf16"] = "auto"
    """bf16: the model computes in bfloat16 while the optimizer keeps float32; mixed: only the
    products of its blocks do, where that is faster, else none; auto: what is faster on this
    machine."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the model (torch.compile): faster steps after tens of seconds of preparation."""
    recompute: Literal["auto", "on", "off"] = "auto"
    """Keep only what enters each block and compute the rest again in the backward pass: a fraction
    of the memory, a third more time, the same result; auto: where one sequence would not fit
    otherwise."""
    grad_clip: float = Field(default=1.0, ge=0)
    """Largest global norm of the gradient; 0: no limit."""
    evaluate_every: int = Field(default=250, ge=0)
    """Updates between evaluations, each after a save; 0: only at the end."""
    save_every: int = Field(default=250, ge=0)
    """Updates between checkpoints, the most a crash can cost; 0: at evaluations and the end."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints that stay. The best one stays too, and any that holds a file `keep`."""
    log_every: int = Field(default=10, ge=1)
    """Updates between rows of log.jsonl."""
    sample_every: int = Field(default=0, ge=0)
    """Updates between samples of the model's text; 0: none."""
    seed: int = Field(default=1337, ge=0)
    """Decides initial parameters, order of the data, dropout and corruption."""
    threads: int = Field(default=0, ge=0)
    """Cores to compute on; 0: chosen for this machine."""
    documents: bool = True
    """Text of one document does not see the one packed before it."""


class Choices(Config):
    """What `auto` became on this machine. Kept with the checkpoints: a resumed run keeps it."""

    precision: Precision = "fp32"
    compile: bool = False
    threads: int = 0
    """Cores computed on; 0: left as the process was started."""
    micro_batch: int = 0
    """Sequences in memory at once; 0: the whole batch."""
    recompute: bool = False
    """Blocks keep only what enters them."""
    native: Literal["", "AMX", "AVX-512"] = ""
    """What multiplied in the kernels built on this machine, each of which rounds its own way."""

    @field_validator("native", mode="before")
    @classmethod
    def _of_older_runs(cls, value: object) -> object:
        """Which said whether there were kernels, of AMX alone."""
        return {True: "AMX", False: ""}[value] if isinstance(value, bool) else value
