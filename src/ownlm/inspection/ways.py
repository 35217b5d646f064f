"""What there is to see in a model at work."""

from ownlm.inference.language_model import LM
from ownlm.inspection.fill import fills


def ways(lm: LM) -> list[str]:
    """The ways to look for which a model has something to show: attention, lens, probabilities.

    A model of vectors says no words, a recurrent one attends to nothing.
    """
    shown = {
        "attention": lm.model.architecture.stack.heads > 0,
        "lens": bool(lm.model.architecture.head.vocab and getattr(lm.model.stack, "blocks", ())),
        "probabilities": lm.writer is not None or lm.answers or fills(lm),
    }
    return [way for way, there in shown.items() if there]
