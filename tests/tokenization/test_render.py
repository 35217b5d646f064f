"""Chat templates are foreign programs: what they may not do, and how long they may take."""

import datetime
import threading
import time

import pytest

from ownlm.errors import DataError
from ownlm.tokenization.render import LONGEST_SOURCE, Limits, Rendered, Renderer

NOW = datetime.datetime(2026, 1, 2, 3, 4)
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def rendered(source: str, limits: Limits | None = None, **variables: object) -> Rendered:
    return Renderer(source, limits)([variables], NOW)[0]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}{{ messages.__class__.__base__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__self__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ dict.__init__ }}{{ dict.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self._TemplateReference__context }}",
        "{% set n = namespace(__class__=3) %}",
        "{% set n = namespace() %}{% set n.__class__ = 3 %}",
        "{{ messages.append(3) }}",
        "{% import 'os' as os %}",
        "{% include '/etc/passwd' %}",
        "{{ '%s' | format(messages.__class__) }}{{ '{0.__class__}'.format(3) }}",
        "{{ undefined_function() }}",
    ],
)
def test_a_template_reaches_nothing_of_python(source: str) -> None:
    found = rendered(source, messages=[1])
    assert found.fault or not set("<_") & {*found.text}, found.text
    assert "root:" not in found.text and "class" not in found.text


@pytest.mark.parametrize("source", ["{% if %}", "{{", "{% for %}", "{% nothing %}", "{{ 1 +"])
def test_what_is_no_template_is_told(source: str) -> None:
    assert "no Jinja template" in rendered(source).fault


def test_endless_loops_end() -> None:
    begin = time.perf_counter()
    render = Renderer(LOOP, Limits(seconds=2.0))
    with pytest.raises(DataError, match=r"more than 2 seconds|too much"):
        render([{}], NOW)
    assert time.perf_counter() - begin < 20
    assert not Renderer("fine")([{}], NOW)[0].fault


@pytest.mark.parametrize(
    "source",
    [
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}",
        "{{ 'a' * 10 ** 12 }}",
        "{{ '%1000000000000d' % 3 }}",
        "{{ 'a'.ljust(10 ** 12) }}",
        "{{ 9 ** (9 ** (9 ** 9)) }}",
        "{{ [1] * 10 ** 11 }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    ],
)
def test_what_takes_all_memory_or_time_is_refused(source: str) -> None:
    try:
        found = rendered(source, Limits(seconds=3.0, bytes=400 << 20))
    except DataError as error:
        found = Rendered("", str(error))
    assert found.fault and not found.text


def test_endless_output_ends() -> None:
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}word{% endfor %}{% endfor %}"
    assert "more than 10,000 characters" in rendered(loop, Limits(characters=10_000)).fault
    assert rendered("{{ 'a' * 10000 }}", Limits(characters=10_000)).text == "a" * 10_000


def test_a_source_has_a_limit() -> None:
    with pytest.raises(DataError, match="no chat template"):
        Renderer("a" * (LONGEST_SOURCE + 1))


def test_a_worker_serves_again_after_a_fault_and_after_it_was_killed() -> None:
    render = Renderer("{% if loop %}" + LOOP + "{% endif %}{{ said.upper() }}", Limits(seconds=2.0))
    assert render([{"said": "yes"}], NOW) == [Rendered("YES")]
    assert render([{"said": 3}], NOW)[0].fault
    with pytest.raises(DataError):
        render([{"loop": True}], NOW)
    assert render([{"said": "again"}] * 40, NOW) == [Rendered("AGAIN")] * 40


def test_a_worker_ends_with_its_renderer() -> None:
    render = Renderer("fine")
    render([{}], NOW)
    process = render._worker._process
    assert process is not None and process.poll() is None
    del render
    assert process.poll() is not None


def test_threads_share_a_worker() -> None:
    render, found = Renderer("{{ n }}"), {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: render([{"n": n}] * 20, NOW)}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [Rendered(str(n))] * 20 for n in range(8)}


def test_templates_are_set_up_as_transformers_does() -> None:
    source = """{% for m in messages %}
    {% if loop.index0 == 1 %}{% continue %}{% endif %}
    {%- generation %}{{ m | tojson }}{% endgeneration %}
{% endfor %}
{{ strftime_now('%Y-%m-%d') }} {{ {'b': '<é>', 'a': 1} | tojson(indent=1, sort_keys=true) }}"""
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": "user", "content": text} for text in ("<a>", "b", "'c' \"d\" \\ é")]
    theirs = render_jinja_template([messages], chat_template=source)[0][0]
    now = datetime.datetime.now()
    assert Renderer(source)([{"messages": messages}], now)[0].text == theirs
