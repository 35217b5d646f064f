"""`ownlm classify|tag|answer|translate|summarize|embed MODEL "text"`: one answer of a model."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import tyro

from ownlm.cli.options import parse
from ownlm.config import Config
from ownlm.errors import ConfigError

if TYPE_CHECKING:
    from ownlm.data.tasks.predictions import Prediction
    from ownlm.data.tasks.records import Record
    from ownlm.recipes.tuned import Tuned

VERBS = {
    "classify": ("classify", "pair", "regress"),
    "tag": ("tag",),
    "answer": ("span",),
    "translate": ("seq2seq",),
    "summarize": ("seq2seq",),
    "embed": ("embed",),
}
"""Commands, and the tasks that a model must have been taught for them."""


class AskOptions(Config):
    """What a finetuned model says of a text."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder or run of `ownlm finetune`."""
    text: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")] = ()
    """One text or several; none: a text a line from standard input."""
    pair: str = ""
    """The second text, of a model that was taught pairs."""
    context: str = ""
    """Of `answer`: the text that the answer stands in, or a file of it."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    json_output: Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff] = False
    """Print a line of JSON a text."""


def run(args: list[str]) -> int:
    """The command, whose name comes first; returns the exit code."""
    verb = args[0]
    options = parse(AskOptions, args[1:], prog=f"ownlm {verb}", description=__doc__)
    from ownlm.recipes.predict import asked, predict
    from ownlm.recipes.tuned import load_tuned
    from ownlm.runtime import pick_device

    tuned = load_tuned(options.model, pick_device(options.device))
    if tuned.kind not in VERBS[verb]:
        fitting = [name for name, kinds in VERBS.items() if tuned.kind in kinds]
        raise ConfigError(
            f"this model was taught to {tuned.kind}, not to {verb}",
            where=options.model,
            next_command=f"ownlm {fitting[0] if fitting else 'chat'} {options.model}",
        )
    other = context_of(options) if verb == "answer" else options.pair
    texts = options.text or tuple(line for line in sys.stdin.read().splitlines() if line.strip())
    for record, prediction in predict(tuned, [asked(tuned, text, other) for text in texts]):
        if options.json_output:
            print(json.dumps(prediction.as_dict(), ensure_ascii=False))
        else:
            print(shown(tuned, record, prediction))
    return 0


def context_of(options: AskOptions) -> str:
    """The text that an answer stands in. ConfigError without one."""
    from pathlib import Path

    if not options.context:
        raise ConfigError("which text does the answer stand in?", next_command="--context TEXT")
    path = Path(options.context)
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else options.context
    except OSError:  # a text too long for a name of a file
        return options.context


def shown(tuned: "Tuned", record: "Record", prediction: "Prediction") -> str:
    """A prediction as people read it."""
    from ownlm.data.tasks.predictions import Classified, Estimate, Extract, Tagging, Writing
    from ownlm.data.tasks.records import Tagged

    if isinstance(prediction, Classified):
        sure = [f"{label} {prediction.probabilities[label]:.1%}" for label in prediction.labels]
        return ", ".join(sure) or "none of " + ", ".join(tuned.task.labels)
    if isinstance(prediction, Estimate):
        return f"{prediction.score:.3f}"
    if isinstance(prediction, Tagging) and isinstance(record, Tagged):
        width = max(map(len, record.words))
        return "\n".join(
            f"{word:<{width}}  {tag}" for word, tag in zip(record.words, prediction.tags)
        )
    if isinstance(prediction, Extract):
        return prediction.text or "(no answer in this text)"
    if isinstance(prediction, Writing):
        return prediction.text
    return json.dumps(prediction.as_dict())
