"""Control codes (CTRL, Keskar et al. 2019): control tokens that name what a text is."""

import re
from collections.abc import Mapping

from ownlm.errors import ConfigError

_NAME = re.compile(r"<\|code:(.+)\|>")


def code_name(code: str) -> str:
    """'Books' -> '<|code:Books|>', the name of its token."""
    return f"<|code:{code}|>"


def codes_among(special: Mapping[str, int]) -> dict[str, int]:
    """Ids of the codes among control tokens, by what they are called."""
    found = ((_NAME.fullmatch(name), id) for name, id in special.items())
    return {match[1]: id for match, id in found if match}


def code_id(codes: Mapping[str, int], code: str) -> int:
    """The id of a code; ConfigError lists those that there are."""
    if code in codes:
        return codes[code]
    known = ", ".join(map(repr, list(codes)[:20])) or "it has none"
    raise ConfigError(
        f"the tokenizer has no control code {code!r}; its codes: {known}",
        where="code",
        next_command="one of these; a tokenizer is given codes as it is trained: --data.codes",
    )
