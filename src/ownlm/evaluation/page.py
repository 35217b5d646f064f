"""Parts of a self-contained HTML page on which no foreign text can run.

Every function here takes plain text and escapes it itself; what it returns is a `Html`, the
only thing that others accept as markup. The page's policy allows no script, no outside
address, and one style sheet by its hash (U1 of the acceptance list).
"""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import NewType

Html = NewType("Html", str)

STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#667085;--paper:#f5f6f8;--card:#fff;
--line:#e3e6ec;--accent:#2f6fe0}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--paper:#12161d;
--card:#1a2029;--line:#2b3340;--accent:#7fb0ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:2rem 1rem 4rem}
h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2.2rem 0 .7rem}
p{margin:.35rem 0}.soft{color:var(--soft)}
.grid{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr))}
.numbers{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(8.2rem,1fr));margin-top:1.2rem}
.mosaic{columns:2 25rem;column-gap:.8rem}.mosaic>*{break-inside:avoid;margin-bottom:.8rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:.9rem 1rem;
min-width:0}
.card h3{margin:0 0 .4rem;font-size:.95rem}
.number b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums;line-height:1.25}
figure{margin:0}p+figure.card{margin-top:.8rem}img{display:block;width:100%;height:auto}
table{border-collapse:collapse;width:100%}td{padding:.2rem .5rem .2rem 0;vertical-align:top;
border-top:1px solid var(--line);overflow-wrap:anywhere}tr:first-child td{border-top:0}
td:first-child{color:var(--soft);width:40%}
.wide{overflow-x:auto}.wide td:first-child{width:auto;min-width:7rem;
overflow-wrap:normal}.wide th,.wide td:not(:first-child){
white-space:nowrap;font-variant-numeric:tabular-nums}.wide td{padding-right:1.2rem}
th{text-align:left;font-weight:600;padding:.2rem 1.2rem .3rem 0;color:var(--soft)}
td b{font-weight:600}td small{color:var(--soft)}
pre{margin:.5rem 0;padding:.8rem;background:var(--paper);border:1px solid var(--line);
border-radius:8px;white-space:pre-wrap;overflow-wrap:anywhere;
font:13px/1.5 ui-monospace,Menlo,Consolas,monospace;
max-height:32rem;overflow-y:auto}
details{border-top:1px solid var(--line);padding:.45rem 0}details:first-of-type{border-top:0}
details td:first-child{width:6rem}
summary{cursor:pointer;color:var(--accent)}
.note{border-left:3px solid #e8743b;padding:.5rem .9rem;background:var(--card)}
"""


def page(title: str, body: Iterable[Html]) -> str:
    """A whole document in UTF-8 around finished parts."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_safe(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(title: str, below: str) -> Html:
    """The top of the page: its title and one quiet line below."""
    return Html(f'<h1>{_safe(title)}</h1>\n<p class="soft">{_safe(below)}</p>')


def quiet(remark: str) -> Html:
    """A line in small contrast."""
    return Html(f'<p class="soft">{_safe(remark)}</p>')


def section(title: str, *parts: Html) -> Html:
    """A titled part of the page."""
    return Html(f"<h2>{_safe(title)}</h2>\n" + "\n".join(parts))


def numbers(values: Mapping[str, str]) -> Html:
    """The few figures a reader looks for first, in large type."""
    cells = (
        f'<div class="card number"><span class="soft">{_safe(k)}</span><b>{_safe(v)}</b></div>'
        for k, v in values.items()
    )
    return Html('<div class="numbers">' + "".join(cells) + "</div>")


def grid(parts: Iterable[Html]) -> Html:
    """Cards side by side, one below the other on a phone."""
    return Html('<div class="grid">\n' + "\n".join(parts) + "\n</div>")


def mosaic(parts: Iterable[Html]) -> Html:
    """Cards of any height in two columns, one on a phone."""
    return Html('<div class="mosaic">\n' + "\n".join(parts) + "\n</div>")


def picture(title: str, svg: bytes) -> Html:
    """A plot as a data address: an image cannot run script, whatever the SVG holds."""
    data = base64.b64encode(svg).decode()
    return Html(
        f'<figure class="card"><h3>{_safe(title)}</h3>'
        f'<img alt="{_safe(title)}" src="data:image/svg+xml;base64,{data}"></figure>'
    )


def table(title: str, rows: Mapping[str, str]) -> Html:
    """A card of names and values."""
    return Html(f'<div class="card"><h3>{_safe(title)}</h3>{plain(rows)}</div>')


def plain(rows: Mapping[str, str]) -> Html:
    """Names and values, without a card around them."""
    cells = "".join(f"<tr><td>{_safe(k)}</td><td>{_safe(v)}</td></tr>" for k, v in rows.items())
    return Html(f"<table>{cells}</table>")


def columns(header: Sequence[str], rows: Iterable[Sequence[str | tuple[str, str]]]) -> Html:
    """A wide table; a cell is a text, or a value and what stands small beside it."""
    head = "".join(f"<th>{_safe(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return Html(f'<div class="card wide"><table><tr>{head}</tr>{body}</table></div>')


def _cell(content: str | tuple[str, str]) -> str:
    if isinstance(content, str):
        return f"<td>{_safe(content)}</td>"
    value, small = content
    return f"<td><b>{_safe(value)}</b> <small>{_safe(small)}</small></td>"


def text(content: str) -> Html:
    """Text as it stands, spaces and line ends kept."""
    return Html(f"<pre>{_safe(content)}</pre>")


def folded(title: str, content: Html, *, opened: bool = False) -> Html:
    """A part that the reader opens by a click; works without script."""
    state = " open" if opened else ""
    return Html(f"<details{state}><summary>{_safe(title)}</summary>{content}</details>")


def card(*parts: Html) -> Html:
    """A framed group."""
    return Html('<div class="card">' + "".join(parts) + "</div>")


def note(message: str) -> Html:
    """A remark that the reader should not miss."""
    return Html(f'<p class="note">{_safe(message)}</p>')


def _safe(text: str) -> str:
    """Escaped for any place between tags or quotes; controls that HTML forbids become '�'."""
    kept = "".join(c if c in "\t\n" or (c >= " " and c != "\x7f") else "\ufffd" for c in text)
    return html.escape(kept.encode("utf-8", "replace").decode(), quote=True)
