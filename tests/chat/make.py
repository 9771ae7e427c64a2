#!/usr/bin/env python3
"""Renders real models' chat templates with Python's Jinja2, for tests/chat.rs to compare with.

    make.py [TEMPLATES_DIR [OUT.json]]

Without arguments: the fetched templates (`make test-data`), and expected.json beside this file.

The environment is the one that transformers compiles chat templates in (utils/
chat_template_utils.py): sandboxed, trim_blocks, lstrip_blocks, loop controls, a `generation`
block, tojson = json.dumps without ASCII escapes, raise_exception, strftime_now. The clock stands
at 2025-03-14 15:09:26.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 3, 14, 15, 9, 26)
BOS, EOS = "<|bos|>", "<|eos|>"
HERE = "CONTINUE_FINAL_MESSAGE_TAG "
# Longer texts are given by length and hash.
MAX_TEXT = 900


def say(role, content):
    return {"role": role, "content": content}


SYSTEM = say("system", "Answer in French.")
# name: (messages, add_generation_prompt)
CONVERSATIONS = {
    "plain": ([say("user", "Hello, who are you?")], True),
    "system": ([SYSTEM, say("user", "Hello")], True),
    "turns": (
        [SYSTEM, say("user", "One?"), say("assistant", "Two."), say("user", " Three?\n")],
        True,
    ),
    "unicode": (
        [say("user", "Größe 日本語 🦀 \u2028 e\u0301"), say("assistant", "<think>né</think>😀"), say("user", "ß")],
        True,
    ),
    "html": ([say("user", "<b>\"A\" & 'B'</b>\n\t{{ x }} {% if %} \\n")], True),
    "continued": ([say("user", "Count."), say("assistant", "One, two, ")], False),
    "open": ([SYSTEM, say("user", "Count.")], False),
    "empty": ([], True),
}
# Single features, on the conversation "turns" without its system prompt.
SNIPPETS = [
    # white space around tags, and transformers' marks for training
    "a\n  {% generation %}\n  b\n  {% endgeneration %}\nc\n",
    "a  {%- generation -%}  b  {%- endgeneration -%}  c",
    "a\n\t{%+ generation +%}\n b {% endgeneration %} c",
    "{{ 'generation' }}{% set generation = 1 %}{{ generation }}{% raw %}{% x %}{% endraw %}",
    "{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}",
    "{# note #}\n  {# note #}x\n{{ 1 }}\n\n",
    # json
    "{{ messages|tojson }}",
    "{{ messages[2]|tojson(indent=2) }}|{{ [[], {}, [1, [2]]]|tojson(indent=4) }}",
    "{{ ['é<&>\\'\"/', '\\n\\t\\x07\\x7f', '🦀', none, true, 1, 1.0, -2.5, 1e3] | tojson }}",
    "{{ ['é<&>\\'\"/', '\\n\\t\\x07\\x7f', '🦀'] | tojson(ensure_ascii=true) }}",
    "{{ {'b': 1, 'a': [1, 2]} | tojson(separators=(',', ':'), sort_keys=true) }}",
    "{{ {'b': 1, 'a': [1, 2]} | tojson(indent=1, separators=(' ,', ' : ')) }}",
    "{{ {1: 2, 'x': {}} | tojson(false, 2) }}",
    "{{ 'x' | tojson }}{{ none | tojson }}{{ false | tojson }}{{ nothing | tojson }}",
    "{{ 100000000000000000000 | tojson }} {{ 0.1 | tojson }} {{ 123456789.0 | tojson }}",
    # Python's way to print and to compute
    "{{ true }} {{ none }} {{ [1, 'a', none, true, 2.0] }} {{ {'a': 'b\\'c'} }} {{ (1, 2) }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 6 / 2 }} {{ 1.0 }}",
    "{{ 'a' ~ 1 ~ none ~ true }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ 'abc'[::-1] }} {{ 'abc'[1:] }}",
    "{{ messages[-1].content.strip() }}|{{ messages[1:]|length }}|{{ messages[0]['content'][:6] }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|join('+') }}",
    "{{ messages|rejectattr('role', 'in', ['user'])|list|length }} {{ 'x' in 'xyz' and 1 not in [2] }}",
    "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + loop.index0 %}"
    "{% if loop.last %}{% set ns.s = loop.length ~ loop.previtem.role %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.s }}",
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% if m.role == 'assistant' %}"
    "{% break %}{% endif %}{% endfor %}{% for m in [] %}{% else %}none{% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{{ {'b': 1, 'a': 2}|dictsort }}",
    "{% macro f(x, y='d', z=none) %}<{{ x }}{{ y }}{{ z }}>{% endmacro %}{{ f(1) }}{{ f(1, z=2, y=3) }}",
    "{% set x %}\n a {{ 1 }}\n{% endset %}[{{ x }}][{{ x|trim }}]",
    "{{ '</think>a</think>b'.split('</think>')[-1] }} {{ 'a b  c'.split() }} {{ 'a,b,c'.split(',', 1) }}",
    "{{ 'xxaxx'.strip('x') }}{{ '  a '.lstrip() }}|{{ '  a '.rstrip() }}|{{ 'a\\n'.rstrip('\\n') }}|",
    "{{ 'Ab'.upper() }}{{ 'Ab'.lower() }}{{ 'ab cd'.title() }}{{ 'ab'.capitalize() }}{{ 'aXa'.replace('a', 'b') }}",
    "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'abc'.find('c') }}{{ '{} {}'.format(1, 'x') }}",
    "{{ nothing }}|{{ nothing is defined }}|{{ nothing|default('d') }}|{{ ''|default('d', true) }}|{{ messages[0].nothing }}",
    "{{ messages is sequence }}{{ messages[0] is mapping }}{{ 'a' is string }}{{ 1 is number }}{{ none is none }}"
    "{{ tools is none }}{{ tools is iterable }}{{ 'a' is iterable }}{{ true is boolean }}{{ 1 is integer }}{{ x is undefined }}",
    "{{ 'a' if nothing else 'b' }}{{ ('a' if false) }}{{ 1 if none is not none else 2 }}",
    "{{ {'a': 1}.get('b', 3) }}{{ {'a': 1}.get('b') }}{{ {'a': {'b': 2}}.a.b }}{{ dict(a=1) }}",
    "{{ [3, 1, 2]|sort|join(',') }} {{ [1, 1]|unique|list }} {{ range(3)|list }} {{ [1, 2]|last }} {{ [5]|first }}",
    "{{ 'a\\nb'|indent(2) }}|{{ 'a\\nb'|indent(2, true) }}|{{ '<b>'|safe }}|{{ '<b>'|e }}|{{ '3'|int + 1 }}",
    "{{ strftime_now('%Y-%m-%d %d %b %Y %B %A %a %H:%M:%S %j %y %p %I') }}",
    "{{ bos_token }}{{ eos_token }}{{ bos_token is defined }}{{ add_generation_prompt }}",
    # what is refused
    "a\n{{ raise_exception('no ' ~ 1) }}",
    "{% if x %}",
    "{{ nothing.deeper }}",
    "{{ nothing() }}",
    "{{ 'a'|unheard_of }}",
    "{{ 1 + 'a' }}",
    "{{ none.x }}{{ messages.append(1) }}",
    "{% include 'etc' %}",
]


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def compile_template(source):
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env.from_string(source)


def render(template, messages, reply, none=None):
    messages = [dict(m) for m in messages]
    continued = not reply and messages[-1]["role"] == "assistant"
    if continued:
        messages[-1]["content"] += HERE
    text = template.render(
        messages=messages,
        tools=none,
        documents=none,
        add_generation_prompt=reply,
        bos_token=BOS,
        eos_token=EOS,
    )
    if continued:
        at = text.rindex(HERE.strip())
        text = text[:at] if text[at:].startswith(HERE) else text[:at].rstrip()
    return text


def fold(messages):
    """The system prompt inside the first user's message, or None."""
    if not messages or messages[0]["role"] != "system":
        return None
    rest = [dict(m) for m in messages[1:]]
    user = next(m for m in rest if m["role"] == "user")
    user["content"] = messages[0]["content"] + "\n\n" + user["content"]
    return rest


def attempt(template, messages, reply):
    try:
        try:
            return render(template, messages, reply)
        except TypeError as e:
            # Templates for tools fail without tools in Python only because None is not [].
            if "NoneType" not in str(e):
                raise
            return render(template, messages, reply, [])
    except Exception:  # a template can fail in any way that Python can
        return None


def fnv(raw):
    """FNV-1a with 64 bits: a few lines in every language, and nobody attacks us here."""
    h = 0xCBF29CE484222325
    for b in raw:
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def expect(template, messages, reply):
    text, folded = attempt(template, messages, reply), False
    other = fold(messages)
    if other is not None and (text is None or messages[0]["content"] not in text):
        again = attempt(template, other, reply)
        if again is not None and messages[0]["content"] in again:
            text, folded = again, True
    if text is None:
        return None
    raw = text.encode()
    if len(raw) <= MAX_TEXT:
        out = {"text": text}
    else:
        out = {"bytes": len(raw), "hash": fnv(raw)}
    if folded:
        out["folded"] = True
    return out


def main(folder, out):
    templates = {}
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        template = compile_template(path.read_text(encoding="utf-8"))
        templates[path.name] = {
            name: expect(template, messages, reply)
            for name, (messages, reply) in CONVERSATIONS.items()
        }
    def snippet(source):
        try:
            return render(compile_template(source), CONVERSATIONS["turns"][0][1:], True)
        except Exception:
            return None

    facts = {
        "made_by": f"tests/chat/make.py, Jinja2 {jinja2.__version__}",
        "conversations": {
            name: {"messages": m, "reply": r} for name, (m, r) in CONVERSATIONS.items()
        },
        "snippets": [[source, snippet(source)] for source in SNIPPETS],
        "templates": templates,
    }
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    pathlib.Path(out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parent
    sys.path.insert(0, str(here.parent))
    from fetch import cache_dir

    arguments = [cache_dir() / "templates", here / "expected.json"]
    arguments[: len(sys.argv) - 1] = sys.argv[1:]
    main(*arguments)
