"""Our own chat template, for models whose tokenizer brings none."""

import json

from ownlm.errors import DataError
from ownlm.tokenization.chat import KEY
from ownlm.tokenization.tokenizer import PASSING, Tokenizer

BEGIN, END = "<|im_start|>", "<|im_end|>"

OWN = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- 'Functions that can be called:' }}
    {%- for tool in tools %}
        {{- '\\n' + tool | tojson }}
    {%- endfor %}
    {{- '\\nTo call one, write <tool_call>{"name": ..., "arguments": {...}}</tool_call>.' }}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if not (tools and loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if message.content %}
            {{- message.content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- set called = call.function or call %}
            {{- '\\n' if message.content or not loop.first }}
            {{- '<tool_call>{"name": ' + called.name | tojson + ', "arguments": ' }}
            {{- called.arguments | tojson + '}</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""ChatML (OpenAI 2023): each turn between two control tokens, the role in its first line."""


def with_template(tokenizer: Tokenizer, source: str | None = None) -> Tokenizer:
    """The same tokenizer with a chat template: `source`, else our own, whose two control tokens
    are added at the end of the vocabulary where they are missing.

    A model must be given rows for new ids. Raises DataError for a vocabulary that cannot grow.
    """
    # transformers is to find control tokens in what its template writes.
    settings = {k: v for k, v in tokenizer.settings.items() if k != "split_special_tokens"}
    settings[KEY] = OWN if source is None else source
    missing = [name for name in (BEGIN, END) if name not in tokenizer.special]
    if source is not None or not missing:
        return Tokenizer(tokenizer.definition, settings)
    if settings.get(PASSING):
        raise DataError("no id can be added behind those that merges pass through", where=PASSING)
    spec = json.loads(tokenizer.definition)
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    spec["added_tokens"] = (spec.get("added_tokens") or []) + [
        {"id": tokenizer.vocab_size + number, "content": name, "special": True} | plain
        for number, name in enumerate(missing)
    ]
    return Tokenizer(json.dumps(spec, ensure_ascii=False, indent=2), settings)
