"""The files of examples/monitoring, with a real Prometheus that asks a real server."""
import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest

from puna_server import serving, wait_until

DEFAULT = "SmolLM2-135M-Instruct.Q4_1"
FOLDER = pathlib.Path("examples/monitoring")
DASHBOARD = json.loads((FOLDER / "puna-dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
ALERTS = (FOLDER / "puna-alerts.yml").read_text()

PROMETHEUS, PROMTOOL = (pathlib.Path(f"build/servers/usr/bin/{name}").absolute() for name in ("prometheus", "promtool"))

pytestmark = pytest.mark.skipif(not PROMETHEUS.exists(), reason="no build/servers: tools/setup test unpacks it")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@contextlib.contextmanager
def prometheus(folder, target):
    """Asks the server every second; gives a function from a path of Prometheus' API to what it answers."""
    text = (FOLDER / "prometheus.yml").read_text()
    assert "127.0.0.1:8080" in text and "15s" in text
    (folder / "prometheus.yml").write_text(text.replace("127.0.0.1:8080", target).replace("15s", "1s"))
    shutil.copy(FOLDER / "puna-alerts.yml", folder)
    subprocess.run([PROMTOOL, "check", "config", folder / "prometheus.yml"], check=True)
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen([PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                                f"--web.listen-address={url[7:]}", "--log.level=error"])

    def get(path, **query):
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def is_up():
        with contextlib.suppress(OSError):
            return [t["health"] for t in get("targets")["activeTargets"]] == ["up"]
    try:
        wait_until(is_up)
        yield get
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_dashboard_and_alerts_find_what_they_ask_for(tmp_path):
    assert len(EXPRESSIONS) > 15
    with serving() as s, prometheus(tmp_path, s.url.removeprefix("http://")) as get:
        text = "one two three four one two three four one two three four one two"  # the server guesses what comes next

        def shown(expression):
            """The numbers that a panel shows; several exchanges lie within its time."""
            expression = expression.replace("$__rate_interval", "30s").replace("$instance", ".*")
            return [float(r["value"][1]) for r in get("query", query=expression)["result"]]

        def all_shown():
            s.post("/v1/completions", {"model": DEFAULT, "prompt": text, "max_tokens": 24, "temperature": 0})
            return all(n == n for e in EXPRESSIONS for n in shown(e) or [float("nan")])
        wait_until(all_shown)
        assert shown('sum(rate(puna_generation_tokens_total[30s]))')[0] > 0
        rules = [rule for group in get("rules")["groups"] for rule in group["rules"]]
        wait_until(lambda: all(r["health"] == "ok" for g in get("rules")["groups"] for r in g["rules"]))
        assert len(rules) == ALERTS.count("- alert: ") and all(r["state"] == "inactive" for r in rules)
        assert all(r["annotations"]["action"] for r in rules)


def names(text):
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bpuna_[a-z_]+", text)}


def test_dashboard_and_alerts_name_what_the_server_tells():
    with serving() as s:
        told = set(re.findall(r"^# TYPE (puna_\w+)", s.ask("GET", "/metrics")[1], re.MULTILINE))
    assert names(ALERTS) | names(" ".join(EXPRESSIONS)) <= told


HTTP, FIRST = "puna_http_requests_total", "puna_time_to_first_token_seconds_bucket"
FIRING = {  # the alert: what is measured at minutes 0, 1 ..., and the minute at which it is on
    "PunaDown": ({'up{job="puna", instance="a"}': "0x30"}, 2),
    "PunaNotReady": ({'puna_ready{instance="a"}': "0x30"}, 11),
    "PunaEngineStuck": ({'puna_engine_stuck{instance="a"}': "1x30"}, 1),
    "PunaErrors": ({HTTP + '{instance="a", status="500"}': "0+1x30", HTTP + '{instance="a", status="200"}': "0+90x30"}, 11),
    "PunaOverloaded": ({HTTP + '{instance="a", status="429"}': "0+9x30", 'puna_requests_waiting{instance="a"}': "64x30"}, 16),
    "PunaSlowFirstToken": ({FIRST + '{instance="a", le="30"}': "0+9x60", FIRST + '{instance="a", le="60"}': "0+10x60",
                            FIRST + '{instance="a", le="+Inf"}': "0+10x60"}, 25),
    "PunaPreempts": ({'puna_preemptions_total{instance="a"}': "0+60x60"}, 25),
    "PunaUsageNotWritten": ({'puna_usage_rows_waiting{instance="a"}': "3x30", 'puna_usage_failures_total{instance="a"}': "0+9x30"}, 6),
    "PunaLogLost": ({'puna_log_lines_lost_total{instance="a"}': "0+1x30"}, 11),
}
QUIET = {  # just not
    "PunaDown": {'up{job="puna", instance="a"}': "1x30"}, "PunaNotReady": {'puna_ready{instance="a"}': "1x30"},
    "PunaEngineStuck": {'puna_engine_stuck{instance="a"}': "0x30"},
    "PunaErrors": {HTTP + '{instance="a", status="500"}': "0+1x30", HTTP + '{instance="a", status="200"}': "0+110x30"},
    "PunaOverloaded": {HTTP + '{instance="a", status="429"}': "0+9x30", 'puna_requests_waiting{instance="a"}': "0x30"},
    "PunaSlowFirstToken": {FIRST + '{instance="a", le="30"}': "0+20x60", FIRST + '{instance="a", le="60"}': "0+21x60",
                           FIRST + '{instance="a", le="+Inf"}': "0+21x60"},
    "PunaPreempts": {'puna_preemptions_total{instance="a"}': "0+5x60"},
    "PunaUsageNotWritten": {'puna_usage_rows_waiting{instance="a"}': "3x30", 'puna_usage_failures_total{instance="a"}': "9x30"},
    "PunaLogLost": {'puna_log_lines_lost_total{instance="a"}': "9x30"},
}


@pytest.mark.parametrize("alert", re.findall(r"- alert: (\w+)", ALERTS))
def test_alerts_fire_when_they_should_alone(alert, tmp_path):
    series, minute = FIRING[alert]

    def case(series, samples):
        on = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
        return {"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": on, "eval_time": f"{minute}m", "exp_samples": samples}]}
    tests = [case(series, [{"labels": "{}", "value": 1}]), case(QUIET[alert], [])]
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": [str((FOLDER / "puna-alerts.yml").absolute())],
                                                   "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([PROMTOOL, "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
