"""Speed of LoRA training beside transformers + PEFT: same model, rows, targets and additions.

    python benchmarks/lora.py --model SmolLM2-135M-Instruct.gguf --data conversations.json

Contestants are processes of their own that stay alive and take turns, as in training.py. A turn is
a few whole updates (forward, backward, clip, AdamW) on the same packed rows of conversations; only
the assistant's tokens are learned. Quoted: medians over the rounds, the median of the ratios
within each round, and each one's loss over the same updates.

ownlm keeps packed conversations apart; the peers are spared that work and read a row as one text,
which lowers their losses. With --apart they get a mask and positions that part them too: then the
losses are equal.

    ownlm-bf16           as `ownlm finetune chat` trains
    peft-weights-MODE    everything in bf16, additions too (autocast_adapter_dtype=False)
    peft-mixed-MODE      bf16 weights, float32 additions, bf16 autocast: PEFT's own default
    peft-fp32-MODE       as the README of PEFT has it
    trl-MODE             TRL's SFTTrainer's step on bf16 weights (needs trl and datasets)
MODE: eager or compiled. Peers get jemalloc with huge pages where it is installed.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ownlm import runtime
from ownlm.data.packing import PackedExamples, Packing
from training import ask, machine, ready

USUAL = "ownlm-bf16,peft-weights-eager,peft-weights-compiled,peft-mixed-eager,trl-eager"
RATE, CLIP = 2e-4, 1.0
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PASSED = ("model", "folder", "data", "length", "batch", "rank", "dropout", "threads")
Update = Callable[[], float]
"""Makes one update; its mean loss."""


def packing(o: argparse.Namespace) -> Packing:
    """Rows of conversations; without data, of random tokens of which the second half is learned."""
    if not o.data:
        rng = np.random.default_rng(0)
        sizes = rng.integers(60, o.length, 400)
        made = [(rng.integers(10, 40_000, n).tolist(), [p >= n // 2 for p in range(n)])
                for n in sizes]  # fmt: skip
        return Packing(made, o.length, o.batch, seed=1)
    from ownlm.data.tasks.config import TaskDataConfig
    from ownlm.data.tasks.load import load_task
    from ownlm.inference.language_model import load_tokenizer_of

    chat = load_tokenizer_of(o.model).need_chat()
    records = load_task(TaskDataConfig(path=o.data), "chat").records
    applied = [chat.apply([m.as_dict() for m in record.messages]) for record in records]
    return Packing([(a.ids, a.learned) for a in applied], o.length, o.batch, seed=1)


def rows(o: argparse.Namespace) -> Iterator[PackedExamples]:
    """The rows of each update."""
    found, step = packing(o), 0
    while True:
        yield found.batch(step)
        step += 1


def ownlm(o: argparse.Namespace) -> Update:
    from ownlm.models.adapt import adapt
    from ownlm.models.adapt_config import AdaptConfig
    from ownlm.models.load import load_any
    from ownlm.objectives.chat import Chat
    from ownlm.training.config import OptimizerConfig
    from ownlm.training.optimizer import AdamW
    from ownlm.training.precision import Weights
    from ownlm.training.step import Stepper, read

    runtime.settle_memory(4 << 30)
    model, _ = load_any(o.folder)
    adapt(model, AdaptConfig(kind="lora", rank=o.rank, alpha=2 * o.rank, dropout=o.dropout), seed=1)
    weights = Weights(model.train(), "bf16")
    optimizer = AdamW(weights.master, OptimizerConfig(weight_decay=0.0, betas=(0.9, 0.999)))
    stepper = Stepper(model, Chat(), weights, optimizer, seed=1, clip=CLIP)
    examples, number = rows(o), iter(range(1 << 40))
    return lambda: read(stepper.step([next(examples)], next(number), RATE)).loss


def peft(o: argparse.Namespace, precision: str, compiled: bool) -> Update:
    model = theirs(o, precision)
    live = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(live, lr=RATE, weight_decay=0.0, fused=True)
    run = torch.compile(model, dynamic=False) if compiled else model
    batches = (inputs(examples, o.apart) for examples in rows(o))
    mixed = precision == "mixed"

    def update() -> float:
        with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
            loss = run(**next(batches)).loss
        loss.backward()
        nn.utils.clip_grad_norm_(live, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return update


def theirs(o: argparse.Namespace, precision: str) -> Any:
    """The model of transformers with PEFT's additions."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    bare = AutoModelForCausalLM.from_pretrained(o.folder, dtype=kind, attn_implementation="sdpa")
    bare.config.use_cache = False
    return get_peft_model(bare, lora_config(LoraConfig, o),
                          autocast_adapter_dtype=precision != "weights").train()  # fmt: skip


def lora_config(kind: Any, o: argparse.Namespace) -> Any:
    return kind(r=o.rank, lora_alpha=2 * o.rank, lora_dropout=o.dropout, target_modules=TARGETS,
                task_type="CAUSAL_LM")  # fmt: skip


def inputs(examples: PackedExamples, apart: bool) -> dict[str, torch.Tensor]:
    """A row; transformers itself compares each token with the one before."""
    ids, text = (torch.from_numpy(x) for x in (examples.tokens, examples.documents))
    labels = ids.masked_fill(~torch.from_numpy(examples.learned), -100)
    found = {"input_ids": ids, "labels": labels}
    if not apart:
        return found
    begins = torch.cat([text[:, :1] > 0, text[:, 1:] != text[:, :-1]], dim=1)
    labels[begins] = -100
    places = torch.arange(ids.shape[1]).expand_as(ids)
    first = torch.where(begins, places, 0).cummax(dim=1).values
    seen = (text[:, :, None] == text[:, None, :]).tril()
    mask = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill_(~seen, -1e30)
    return found | {"position_ids": places - first, "attention_mask": mask[:, None]}


def trl(o: argparse.Namespace, compiled: bool) -> Update:
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    unused = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))  # rows are ids already
    words = PreTrainedTokenizerFast(tokenizer_object=unused, pad_token="x", eos_token="x")
    bare = AutoModelForCausalLM.from_pretrained(o.folder, dtype=torch.bfloat16)
    from peft import LoraConfig

    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to=[], max_steps=10**6,
        per_device_train_batch_size=o.batch, learning_rate=RATE, torch_compile=compiled,
        gradient_checkpointing=False, optim="adamw_torch_fused", max_length=None,
        save_strategy="no",
    )  # fmt: skip
    data = Dataset.from_dict({"input_ids": [[1, 2, 3]], "labels": [[1, 2, 3]]})
    trainer = SFTTrainer(bare, settings, train_dataset=data, processing_class=words,
                         peft_config=lora_config(LoraConfig, o))  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1  # which train() would set
    trainer.create_optimizer()
    model = trainer.accelerator.prepare(trainer.model).train()
    batches = (inputs(examples, o.apart) for examples in rows(o))

    def update() -> float:
        loss = trainer.training_step(model, next(batches))
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], CLIP)
        trainer.optimizer.step()
        model.zero_grad(set_to_none=True)
        return loss.item()

    return update


def update_of(contestant: str, o: argparse.Namespace) -> Update:
    """One update of a contestant."""
    package, *how = contestant.split("-")
    if package == "ownlm":
        return ownlm(o)
    return (
        trl(o, how == ["compiled"]) if package == "trl" else peft(o, how[0], how[1] == "compiled")
    )


def work(contestant: str, o: argparse.Namespace) -> None:
    """The worker's loop: a number of updates in on a line, the seconds and the losses out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(o.threads)
    update = update_of(contestant, o)
    for line in sys.stdin:
        start = time.perf_counter()
        losses = [update() for _ in range(int(line))]
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, losses]), file=answers, flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a model folder or GGUF file (LLaMA names)")
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--data", default="", help="conversations in any format")
    parser.add_argument("--contestants", default=USUAL, help="the first is compared to the rest")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4, help="rows an update")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=2, help="updates a turn")
    parser.add_argument("--warm", type=int, default=2, help="updates before the first round")
    parser.add_argument("--threads", type=int, default=runtime.core_count())
    parser.add_argument("--apart", action="store_true", help="conversations, for the peers too")
    parser.add_argument("--wait", action="store_true", help="for Enter, before the rounds")
    parser.add_argument("--json", default="", help="a file for the figures")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(o: argparse.Namespace) -> dict[str, Any]:
    """The rounds of all contestants and what they come to."""
    workers = ready(o.contestants.split(","), o, script=__file__, passed=PASSED)
    if o.wait:
        input("Enter begins the rounds\n")
    rounds = [{name: ask(w, o.updates) for name, w in workers.items()} for _ in range(o.rounds)]
    for worker in workers.values():
        worker.kill()
    found = packing(o)
    learned = np.mean([found.batch(n).learned.mean() for n in range(o.updates * o.rounds)])
    return {"options": vars(o), "rounds": rounds, "filled": found.filled, "learned": learned,
            "machine": machine()}  # fmt: skip


def show(found: dict[str, Any]) -> None:
    """A table."""
    o, rounds = found["options"], found["rounds"]
    print(f"{o['batch']} rows of {o['length']} tokens, rank {o['rank']}, rows filled to "
          f"{found['filled']:.0%}, {found['learned']:.0%} of all places learned")  # fmt: skip
    first = next(iter(rounds[0]))
    for name in rounds[0]:
        seconds = statistics.median(r[name][0] for r in rounds) / o["updates"]
        ratio = statistics.median(r[name][0] / r[first][0] for r in rounds)
        loss = statistics.mean(x for r in rounds for x in r[name][1])
        print(f"{name:24} {o['batch'] * o['length'] / seconds:9,.0f} tokens/s"
              f"   {first} is {ratio:5.2f} times it   mean loss {loss:.4f}")  # fmt: skip
    print(found["machine"])


def main() -> None:
    """Measure, print a table, keep the figures."""
    o = parse()
    if o.worker:
        return work(o.worker, o)
    with tempfile.TemporaryDirectory() as folder:
        from ownlm.models.load import load_any, save_model

        o.folder = folder
        save_model(load_any(o.model, dtype=torch.float32)[0], folder)
        found = measure(o)
    if o.json:
        Path(o.json).write_text(json.dumps(found, indent=1))
    return show(found)


if __name__ == "__main__":
    main()
