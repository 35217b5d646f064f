"""What `ownlm doctor TASK MODEL` proves of a finetuning, on its own model, records and task."""

import copy
from collections.abc import Iterator

import torch

from ownlm.errors import ConfigError
from ownlm.evaluation.finding import Finding, at_most, not_applicable
from ownlm.evaluation.task_checks import task_checks
from ownlm.models.merge import merge
from ownlm.models.model import Model
from ownlm.recipes.finetune import Parts, derived, gathered
from ownlm.recipes.tuning import FinetuneConfig

MERGING, ENDING = "merged adapter = adapter", "every answer ends"


def task_findings(config: FinetuneConfig) -> Iterator[Finding]:
    """All checks of a finetuning; nothing is written. Raises what the run would raise."""
    parts = gathered(config)
    model = parts.subject.model.float()
    yield from task_checks(
        lambda: copy.deepcopy(model), parts.task, parts.lessons.train, derived(parts).optimizer
    )
    yield check_ends(parts)
    yield check_merging(copy.deepcopy(model), parts)


def check_ends(parts: Parts) -> Finding:
    """Conversations whose last learned token is one that ends turns: what teaches to stop."""
    if parts.config.task != "chat":
        return not_applicable(ENDING, "no conversations are learned")
    chat = parts.subject.tokenizer.need_chat()
    ends = chat.stop_ids | {parts.subject.tokenizer.eos_id}
    room = parts.lessons.longest
    whole = [one for one in parts.lessons.train if len(one.ids) < room]
    endless = sum(not ends.intersection(one.ids[one.target.astype(bool)]) for one in whole)
    detail = f"{len(whole):,} conversations that are not cut"
    return at_most(ENDING, endless, 0, "answers that teach no end", detail)


def check_merging(model: Model, parts: Parts) -> Finding:
    """An adapter that has moved, added to its base: answers before and after."""
    if not parts.config.adapt.low_rank:
        return not_applicable(MERGING, f"no adapter: --adapt.kind {parts.config.adapt.kind}")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora.b" in name:  # as after some training: at first it is zero
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    try:
        found = merge(model)
    except ConfigError as error:
        return Finding(MERGING, None, None, "", False, error.what)
    unit = "largest difference of an answer, as a share of the largest"
    return at_most(MERGING, found.error, found.tolerance, unit, f"effect {found.effect:.1e}")
