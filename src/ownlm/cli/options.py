"""Command lines to configurations, through tyro: what is typed wins over `default`.

Anything that cannot be understood becomes a ConfigError of one or a few plain lines that name
the nearest option, in the same form as for YAML files.
"""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import pydantic
import tyro

from ownlm.config import nearest, own_refusal
from ownlm.errors import ConfigError

T = TypeVar("T")


def parse(
    kind: type[T],
    args: Sequence[str],
    *,
    prog: str,
    default: T | None = None,
    description: str | None = None,
) -> T:
    """Build a `kind` (dataclass or Config) from `args` laid over `default`.

    `--help` prints and leaves with SystemExit(0). Raises ConfigError for an unknown option,
    a value of the wrong type or out of range, and a missing argument.
    """
    given: dict[str, Any] = {} if default is None else {"default": default}
    with _refusals(lambda: _known_options(kind, prog, default), prog):
        value, unknown = tyro.cli(
            kind, args=args, prog=prog, description=description, return_unknown_args=True, **given
        )
    if unknown:
        raise _unknown(unknown, _known_options(kind, prog, default), prog)
    return cast(T, value)


def value_of(args: Sequence[str], option: str) -> str | None:
    """The value typed for `option` before all is parsed: `--config x` or `--config=x`."""
    for index, word in enumerate(args):
        if word == option and index + 1 < len(args):
            return args[index + 1]
        if word.startswith(option + "="):
            return word.partition("=")[2]
    return None


@contextlib.contextmanager
def _refusals(known: Callable[[], list[str]], prog: str) -> Iterator[None]:
    """Turn tyro's boxed message and exit code 2 into a ConfigError.

    Of the outermost configuration tyro lets pydantic's own error through.
    """
    caught = io.StringIO()
    try:
        with contextlib.redirect_stderr(caught):
            yield
    except (SystemExit, pydantic.ValidationError) as leaving:
        if isinstance(leaving, SystemExit) and leaving.code in (0, None):
            raise
        cause = _validation_error(leaving)
        if cause and (own := own_refusal(cause)):
            hint = own.next_command or f"{prog} --help"
            raise ConfigError(own.what, where=own.where, next_command=hint) from None
        what = _explain(cause, known()) if cause else _unboxed(caught.getvalue())
        raise ConfigError(what, next_command=f"{prog} --help") from None
    sys.stderr.write(caught.getvalue())


def _validation_error(error: BaseException | None) -> pydantic.ValidationError | None:
    while error is not None and not isinstance(error, pydantic.ValidationError):
        error = error.__cause__ or error.__context__
    return error


def _explain(error: pydantic.ValidationError, known: list[str]) -> str:
    """Every fault by the option that sets it; the error itself knows only the innermost name."""
    faults = []
    for fault in error.errors():
        name = str(fault["loc"][0]).replace("_", "-") if fault["loc"] else ""
        options = [option for option in known if option.endswith((f".{name}", f"--{name}"))]
        subject = " or ".join(options) if name and options else name or error.title
        faults.append(f"{subject}: {fault['msg'].lower()} (got {fault['input']!r})")
    return "; ".join(faults)


def _unboxed(text: str) -> str:
    """The sentences of a box, up to its first rule; its title is in the frame.

    A terminal without line characters gets no frame: there a first rule ends the title.
    """
    words: list[str] = []
    titled = False
    for line in text.splitlines():
        inner = line.strip().strip("│").strip()
        if line.startswith(("╭", "╰")):
            titled = True
        elif inner and not set(inner) <= {"─", "-"}:
            words.append(inner)
        elif inner and titled:
            break
        elif inner:
            words, titled = [], True
    return _plain(" ".join(words))


_PLAIN = {
    r"Error parsing (\S+): invalid literal for int\(\).*: (.*)": r"\1: \2 is no whole number",
    r"Error parsing (\S+): could not convert string to float: (.*)": r"\1: \2 is no number",
    r"Error parsing (\S+): Could not parse arguments \[(.*)\].*": r"\1: cannot be read: \2",
}
_WANTED = re.compile(r"(--[\w.-]+|[A-Z]+)(?: [A-Z]+\b)? (.*?) \(required\)")


def _plain(text: str) -> str:
    """tyro's sentences in words for people who do not program in Python."""
    if text.startswith("Missing from ") and (wanted := _WANTED.findall(text)):
        return "; ".join(f"{name} is missing: {purpose}" for name, purpose in wanted)
    for pattern, plain in _PLAIN.items():
        text = re.sub(pattern, plain, text)
    return text


def _unknown(words: list[str], known: list[str], prog: str) -> ConfigError:
    faults = []
    for word in words:
        option = word.partition("=")[0]
        if not option.startswith("-"):
            continue
        guess = nearest(option.replace("_", "-"), known)
        faults.append(f"unknown option {option}" + (f", nearest is {guess}" if guess else ""))
    if not faults:
        faults = [f"one argument too many: {word!r}" for word in words]
    return ConfigError("; ".join(faults), next_command=f"{prog} --help")


def _known_options(kind: Any, prog: str, default: Any) -> list[str]:
    """Every option of `kind` as it is typed, aliases too: read from its help."""
    given = {} if default is None else {"default": default}
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        tyro.cli(kind, args=["--help"], prog=prog, **given)
    return sorted(set(re.findall(r"--[\w.-]+", shown.getvalue())))
