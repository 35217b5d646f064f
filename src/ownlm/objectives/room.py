"""How much context an objective needs: its marks, and at least one token to learn.

With less of it rows hold nothing that is learned, or do not fit in the model.
"""

from ownlm.errors import ConfigError
from ownlm.objectives.config import ObjectiveConfig
from ownlm.objectives.masked import SHORTEST_PAIR

# fmt: off
LEAST = {
    "codes":     2,  # the code of the text, a token
    "middle":    3,  # prefix, suffix, middle; the token after them is learned
    "masked":    3,  # begin, a token, end
    "replaced":  3,
    "spans":     3,  # a token, the mark of a hidden one, end
    "infilling": 4,  # begin, two tokens of a text that goes on, end
    "seq2seq":   3,  # begin, a token, end
}
# fmt: on
"""Tokens by the kind of a settled objective; others learn from a single one."""

PAIR_MARKS = 3
"""begin A end B end"""


def least_context(objective: ObjectiveConfig) -> int:
    """The shortest context from which a settled objective learns something."""
    if objective.pairs not in ("auto", "none"):
        return SHORTEST_PAIR + PAIR_MARKS
    return LEAST.get(objective.kind, 1)


def require_room(objective: ObjectiveConfig, context: int) -> None:
    """ConfigError where the context is too short for a settled objective."""
    least = least_context(objective)
    if context < least:
        pairs = " with pairs of segments" if objective.pairs not in ("auto", "none") else ""
        raise ConfigError(
            f"{context} tokens are too short for {objective.kind!r}{pairs}, which needs "
            f"{least}: its marks, and text to learn",
            where="model.context",
            next_command=f"--model.context {least} or more",
        )
