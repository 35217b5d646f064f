"""Labelled data on a terminal: the report, a table of labels, examples in colour, faults."""

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ownlm.data.report import counted
from ownlm.data.tasks.load import SHOWN, TaskData
from ownlm.data.tasks.records import (
    Conversation,
    Labelled,
    Message,
    Parallel,
    Question,
    Record,
    Scored,
    Tagged,
)
from ownlm.data.tasks.report import counts, examples, recognised
from ownlm.data.tasks.splits import SPLITS

_LABELS = 20  # rows of the table
_LONG = 300  # characters of a text in an example
_COLOURS = {"system": "magenta", "user": "cyan", "assistant": "green", "tool": "yellow"}


def show(data: TaskData, console: Console) -> None:
    """Print everything there is to know about the data before learning from them."""
    before = ""
    for heading, line in recognised(data) if data.records else ():
        style = "yellow" if heading in ("leaks", "noted") else ""
        told = Text(f"{heading if heading != before else '':<9}", "bold").append(line, style)
        console.print(told, soft_wrap=True)
        before = heading
    found = counts(data)
    if found:
        console.print(_table(data))
    for record in examples(data) if data.records else ():
        console.print(Text(f"\n{record.origin.where}", "dim"), soft_wrap=True)
        console.print(painted(record))
    if data.faults:
        console.print(Text(f"\n{counted(len(data.faults), 'fault')}", "bold red"))
        for fault in data.faults[:SHOWN]:
            told = Text(f"  {fault.where}: ", "red").append(fault.reason)
            console.print(told, soft_wrap=True)  # a place that is broken cannot be copied


def painted(record: Record) -> Text:
    """An example in colour: what is to be learned stands out from what is read."""
    lines = Text()
    for part in _PAINTERS[type(record)](record):
        lines.append_text(part)
    return lines


def _table(data: TaskData) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("label")
    for name in SPLITS:
        table.add_column(name, justify="right")
    found = list(counts(data).items())
    for label, numbers in found[:_LABELS]:
        table.add_row(Text(label), *(f"{numbers[name]:,}" for name in SPLITS))
    if len(found) > _LABELS:
        table.add_row(Text(f"and {len(found) - _LABELS:,} more", "dim"))
    return table


def _labelled(record: Labelled | Scored) -> Iterator[Text]:
    learned = f"{record.score:g}" if isinstance(record, Scored) else ", ".join(record.labels)
    yield Text(f"  {learned}", "bold green")
    yield Text(f"  {_short(record.text)}")
    if record.pair is not None:
        yield Text(" | ", "dim").append(_short(record.pair), "cyan")


def _tagged(record: Tagged) -> Iterator[Text]:
    yield Text("  ")
    for at, (word, tag) in enumerate(zip(record.words, record.tags, strict=True)):
        here = at == record.predicate
        yield Text(word, "bold underline" if here else "cyan" if tag != "O" else "")
        yield Text(f"/{tag} " if tag != "O" else " ", "bold green")


def _question(record: Question) -> Iterator[Text]:
    """The context around the answer, which stands out in it."""
    text, start = record.answers[0] if record.answers else ("", 0)
    end, first = start + len(text), max(0, start - _LONG // 2)
    yield Text(f"  {_short(record.question)}\n", "cyan")
    yield Text("  " + ("..." if first else "") + record.context[first:start].replace("\n", " "))
    yield Text(text if record.answers else "(no answer) ", "bold green")
    yield Text(_short(record.context[end : end + _LONG], _LONG // 2))


def _parallel(record: Parallel) -> Iterator[Text]:
    yield Text(f"  {_short(record.source)}\n")
    yield Text(f"  {_short(record.target)}", "bold green")


def _conversation(record: Conversation) -> Iterator[Text]:
    if record.tools:
        names = ", ".join(tool["function"]["name"] for tool in record.tools)
        yield Text(f"  tools: {names}\n", "dim")
    for number, message in enumerate(record.messages):
        yield Text("\n" * bool(number) + f"  {message.role}: ", f"bold {_COLOURS[message.role]}")
        yield _said(message)


def _said(message: Message) -> Text:
    said = Text(_short(message.content), "bold green" if message.role == "assistant" else "")
    for call in message.tool_calls:
        said.append(f"{call.name}({_short(str(call.arguments))})", "bold green")
    return said


def _short(text: str, limit: int = _LONG) -> str:
    line = text.replace("\n", "⏎")
    return line if len(line) <= limit else line[:limit] + "..."


_PAINTERS: dict[type[Record], Callable[..., Iterator[Text]]] = {
    Labelled: _labelled, Scored: _labelled, Tagged: _tagged, Question: _question,
    Parallel: _parallel, Conversation: _conversation,
}  # fmt: skip
