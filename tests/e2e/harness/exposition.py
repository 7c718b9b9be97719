"""A strict reader of Prometheus' text format 0.0.4, after promtool's own checks: what it takes, Prometheus takes."""

import math
import re

from .cases import check, check_equal

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\\\|\\n)+)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? ([-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|Inf)|NaN)")
_NOT_BASE_UNITS = ("_ms", "_us", "_ns", "_millis", "_milliseconds", "_nanoseconds", "_kb", "_mb", "_kilobytes", "_minutes")


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type = name, help_text, None
        self.samples = {}  # (name, labels as a sorted tuple of pairs) -> value

    def label_names(self):
        return {name for _, labels in self.samples for name, _ in labels} - ({"le"} if self.type == "histogram" else set())


class Exposition:
    """families: name -> Family."""

    def __init__(self, text):
        self.families, family = {}, None
        check(text.endswith("\n"), "the last line has no end")
        for line in text[:-1].split("\n"):
            if line.startswith("# HELP"):
                match = _HELP.fullmatch(line)
                check(match, f"no HELP line: {line}")
                check(match[1] not in self.families, f"a second HELP of {match[1]}")
                family = self.families[match[1]] = Family(match[1], match[2])
            elif line.startswith("# TYPE"):
                match = _TYPE.fullmatch(line)
                check(match, f"no TYPE line: {line}")
                check(family is not None and family.name == match[1] and family.type is None and not family.samples,
                      f"TYPE does not follow its HELP: {line}")
                family.type = match[2]
            else:
                self._sample(family, line)
        for each in self.families.values():
            _check_family(each)

    @staticmethod
    def _sample(family, line):
        match = _SAMPLE.fullmatch(line)
        check(match, f"no sample: {line}")
        name, labels, position = match[1], [], 0
        while match[2] and position < len(match[2]):
            label = _LABEL.match(match[2], position)
            check(label, f"labels of {line}")
            labels.append((label[1], label[2]))
            position = label.end()
        check(len({n for n, _ in labels}) == len(labels), f"a label twice: {line}")
        suffixes = ("_bucket", "_sum", "_count") if family is not None and family.type == "histogram" else ("",)
        check(family is not None and family.type and name in [family.name + s for s in suffixes],
              f"outside of its family: {line}")
        key = (name, tuple(sorted(labels)))
        check(key not in family.samples, f"twice: {line}")
        family.samples[key] = float(match[3])

    def values(self, name, **labels):
        """Of every series that has these labels."""
        wanted = set(labels.items())
        family = next((f for n, f in self.families.items() if name.startswith(n) and
                       any(sample == name for sample, _ in f.samples)), None)
        return [] if family is None else [v for (n, have), v in family.samples.items() if n == name and wanted <= set(have)]

    def total(self, name, **labels):
        return sum(self.values(name, **labels))


def _check_family(family):
    name = family.name
    check(family.type, f"{name} has no TYPE")
    check(family.help.endswith(".") and not family.help[0].islower(), f"{name}: the help is no sentence: {family.help}")
    check_equal(name.endswith("_total"), family.type == "counter", f"{name}, a {family.type}: only counters end in _total")
    check(not name.removesuffix("_total").endswith(_NOT_BASE_UNITS), f"{name} is not in base units")
    for (sample, _), value in family.samples.items():
        check(not math.isnan(value), f"{sample} is no number")
        check(family.type == "gauge" or value >= 0, f"{sample} is negative")
    if family.type == "histogram":
        _check_histogram(family)


def _check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        parts = series.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            parts["buckets"].append((float(dict(labels)["le"]), value))
        else:
            parts[name.removeprefix(family.name)] = value
    for labels, parts in series.items():
        bounds, counts = [b for b, _ in parts["buckets"]], [c for _, c in parts["buckets"]]
        check(bounds == sorted(set(bounds)) and counts == sorted(counts), f"buckets of {family.name}{labels}: {parts}")
        check_equal((bounds[-1], counts[-1]), (math.inf, parts["_count"]), f"last bucket of {family.name}{labels}")
        check("_sum" in parts, f"{family.name}{labels} has no sum")
