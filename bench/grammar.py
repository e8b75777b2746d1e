#!/usr/bin/env python3
"""What holding answers to JSON schemas costs, and whether they hold: checked by jsonschema (PyPI).

    bench/grammar.py build/release/cairn MODEL --valid 1000   # generations at temperature 1.5, nothing filtered
    bench/grammar.py build/release/cairn MODEL --speed 5      # against free text, in turn; medians

`--speed` compares seconds a token of decoding at temperature 0 with 128 tokens; what compiling the schema takes comes
once a process, and is told apart (from the first request of a server with another schema).
"""
import argparse
import collections
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests" / "server"))
from running_server import running_server  # noqa: E402

# Everything ends by itself: at that temperature a string without maxLength runs to the end of the context.
TEXT = {"type": "string", "maxLength": 24}
SCHEMAS = {
    "person": {
        "type": "object",
        "properties": {
            "name": TEXT,
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "born": {"type": "string", "format": "date"},
            "tags": {"type": "array", "items": {"enum": ["red", "green", 3, None]}, "minItems": 1, "maxItems": 4},
            "address": {
                "type": "object",
                "properties": {"city": TEXT, "zip": {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"}},
                "required": ["city", "zip"],
            },
        },
        "required": ["name", "age", "tags", "address"],
    },
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer", "minimum": -5, "exclusiveMaximum": 10},
                    "kind": {"const": "node"},
                    "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/leaf"}]},
                },
                "required": ["value", "kind", "next"],
            },
            "leaf": {"type": "array", "prefixItems": [{"type": "boolean"}, TEXT], "minItems": 2},
        },
    },
    "cases": {
        "type": "array",
        "minItems": 1,
        "maxItems": 3,
        "items": {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"type": {"const": "move"}, "x": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100}},
                    "required": ["type", "x"],
                },
                {
                    "type": "object",
                    "properties": {"type": {"const": "say"}, "from": {"type": "string", "format": "ipv4"}},
                    "required": ["type", "from"],
                },
                {"type": "string", "enum": ["stop", "\u00fcber \"all\""]},
            ]
        },
    },
    "open": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z]{1,12}$"},
        "additionalProperties": {"type": ["boolean", "null"]},
        "maxProperties": 6,
    },
    "list": {
        "type": "object",
        "properties": {"value": {"type": "integer", "minimum": 0, "maximum": 9}, "next": {"oneOf": [
            {"type": "null"}, {"const": "end"}, {"type": "boolean"}, {"$ref": "#"}]}},
        "required": ["value", "next"],
    },
    "expression": {
        "$ref": "#/$defs/expression",
        "$defs": {
            "expression": {"oneOf": [{"$ref": "#/$defs/number"}, {"enum": ["x", "y", "z"]}, {"type": "null"}, {"$ref": "#/$defs/operation"}]},
            "number": {"type": "integer", "minimum": 0, "maximum": 999},
            "operation": {"oneOf": [{"$ref": "#/$defs/sum"}, {"$ref": "#/$defs/negation"}]},
            "sum": {
                "type": "object",
                "properties": {"op": {"enum": ["plus", "minus"]},
                               "of": {"type": "array", "items": {"$ref": "#/$defs/expression"}, "minItems": 1, "maxItems": 2}},
                "required": ["op", "of"],
            },
            "negation": {
                "type": "object",
                "properties": {"op": {"const": "not"}, "of": {"$ref": "#/$defs/expression"}},
                "required": ["op", "of"],
            },
        },
    },
    "id": {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 2, "maxItems": 2},
    "names": {
        "type": "object",
        "patternProperties": {"^[a-z]{1,8}$": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}},
        "additionalProperties": False,
        "maxProperties": 4,
    },
}
# Goes on as long as it is let.
LONG = {
    "type": "array",
    "minItems": 64,
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "population": {"type": "integer"}, "coastal": {"type": "boolean"}},
        "required": ["name", "population", "coastal"],
    },
}


def ask(address, name, schema, seed, most=1500):
    body = {
        "model": name,
        "messages": [{"role": "user", "content": "Write some JSON."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": schema}},
        "temperature": 1.5, "top_k": 0, "top_p": 1, "min_p": 0, "seed": seed, "max_tokens": most,
    }
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    request = urllib.request.Request(address + "/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)


def check_validity(arguments):
    import jsonschema

    checkers = {name: jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
                for name, schema in SCHEMAS.items()}
    counts, tokens, began = collections.Counter(), 0, time.monotonic()
    with running_server(arguments.cairn, arguments.model, "--speculate", arguments.speculate, context=2048) as (model, at):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            kinds = arguments.only.split(",")
            jobs = {pool.submit(ask, at, model, SCHEMAS[kinds[i % len(kinds)]], i): kinds[i % len(kinds)]
                    for i in range(arguments.first, arguments.first + arguments.valid)}
            for job in concurrent.futures.as_completed(jobs):
                answer = job.result()
                choice, tokens = answer["choices"][0], tokens + answer["usage"]["completion_tokens"]
                text = choice["message"]["content"]
                try:
                    checkers[jobs[job]].validate(json.loads(text))
                    counts["valid"] += 1
                except (ValueError, jsonschema.ValidationError) as error:
                    counts["cut" if choice["finish_reason"] == "length" else "invalid"] += 1
                    print(jobs[job], choice["finish_reason"], repr(text[-200:]), str(error).split("\n")[0], file=sys.stderr)
    print(f"{arguments.valid} generations of {len(kinds)} schemas, {tokens} tokens, "
          f"{time.monotonic() - began:.0f} s: {dict(counts)}")
    return 0 if counts["valid"] == arguments.valid else 1


def measure_speed(arguments):
    rates = {"free": [], "schema": []}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(LONG, file)
        file.flush()
        for _ in range(arguments.speed):
            for kind, flags in (("free", []), ("schema", ["--json-schema", file.name])):
                command = [arguments.cairn, "run", arguments.model, "--json", "--no-stats", "-n", "128", "--temperature", "0",
                           "-p", "List the largest cities of the world with their populations.", *flags]
                told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                rates[kind].append(told["decode_tok_s"])
    free, schema = (statistics.median(rates[kind]) for kind in ("free", "schema"))
    print(f"free text {free:.1f} tok/s, schema {schema:.1f} tok/s: {schema / free:.3f}x (medians of {arguments.speed})")
    with running_server(arguments.cairn, arguments.model, context=1024) as (model, at):
        for name, schema in SCHEMAS.items():
            took = []
            for _ in range(2):  # compiled, and from the cache
                began = time.monotonic()
                ask(at, model, schema, 1, most=1)
                took.append(time.monotonic() - began)
            print(f"  compiling {name}: {1000 * (took[0] - took[1]):.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("model")
    parser.add_argument("--valid", type=int, default=0, metavar="COUNT")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--only", default=",".join(SCHEMAS), metavar="NAMES", help="of schemas, for --valid")
    parser.add_argument("--speed", type=int, default=0, metavar="RUNS")
    parser.add_argument("--speculate", default="none")
    arguments = parser.parse_args()
    status = check_validity(arguments) if arguments.valid else 0
    if arguments.speed:
        measure_speed(arguments)
    sys.exit(status)


if __name__ == "__main__":
    main()
