"""The few figures of an evaluation that a reader looks for first, by what the model learned."""

from collections.abc import Mapping
from typing import Any


def headline(figures: Mapping[str, Any]) -> dict[str, str]:
    """Names and values to show, of evaluation.json or of a log's row without `validation_`.

    Each objective has its own: a sum of unlike losses (hidden tokens and pairs, generator and
    detector) has no perplexity and stands beside no guess. Empty where no loss is known.
    """
    if "detector_loss" in figures:
        return _detected(figures)
    if "masked_accuracy" in figures:
        return _hidden(figures)
    if "loss" not in figures:
        return {}
    shown = {"validation loss": f"{figures['loss']:.4f}"}
    if figures.get("perplexity") is not None:
        shown["perplexity"] = f"{figures['perplexity']:.2f}"
    if figures.get("bits_per_byte") is not None:
        shown["bits per byte"] = f"{figures['bits_per_byte']:.4f}"
    elif "unigram_loss" in figures:
        shown["loss by frequency alone (control tokens free)"] = f"{figures['unigram_loss']:.4f}"
    return shown


def _hidden(figures: Mapping[str, Any]) -> dict[str, str]:
    """Of BERT and its kin."""
    guess = "unigram_loss" in figures
    right, loss = figures["masked_accuracy"], figures.get("masked_loss", figures.get("loss"))
    shown = {"hidden tokens right": f"{right:.1%}"}
    if guess:
        shown["by frequency alone"] = f"{figures['unigram_accuracy']:.1%}"
    if loss is not None:
        shown["their loss"] = f"{loss:.4f}"
    if guess:
        shown["loss by frequency alone"] = f"{figures['unigram_loss']:.4f}"
    if "pair_accuracy" in figures:
        shown["pairs right"] = f"{figures['pair_accuracy']:.1%}"
        shown["by chance"] = "50.0%"  # half of the pairs are made wrong
    return shown


def _detected(figures: Mapping[str, Any]) -> dict[str, str]:
    """Of ELECTRA."""
    return {
        "tokens told original from replaced": f"{figures['detector_accuracy']:.1%}",
        "by always saying original": f"{1 - figures['replaced']:.1%}",
        "detector's loss": f"{figures['detector_loss']:.4f}",
        "generator's loss": f"{figures['generator_loss']:.4f}",
    }
