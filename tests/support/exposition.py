"""A strict reader of Prometheus' text format 0.0.4, written from its documentation: whatever it leaves open is refused."""

import math
import re
import urllib.request

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SCRAPE_TIMEOUT_S = 20
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|Inf)|NaN")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type = name, help_text, None
        self.samples = {}  # (name, frozenset of (label, value)): value

    def label_names(self):
        """The labels of its series, `le` left out."""
        return {frozenset(label for label, _ in labels) - {"le"} for _, labels in self.samples}


class Exposition:
    """What one scrape told."""

    def __init__(self, families):
        self.families = families

    def value(self, name, **labels):
        """The sum of the series that have these labels; 0 if there is none."""
        wanted = set(labels.items())
        return sum(value for family in self.families.values() for (sample, have), value in family.samples.items()
                   if sample == name and wanted <= have)

    def by_label(self, name, label):
        """Label value: value of the series."""
        return {dict(labels)[label]: value for (sample, labels), value in self.families[name].samples.items()
                if sample == name}

    def counters(self):
        """All series that may only grow."""
        return {series: value for family in self.families.values() if family.type in ("counter", "histogram")
                for series, value in family.samples.items()}


def _labels(text):
    """`{a="b",c="d"}` as pairs, and what follows it."""
    pairs, at = [], 1
    while text[at] != "}":
        name = LABEL.match(text, at)
        assert name, f"a label is expected: {text!r}"
        at = name.end()
        assert text[at:at + 2] == '="', f"a value is expected: {text!r}"
        at += 2
        value = ""
        while text[at] != '"':
            if text[at] == "\\":
                assert text[at + 1] in '\\"n', f"a bad escape: {text!r}"
                value += {"\\": "\\", '"': '"', "n": "\n"}[text[at + 1]]
                at += 1
            else:
                value += text[at]
            at += 1
        at += 1
        pairs.append((name.group(), value))
        if text[at] == ",":
            at += 1
            assert text[at] != "}", f"a comma too many: {text!r}"
        else:
            assert text[at] == "}", f"a comma is missing: {text!r}"
    assert len(dict(pairs)) == len(pairs), f"a label comes twice: {text!r}"
    return frozenset(pairs), text[at + 1:]


def _sample(line):
    name = NAME.match(line)
    assert name, f"no sample: {line!r}"
    labels, rest = frozenset(), line[name.end():]
    if rest.startswith("{"):
        labels, rest = _labels(rest)
    assert rest.startswith(" ") and VALUE.fullmatch(rest[1:]), f"no value: {line!r}"
    return (name.group(), labels), float(rest[1:].replace("Inf", "inf"))


def _check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = frozenset(pair for pair in labels if pair[0] != "le")
        series.setdefault(rest, {})[(name, dict(labels).get("le"))] = value
    for labels, values in series.items():
        buckets = [(float(le.replace("Inf", "inf")), value) for (_, le), value in values.items() if le is not None]
        assert buckets == sorted(buckets) and buckets[-1][0] == math.inf, f"{family.name}{labels}: {buckets}"
        counts = [count for _, count in buckets]
        assert counts == sorted(counts), f"{family.name}{labels} shrinks: {counts}"
        assert values[(family.name + "_count", None)] == counts[-1], f"{family.name}{labels}: count"
        assert (family.name + "_sum", None) in values, f"{family.name}{labels}: no sum"


def _check(family):
    assert family.type in SUFFIXES, f"{family.name} has type {family.type}"
    assert family.help, f"{family.name} says nothing"
    assert len(family.label_names()) <= 1, f"{family.name} has series with different labels: {family.label_names()}"
    if family.type == "histogram":
        return _check_histogram(family)
    assert (family.type == "counter") == family.name.endswith("_total"), f"{family.name} is a {family.type}"
    for series, value in family.samples.items():
        assert not math.isnan(value), f"{series} is not a number"
        assert family.type == "gauge" or value >= 0, f"{series} is {value}"


def parse(text):
    """Raises AssertionError for anything that is not right."""
    assert text.endswith("\n"), "the last line does not end"
    families, family = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, help_text = line[len("# HELP "):].partition(" ")
            assert NAME.fullmatch(name) and name not in families, f"{name} comes twice"
            family = families[name] = Family(name, help_text)
        elif line.startswith("# TYPE "):
            name, _, kind = line[len("# TYPE "):].partition(" ")
            assert family and name == family.name and family.type is None and not family.samples, f"misplaced: {line!r}"
            family.type = kind
        else:
            series, value = _sample(line)
            assert family and family.type in SUFFIXES, f"a sample without a type: {line!r}"
            assert series[0] in [family.name + suffix for suffix in SUFFIXES[family.type]], f"misplaced: {line!r}"
            assert series not in family.samples, f"twice: {line!r}"
            family.samples[series] = value
    for family in families.values():
        _check(family)
    return Exposition(families)


def scrape(port):
    """What the process with this operations port tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SCRAPE_TIMEOUT_S) as answer:
        return parse(answer.read().decode())
