"""Grafana's dashboard JSON from short descriptions of panels.

A dashboard is a list of rows of panels; a panel is what it shows, in which unit, from which numbers on it is bad, what the reader
does then, and its queries. complete.py holds each panel to having all of that. Python's standard library suffices.
"""

import json

PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}
POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "${postgres}"}
# A text box of each dashboard: where this installation keeps docs/RUNBOOK.md. What it holds at first leads nowhere from Grafana, and says which page is meant.
RUNBOOK, RUNBOOK_AT_FIRST = "${runbook}#", "docs/RUNBOOK.md"
GREEN, ORANGE, RED = "green", "orange", "red"


class Prom:
    """A query of Prometheus. `legend` names its curves; `instant` asks for the last value only; `unstaged` says why the load of the check
    cannot be held to making it show anything."""

    def __init__(self, expr, legend="", instant=False, heatmap=False, unstaged=None):
        self.expr, self.legend, self.instant, self.heatmap, self.unstaged = expr, legend, instant, heatmap, unstaged

    def json(self, ref):
        return {
            "refId": ref, "datasource": PROMETHEUS, "expr": self.expr, "legendFormat": self.legend or "__auto",
            "editorMode": "code", "instant": self.instant, "range": not self.instant,
            "format": "heatmap" if self.heatmap else ("table" if self.instant and not self.legend else "time_series"),
        }


class Sql:
    """A query of Postgres as `crier_reader`. `shape` is `table` or `time_series`; `unstaged` as above; `among` are words that its rows
    hold under the load of the check."""

    def __init__(self, sql, shape="table", unstaged=None, among=()):
        self.sql, self.shape, self.unstaged, self.among = " ".join(sql.split()), shape, unstaged, among

    def json(self, ref):
        return {
            "refId": ref, "datasource": POSTGRES, "rawSql": self.sql, "rawQuery": True, "editorMode": "code",
            "format": self.shape,
        }


class Panel:
    """One panel. `bad` are the values from which it is orange and red; `below` turns them round; `steps` instead of both are pairs of a value
    and the colour from there on. `limitless` says why no number of it is bad. `alert` names the alerts whose limit it shows, `times` what that is
    multiplied by. `runbook` is a section of docs/RUNBOOK.md. Of single curves or columns: `calm` ones keep green, `units` have a unit of their own,
    and those of a curve an axis at the right."""

    def __init__(self, kind, title, text, queries, unit=None, bad=None, below=False, steps=None, limitless=None, alert=(), times=1, runbook=None,
                 width=8, height=7, stack=False, decimals=None, links=None, calm=(), units=None):
        self.kind, self.title, self.text, self.unit, self.limitless = kind, title, text, unit, limitless
        self.queries = queries if isinstance(queries, list) else [queries]
        self.alert, self.times, self.runbook = (alert,) if isinstance(alert, str) else alert, times, runbook
        self.width, self.height, self.stack, self.decimals = width, height, stack, decimals
        self.links, self.calm, self.units = links or {}, calm, units or {}
        if bad:
            orange, red = bad
            steps = [(None, RED), (red, ORANGE), (orange, GREEN)] if below else [(None, GREEN), (orange, ORANGE), (red, RED)]
        self.steps = steps or []

    def limits(self):
        """The numbers at which it changes its colour."""
        return [value for value, _ in self.steps if value is not None]

    @staticmethod
    def thresholds(steps):
        return {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in steps or [(None, GREEN)]]}

    def json(self, number, x, y):
        description = f"{self.text}\n\n[What to do]({RUNBOOK}{self.runbook})"
        defaults = {"unit": self.unit, "thresholds": self.thresholds(self.steps), "mappings": [], "noValue": "–"}
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        options, overrides = {}, []
        if self.kind == "stat":
            defaults["color"] = {"mode": "thresholds"}
            options = {"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
                       "textMode": "auto", "wideLayout": True,
                       # Left empty, only numbers are shown.
                       "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/.*/" if self.unit == "string" else "", "values": False}}
        elif self.kind == "timeseries":
            defaults["color"] = {"mode": "palette-classic"}
            defaults["custom"] = {
                "drawStyle": "bars" if self.stack else "line", "lineWidth": 1, "fillOpacity": 60 if self.stack else 8,
                "showPoints": "never", "spanNulls": False, "axisSoftMin": 0,
                "stacking": {"mode": "normal" if self.stack else "none", "group": "A"},
                "thresholdsStyle": {"mode": "line+area" if self.steps else "off"},
            }
            options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
                       "tooltip": {"mode": "multi", "sort": "desc"}}
        elif self.kind == "heatmap":
            defaults = {"custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False}}}
            options = {"calculate": False, "cellGap": 1, "yAxis": {"unit": self.unit, "axisPlacement": "left"},
                       "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "reverse": False, "exponent": 0.5, "fill": "orange", "scale": "exponential"},
                       "rowsFrame": {"layout": "auto"}, "showValue": "never", "filterValues": {"le": 1e-9},
                       "legend": {"show": True}, "tooltip": {"mode": "single", "yHistogram": True}, "exemplars": {"color": "red"}}
        elif self.kind == "barchart":
            defaults["color"] = {"mode": "palette-classic"}
            defaults["custom"] = {"fillOpacity": 70, "lineWidth": 1, "thresholdsStyle": {"mode": "line" if self.steps else "off"}}
            options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
                       "orientation": "auto", "showValue": "auto", "stacking": "normal", "tooltip": {"mode": "multi", "sort": "desc"},
                       "xTickLabelRotation": -45, "xTickLabelSpacing": 0, "barWidth": 0.9, "groupWidth": 0.7, "barRadius": 0, "fullHighlight": False}
        elif self.kind == "table":
            defaults["custom"] = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": True, "filterable": True}
            options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""}}
        else:
            raise ValueError(self.kind)
        override = lambda name, **properties: overrides.append(
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": id.replace("_", "."), "value": value} for id, value in properties.items()]})
        for name, url in self.links.items():
            override(name, links=[{"title": "Open", "url": url, "targetBlank": True}])
        for name in self.calm:
            override(name, thresholds=self.thresholds([]))
        for name, unit in self.units.items():
            # The panel's thresholds are in the panel's unit.
            override(name, unit=unit, **({"custom_axisPlacement": "right", "custom_thresholdsStyle": {"mode": "off"}} if self.kind == "timeseries" else {}))
        sources = {query.json("A")["datasource"]["type"] for query in self.queries}
        source = PROMETHEUS if sources == {"prometheus"} else POSTGRES
        out = {
            "id": number, "type": self.kind, "title": self.title, "description": description, "datasource": source,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": defaults, "overrides": overrides}, "options": options,
            "targets": [query.json("ABCDEFGH"[at]) for at, query in enumerate(self.queries)],
        }
        if self.kind == "table" and sources == {"prometheus"}:
            out["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}}]
        return out


class Dashboard:
    """`rows` is a list of (title, panels). `variables` come after the data sources and the job of Prometheus."""

    def __init__(self, uid, title, text, rows, variables=(), since="now-6h", refresh="30s", until="now"):
        self.uid, self.title, self.text, self.rows = uid, title, text, rows
        self.variables, self.since, self.refresh, self.until = list(variables), since, refresh, until

    def panels(self):
        return [panel for _, panels in self.rows for panel in panels]

    def json(self):
        panels, number, y = [], 1, 0
        for title, row in self.rows:
            panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                           "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
            number, x, y, tallest = number + 1, 0, y + 1, 0
            for panel in row:
                if x + panel.width > 24:
                    x, y, tallest = 0, y + tallest, 0
                panels.append(panel.json(number, x, y))
                number, x, tallest = number + 1, x + panel.width, max(tallest, panel.height)
            y += tallest
        source = lambda name, label, kind: {
            "name": name, "label": label, "type": "datasource", "query": kind, "hide": 0, "includeAll": False, "multi": False,
            "options": [], "refresh": 1, "regex": "", "skipUrlSync": False, "current": {}}
        job = {"name": "job", "label": "Installation", "type": "query", "datasource": PROMETHEUS, "hide": 0, "includeAll": False,
               "multi": False, "options": [], "refresh": 2, "regex": "", "skipUrlSync": False, "sort": 1, "current": {},
               "definition": "label_values(crier_build_info, job)",
               "query": {"query": "label_values(crier_build_info, job)", "refId": "job"}}
        runbook = {"name": "runbook", "label": "Runbook", "type": "textbox", "hide": 0, "skipUrlSync": False,
                   "description": "The address at which your people read crier's runbook: What to do of each panel leads there.",
                   "query": RUNBOOK_AT_FIRST, "current": {"text": RUNBOOK_AT_FIRST, "value": RUNBOOK_AT_FIRST},
                   "options": [{"selected": True, "text": RUNBOOK_AT_FIRST, "value": RUNBOOK_AT_FIRST}]}
        others = [{"asDropdown": True, "icon": "external link", "includeVars": True, "keepTime": True, "tags": ["crier"],
                   "targetBlank": False, "title": "crier", "tooltip": "", "type": "dashboards", "url": ""}]
        return {
            "uid": self.uid, "title": self.title, "description": self.text, "tags": ["crier"], "schemaVersion": 39, "version": 1,
            "id": None, "editable": True, "graphTooltip": 1, "fiscalYearStartMonth": 0, "weekStart": "", "timezone": "browser",
            "refresh": self.refresh, "time": {"from": self.since, "to": self.until}, "timepicker": {}, "links": others,
            "annotations": {"list": []}, "preload": False,
            "templating": {"list": [source("prometheus", "Prometheus", "prometheus"),
                                    source("postgres", "Postgres", "grafana-postgresql-datasource"), job, runbook, *self.variables]},
            "panels": panels,
        }

    def text_of_file(self):
        return json.dumps(self.json(), indent=1, ensure_ascii=False) + "\n"
