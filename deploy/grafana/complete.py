"""What every panel must have: a description, a section of the runbook that is there, a unit, and numbers from which it is bad or the reason why
there are none. And where an alert has a limit: that a panel shows this very number.
"""

import re

from dsl import Dashboard, Panel, Prom


# Units by Grafana's names. Any other name is no fault to Grafana: it writes it behind the number.
UNITS = {"none", "short", "string", "s", "bytes", "Bps", "percentunit", "currencyUSD", "cpm", "opm", "reqpm"}


def sections(runbook):
    """The anchors of a page's sections."""
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.+)$", runbook, re.M)}


def alerts(rules):
    """Each alert's name, and the numbers that its expression compares with."""
    found = {}
    for block in re.split(r"^      - alert: ", rules, flags=re.M)[1:]:
        name, rest = block.split("\n", 1)
        expr = re.search(r"expr: (.*?)\n        (?:for|labels):", rest, re.S).group(1)
        found[name.strip()] = [float(number) for number in re.findall(r"(?:[<>]=?|==) *([0-9.]+(?:e[0-9]+)?)", expr)]
    return found


def faults_of_panel(panel, known, anchors):
    if not (panel.text or "").strip():
        yield "has no description"
    if not panel.runbook:
        yield "has no link to the runbook"
    elif panel.runbook not in anchors:
        yield f"docs/RUNBOOK.md has no section `{panel.runbook}`"
    if not panel.unit:
        yield "has no unit"
    for unit in {panel.unit, *panel.units.values()} - UNITS - {None}:
        yield f"Grafana has no unit `{unit}`, or UNITS of complete.py does not know it"
    if panel.kind == "table" and panel.unit == "short":
        yield "shortens the numbers of jobs; a table's unit is `none`"
    if not panel.limits() and not panel.limitless:
        yield "has no threshold, and no reason for none (`limitless`)"
    if panel.limits() and panel.limitless:
        yield "has a threshold, and a reason for none"
    if panel.limits() != sorted(panel.limits()):
        yield f"its thresholds are in the wrong order: {panel.limits()}"
    for name in panel.alert:
        # A colour holds from its number on, an alert beyond it: of things that are counted, that is the next whole number.
        shown = [number * panel.times + more for number in known.get(name, []) for more in ([0, 1] if panel.unit in ("none", "short") else [0])]
        if name not in known:
            yield f"rules.yml has no alert {name}"
        elif not set(shown) & set(panel.limits()):
            yield f"{name} has the limit {known[name]}, and this panel {panel.limits()}"


def faults(dashboards, unshown, rules, runbook):
    """`unshown`: alerts whose limit no panel shows, each with the reason."""
    known, anchors, shown = alerts(rules), sections(runbook), set()
    for dashboard in dashboards:
        for panel in dashboard.panels():
            shown |= set(panel.alert)
            yield from (f"{dashboard.title} / {panel.title}: {fault}" for fault in faults_of_panel(panel, known, anchors))
    for name in sorted(set(known) - shown - set(unshown)):
        yield f"{name}: no panel shows its limit; name it in `alert`, or in UNSHOWN of panels.py with the reason"
    for name in sorted(set(unshown) & shown | set(unshown) - set(known)):
        yield f"{name}: is named in UNSHOWN, and a panel shows it or rules.yml has no such alert"
    titles = [panel.title for dashboard in dashboards for panel in dashboard.panels()]
    for page, text, mark in (("docs/RUNBOOK.md", runbook, r"\*"), ("rules.yml", rules, "'")):
        for name in re.findall(rf"[Pp]anel {mark}(.+?){mark}", text):
            if not any(title.startswith(name) for title in titles):
                yield f"{page}: no panel is named {name}"


# A panel that lacks nothing, and what is taken from it or put in, with words of the fault that must be found.
SOUND = {"kind": "stat", "title": "Planted", "text": "What it is.", "queries": Prom("up"), "unit": "bytes", "bad": (9e9, 2e9), "below": True, "alert": "Full", "runbook": "disk"}
PLANTED = [
    ({"text": " "}, "no description"), ({"runbook": None}, "no link"), ({"runbook": "nowhere"}, "no section `nowhere`"), ({"unit": None}, "no unit"),
    ({"unit": "furlong"}, "no unit `furlong`"), ({"kind": "table", "unit": "short"}, "shortens"), ({"title": "Sown"}, "no panel is named Planted"),
    ({"bad": None, "alert": ()}, "no threshold, and no reason"), ({"limitless": "why not"}, "and a reason for none"), ({"below": False}, "wrong order"),
    ({"bad": (9e9, 3e9)}, "has the limit"), ({"alert": "Fuller"}, "no alert Fuller"), ({"alert": ()}, "no panel shows its limit"),
]


def blind():
    """Faults that this check would not see, each tried on a planted panel; or what it finds fault with and should not."""
    rules, runbook = "      - alert: Full\n        expr: min(free) < 2e9\n        for: 5m\n", "## Disk\n\nPanel *Planted* has it.\n"
    judged = lambda change: list(faults([Dashboard("x", "X", "", [("row", [Panel(**{**SOUND, **change})])])], {}, rules, runbook))
    for fault in judged({}):
        yield f"the check finds fault with a sound panel: {fault}"
    for change, words in PLANTED:
        if not any(words in fault for fault in judged(change)):
            yield f"the check does not see a planted panel with {change}: {judged(change)}"
