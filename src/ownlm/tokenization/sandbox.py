"""Chat templates are foreign programs: rendered here, in a process of its own that can be killed.

    python sandbox.py      reads {"source", "seconds", "bytes", "characters"} as the first line of
                           standard input, then a line of jobs: {"now": ISO, "jobs": [variables]}
                           answers each with a line: [["text", "..."] or ["fault", "why"], ...]

Jinja2 in its sandbox, set up as `transformers` does, so that templates mean the same; limits on
memory, on processor time and on the length of what is written. Stands alone: nothing of ownlm
is imported, so the process starts quickly and holds nothing worth stealing.
"""

import datetime
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


class Generation(Extension):
    """`{% generation %} ... {% endgeneration %}`: what stands between is written as it is."""

    tags = {"generation"}  # noqa: RUF012 (declared so by jinja2)

    def parse(self, parser: Parser) -> nodes.Node:
        """The tag as a call of its body, whose variables are its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

    def _written(self, caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(Namespace):
    """Jinja2's, without names that begin with an underscore: those reach into Python."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # a template may name a value `self`
        self, given = args[0], dict(*args[1:], **kwargs)
        for name in given:
            _require_plain(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_plain(name)
        super().__setitem__(name, value)


def _require_plain(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"the name {name!r:.60} begins with an underscore")


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """`dict(...)` of a template: a function, so that no attribute of the class is reached."""
    return dict(*args, **kwargs)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja2's own escapes HTML; a model is to read JSON as it is written elsewhere."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: object) -> None:
    raise jinja2.exceptions.TemplateError(str(message))


def compiled(source: str) -> jinja2.Template:
    """The template as a program; raises jinja2.TemplateError when it is none."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise, "namespace": _Namespace, "dict": _dict}
    return environment.from_string(source)


def render(template: jinja2.Template, variables: dict[str, Any], now: str, longest: int) -> str:
    """The text; ValueError beyond `longest` characters. `now` is what strftime_now tells."""
    moment = datetime.datetime.fromisoformat(now)
    written, length = [], 0
    for piece in template.generate(variables, strftime_now=moment.strftime):
        length += len(piece)
        if length > longest:
            raise ValueError(f"writes more than {longest:,} characters")
        written.append(piece)
    return "".join(written)


def limit(seconds: float, size: int) -> None:
    """Let the system end this process when it takes more; a no-op where it cannot (Windows)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def answer(template: jinja2.Template, job: dict[str, Any], now: str, longest: int) -> list[str]:
    """A job's text, or why there is none."""
    try:
        return ["text", render(template, job, now, longest)]
    except (Exception, MemoryError, RecursionError) as error:  # noqa: BLE001 (a foreign program)
        told = isinstance(error, jinja2.TemplateError) and not isinstance(
            error, jinja2.exceptions.SecurityError | jinja2.UndefinedError
        )
        return ["fault", str(error) if told else f"{type(error).__name__}: {error}"]


def main() -> None:
    """Answer the lines of standard input until it ends. Ctrl-C is for who asks, not for this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = json.loads(sys.stdin.readline())
    fault, template = "", None
    limit(first["seconds"], first["bytes"])
    try:
        template = compiled(first["source"])
    except (Exception, MemoryError, RecursionError) as error:  # noqa: BLE001 (a foreign program)
        line = getattr(error, "lineno", None)
        fault = f"no Jinja template: {error}" + (f" (line {line})" if line else "")
    for line in sys.stdin:
        request = json.loads(line)
        limit(first["seconds"], first["bytes"])
        answers = [
            ["fault", fault]
            if template is None
            else answer(template, job, request["now"], first["characters"])
            for job in request["jobs"]
        ]
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
