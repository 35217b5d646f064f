"""What bodies have in common, and the values that several of them take.

Numbers are numbers: "0.7", true and NaN are refused. A name that no endpoint knows is refused
too: a misspelt `temperature` that is ignored costs more than an error.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

LONGEST_STOP = 256
"""Characters of a stop string."""
BIASED = 1024
"""Tokens that logit_bias may name."""

Text = Annotated[str, Field(max_length=1 << 24)]
Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Tokens = Annotated[int, Field(ge=0, lt=2**31)]


class Body(BaseModel):
    """Base of what clients send."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Named(Body):
    """A request to a model."""

    model: str | None = Field(default=None, max_length=512)
    """One of /v1/models; may be left out where there is only one."""
    user: str | None = None
    """Not used: clients send it."""


class StreamOptions(Body):
    """What a stream tells beside its text."""

    include_usage: bool | None = None
    """A last chunk with the numbers of tokens."""
    include_obfuscation: bool | None = None
    """Not used."""


class Structured(Body):
    """What a text must look like, in vLLM's words; one of these."""

    json_: str | dict[str, Any] | None = Field(default=None, alias="json")
    regex: Annotated[str, Field(min_length=1)] | None = None
    choice: Annotated[list[Text], Field(min_length=1, max_length=1000)] | None = None
    grammar: Annotated[str, Field(min_length=1)] | None = None


class Sampled(Named):
    """How a text is drawn. Those that OpenAI does not have are vLLM's."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0 takes the likeliest token; 1, the default, draws as the model predicts."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    """-1 and 0: all."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    logit_bias: (
        Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=BIASED)]
        | None
    ) = None
    """By token id."""
    seed: Seed | None = None
    """The same seed gives the same text; without one it is drawn."""
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    """The text ends before any of these."""
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    """How many texts."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    min_tokens: Tokens | None = None
    ignore_eos: bool | None = None
    structured_outputs: Structured | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """All stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class Function(Body):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """A JSON schema."""
    strict: bool | None = None


class Tool(Body):
    """A function among the tools."""

    type: Literal["function"]
    function: Function


class JsonSchema(Body):
    """A schema and its name."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None
