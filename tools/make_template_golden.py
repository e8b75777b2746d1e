#!/usr/bin/env python3
"""Writes the expected outputs of the chat template tests with jinja2, set up as transformers does.

    python3 tools/make_template_golden.py

Needs jinja2 and transformers. Reads tests/data/templates/*.jinja, conversations.json and constructs.txt (one
template a line, ⏎ stands for a line break) there; writes <family>.json and constructs.json beside them.
constructs.json also gets random templates, from a fixed seed.
"""

import copy
import datetime
import json
import pathlib
import random
import re
import warnings

import transformers.utils.chat_template_utils as reference

DATA = pathlib.Path(__file__).parent.parent / "tests/data/templates"
CLOCK = 1753000000  # what strftime_now sees: 2025-07-20 08:26:40 UTC, as in the tests


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(CLOCK, datetime.timezone.utc).replace(tzinfo=None)


reference.datetime = Clock


def render(template, variables):
    """{"text": ...}, {"error": ...} where the words matter, or {"fails": true} where they are Python's own."""
    try:
        # A copy: the filter indent changes a list in place.
        text = reference._compile_jinja_template(template).render(**copy.deepcopy(variables))
        text.encode()
        return {"text": text}
    except Exception as error:
        if type(error).__name__ in ("TemplateError", "UndefinedError", "SecurityError", "TemplateRuntimeError"):
            return {"error": str(error)}
        return {"fails": True}


def families():
    conversations = json.loads((DATA / "conversations.json").read_text())
    for path in sorted(DATA.glob("*.jinja")):
        template = path.read_text()
        expected = {name: render(template, variables) for name, variables in conversations.items()}
        path.with_suffix(".json").write_text(json.dumps(expected, ensure_ascii=False, indent=0) + "\n")


VARIABLES = {
    "messages": [
        {"role": "system", "content": "You are é"},
        {"role": "user", "content": "Hi\n there <b>"},
        {"role": "assistant", "content": "ok",
         "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5, "y": None, "z": [True, "ü"]}}}]},
    ],
    "add_generation_prompt": True, "n": 5, "x": None, "s": "Hello World", "l": [3, 1, 2],
    "d": {"b": 1, "a": 2, "items": 9}, "f": 2.5, "t": True, "e": [], "z": 0, "w": "  pad\t\n",
    "nl": [[1, 2], [3, 4]], "sl": ["b", "A", "c"], "neg": -3, "big": 1e20, "u": "ΑΣ ǆ straße ﬁ",
}


class Writer:
    """Random templates: expressions of every precedence, filters, tests, methods; blocks with random whitespace."""

    ATOMS = """n x s l d f t e z w nl sl neg nothing messages 1 2 0 -1 3 1.5 0.1 1e3 "a" "é" 'b_c' "" [] {} () true false
        none [1,2] ['x','y'] {'k':1} (1,'q') range(4) 10 "%s" messages[0] messages[1].content '1' '2.5'""".split()
    FILTERS = """trim length count join join(',') upper lower title capitalize replace('a','b') replace('l','L',1)
        default('D') default('D',true) d first last list map('upper')|list map(attribute='role')|list
        map('length')|list select|list reject|list select('odd')|list select('gt',1)|list selectattr('role')|list
        selectattr('role','eq','user')|list sort sort(reverse=true) unique|list reverse sum min max items|list
        dictsort dictsort(by='value') int int(3) float string abs round round(1) round(1,'ceil') indent
        indent(2,true) batch(2)|list batch(2,'F')|list slice(2)|list groupby('role')|length safe escape wordcount
        truncate(5) truncate(3,true,"") center(9) tojson tojson(indent=1) urlencode list|length""".split()
    TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "mapping", "iterable", "sequence",
             "boolean", "true", "false", "eq 1", "== 'a'", "ne 2", "in l", "in 'abc'", "odd", "divisibleby 2", "lt 2",
             "gt(1)", "callable", "sameas none", "upper", "lower"]
    MEMBERS = [".strip()", ".strip('l')", ".lstrip()", ".split()", ".split('l')", ".split('o',1)", ".rsplit('o',1)",
               ".splitlines()", ".startswith('H')", ".endswith(('d','x'))", ".upper()", ".title()", ".replace('l','')",
               ".find('o')", ".count('l')", ".join(['a','b'])", ".format(1,2)", ".items()", ".keys()", ".get('a')",
               ".index(1)", ".isdigit()", ".zfill(5)", ".append(1)", ".role", ".content", ".a", "[0]", "[-1]", "['a']",
               "[n]", "[99]", ".missing", ".partition('o')", ".center(8)"]
    OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "and", "or", "==", "!=", "<", "<=", ">", ">=", "in", "not in"]
    NAMES = ["a", "b", "c", "n", "s"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def part(self, depth):
        text = self.expression(depth - 1)
        return f"({text})" if self.random.random() < 0.5 else text

    def expression(self, depth):
        kind = self.random.random()
        if depth <= 0 or kind < 0.12:
            return self.pick(*self.ATOMS).replace("_", " ")
        if kind < 0.36:
            return f"{self.part(depth)} {self.pick(*self.OPERATORS)} {self.part(depth)}"
        if kind < 0.6:
            return f"{self.part(depth)}|{self.pick(*self.FILTERS)}"
        if kind < 0.7:
            return f"{self.part(depth)} is {self.pick('', 'not ')}{self.pick(*self.TESTS)}"
        if kind < 0.86:
            return f"{self.part(depth)}{self.pick(*self.MEMBERS)}"
        if kind < 0.92:
            return f"{self.part(depth)} if {self.part(depth)}" + self.pick("", f" else {self.part(depth)}")
        return self.pick(f"not {self.part(depth)}", f"-{self.part(depth)}", f"[{self.part(depth)}, {self.part(depth)}]",
                         f"({self.part(depth)}, 1)", "{'k': " + self.part(depth) + "}",
                         f"{self.part(depth)} < {self.part(depth)} == {self.part(depth)}")

    def space(self):
        return self.pick("", " ", "\n", "  ", "\n  ", " \n", "\t", "\n\n", "x", "y ")

    def tag(self, body):
        return "{%" + self.pick("", "", "", "-", "+") + f" {body} " + self.pick("", "", "", "-", "+") + "%}"

    def output(self, expression):
        return "{{" + self.pick("", "", "-") + f" {expression} " + self.pick("", "", "-") + "}}"

    def block(self, depth):
        return "".join(self.space() + self.statement(depth) + self.space() for _ in range(self.random.randint(1, 3)))

    def statement(self, depth):
        kind = self.random.random()
        if depth <= 0 or kind < 0.35:
            return self.output(self.pick(*self.NAMES) if self.random.random() < 0.6 else self.expression(2))
        if kind < 0.46:
            return self.tag(f"set {self.pick(*self.NAMES)} = {self.expression(1)}")
        if kind < 0.52:
            return self.tag(f"set {self.pick(*self.NAMES)}{self.pick('', '|upper')}") + self.block(depth - 1) + self.tag("endset")
        if kind < 0.66:
            return (self.tag(f"if {self.expression(1)}") + self.block(depth - 1)
                    + self.pick("", self.tag("else") + self.block(depth - 1)) + self.tag("endif"))
        if kind < 0.82:
            leave = self.tag("if loop.first") + self.tag(self.pick("continue", "break")) + self.tag("endif")
            return (self.tag(f"for {self.pick('i', 'a', 'n')} in {self.pick('l', 'd', 's', 'range(3)', 'e', 'sl|sort')}"
                             f"{self.pick('', '', ' if a', ' if i is undefined')}")
                    + self.pick("", self.output("loop.index ~ loop.last ~ loop.length"), leave) + self.block(depth - 1)
                    + self.pick("", self.tag("else") + self.block(depth - 1)) + self.tag("endfor"))
        if kind < 0.92:
            macro = (self.tag(f"macro m({self.pick('', 'a', 'a, b=2', 'a=n, b=a')})") + self.block(depth - 1)
                     + self.pick("", self.output("caller()"), self.output("varargs")) + self.tag("endmacro"))
            return macro + self.pick(self.output(f"m({self.pick('', '1', '1,2', 'b=3')})"),
                                     self.tag("call m(1)") + self.block(depth - 1) + self.tag("endcall"))
        if kind < 0.95:
            return self.tag("filter trim") + self.block(depth - 1) + self.tag("endfilter")
        return self.pick("{% raw %}{{ x }}{% endraw %}", "{#- c -#}", "{# c +#}", "{# c #}")


def constructs():
    lines = (DATA / "constructs.txt").read_text().splitlines()
    templates = [line.replace("⏎", "\n") for line in lines if line and not line.startswith("## ")]
    cases = [{"template": template, **render(template, VARIABLES)} for template in templates]
    writer = Writer(1)
    counts = {"expression": 0, "block": 0}
    for _ in range(100000):
        kind = "expression" if counts["expression"] < 300 else "block"
        template = writer.output(writer.expression(3)) if kind == "expression" else writer.block(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case = {"template": template, **render(template, VARIABLES)}
        text = case.get("text", "")
        # Left out: addresses in memory, integers beyond 64 bits, and most of what fails.
        if " at 0x" in text or re.search(r"\d{18}", text) or len(text) > 400 or len(template) > 400:
            continue
        if "text" not in case and writer.random.random() < 0.8:
            continue
        counts[kind] += 1
        cases.append(case)
        if counts["block"] == 200:
            break
    (DATA / "constructs.json").write_text(
        json.dumps({"variables": VARIABLES, "cases": cases}, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    families()
    constructs()
