"""What `puna serve` promises: the same bytes whatever happens around a request, and that no client harms
another, however it behaves. Texts are the default model's."""
import concurrent.futures
import contextlib
import http.client
import json
import signal
import socket
import struct
import threading

import pytest

from gguf_file import U32, llama
from puna_server import ENDING, PATIENCE_S, Server, begin_to_read, serving, wait_until

MODEL = "SmolLM2-135M-Instruct.Q4_1"
SMALL = ("-c", 512)
LLAMAS = "Write a few sentences about llamas, alpacas and the high plains of the Andes where they live. " * 3
CASES = {
    "greedy": {"temperature": 0},
    "seeded": {"temperature": 1, "seed": 42, "top_p": 0.95},
    "punished": {"temperature": 0.8, "seed": 2**40, "top_k": 50, "frequency_penalty": 0.5, "presence_penalty": 0.3},
}


def body(case, **options):
    return {"model": MODEL, "messages": [{"role": "user", "content": LLAMAS}], "max_tokens": 20, "logprobs": True,
            "top_logprobs": 2, "cache_salt": case, **CASES[case], **options}


def ask(server, case, path="/v1/chat/completions", **options):
    """What must be equal, and how many tokens came from the cache."""
    document = server.post(path, body(case, **options))
    (choice,) = document["choices"]
    return choice, document["usage"]["prompt_tokens_details"]["cached_tokens"]


def ask_all(server, **options):
    return {case: ask(server, case, **options)[0] for case in CASES}


@pytest.fixture(scope="module")
def server():
    with serving("--parallel", 20, *SMALL) as s:
        yield s


@pytest.fixture(scope="module")
def alone(server):
    """The answers of a server that has nothing else to do and nothing in its cache."""
    answers = {case: ask(server, case) for case in CASES}
    assert [n for _, n in answers.values()] == [0] * len(CASES)
    return {case: choice for case, (choice, _) in answers.items()}


def noise(server, i, **options):
    server.post("/v1/chat/completions", {"model": MODEL, "max_tokens": 10 + i, "seed": i, "ignore_eos": True, "messages": [
        {"role": "user", "content": f"{i} " + "Count on and on. " * (i % 7)}], **options})


# --- the same bytes

def test_the_cases_differ(alone):
    assert len({choice["message"]["content"] for choice in alone.values()}) == len(CASES)
    assert all(len(choice["logprobs"]["content"]) == 20 for choice in alone.values())


def test_a_hit_in_the_cache_changes_nothing(server, alone):
    for case in CASES:
        choice, n_cached = ask(server, case)
        assert choice == alone[case] and n_cached >= 64


def test_sixteen_others_change_nothing(server, alone):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        others = [pool.submit(noise, server, i) for i in range(16)]
        wait_until(lambda: server.metric("puna_requests_running") > 8 or all(o.done() for o in others))
        mine = {case: pool.submit(ask, server, case, cache_salt=case + "again") for case in CASES}
        assert {case: m.result()[0] for case, m in mine.items()} == alone
        for other in others:
            other.result()


def test_a_stream_has_the_same_bytes(server, alone):
    for case in CASES:
        text = "".join(c["delta"].get("content", "") for c in choices(server, body(case, stream=True)))
        assert text == alone[case]["message"]["content"]


def test_pages_that_are_evicted_or_given_up_change_nothing(alone):
    with serving("--parallel", 7, "--kv-size", "13M", *SMALL) as s:
        assert 8 <= s.metric("puna_kv_pages") < 12  # 8 are a context
        assert ask_all(s) == alone
        kept = {case: ask(s, case)[1] for case in CASES}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            other = pool.submit(noise, s, 290, n=4)  # four that grow to five pages each
            mine = {case: pool.submit(ask, s, case, cache_salt=case + "again") for case in CASES}
            other.result()
        assert {case: m.result()[0] for case, m in mine.items()} == alone
        assert s.metric("puna_preemptions_total") > 0
        answers = {case: ask(s, case) for case in CASES}
        assert {case: choice for case, (choice, _) in answers.items()} == alone
        assert any(n < kept[case] for case, (_, n) in answers.items())  # something was evicted


def has_cpu(feature):
    with open("/proc/cpuinfo") as f:
        return feature in f.read()


@pytest.mark.parametrize("args", [["--threads", 1], ["--threads", 2], ["--cpu", "avx2"], ["--cpu", "avxvnni"],
                                  ["--cpu", "avx512"], ["--cpu", "amx"], ["--no-prefix-cache"], ["--draft-max", 0],
                                  ["-b", 16]], ids=str)
def test_options_that_change_speed_change_nothing_else(alone, args):
    features = {"avx2": "avx2", "avxvnni": "avx_vnni", "avx512": "avx512_vnni", "amx": "amx_int8"}
    if args[0] == "--cpu" and not has_cpu(features[args[1]]):
        pytest.skip(f"this CPU has no {args[1]}")
    with serving(*args, *SMALL) as s:
        assert ask_all(s) == alone
        choice, n_cached = ask(s, "greedy")
        assert choice == alone["greedy"] and (n_cached > 0) == (args[0] != "--no-prefix-cache")


def test_another_server_after_a_kill_answers_the_same(alone):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1")) as connection:
        s = Server(*SMALL)
        connection.host, connection.port = s.address
        connection.request("POST", "/v1/chat/completions", json.dumps(body("greedy", max_tokens=400, stream=True,
                                                                           ignore_eos=True)))
        assert connection.getresponse().read(10)
        assert s.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    with serving(*SMALL, "--port", s.address[1]) as again:
        assert again.address == s.address
        assert ask_all(again) == alone


# --- clients that leave

def start(server, document, path="/v1/chat/completions", buffer=None):
    """A socket on which the request was sent."""
    s = socket.socket()
    if buffer is not None:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    s.settimeout(PATIENCE_S)
    s.connect(server.address)
    data = json.dumps(document).encode()
    s.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)
    return s


def leave(s, reset):
    if reset:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def choices(server, document):
    """Of the events of a stream, which must end well."""
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(document))
        text = connection.getresponse().read().decode()
    events = [e for e in text.split("\n\n") if e and not e.startswith(":")]
    assert events[-1] == "data: [DONE]"
    documents = [json.loads(e.removeprefix("data: ")) for e in events[:-1]]
    assert all("error" not in d for d in documents)
    return [c for d in documents for c in d["choices"]]


LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 7000, "ignore_eos": True,
        "stream": True}


@pytest.fixture(scope="module")
def roomy():
    """Answers here do not end before their clients do."""
    with serving("--parallel", 2, "--kv-size", "512M", "--alias", "x") as s:
        yield s


def n_left(metrics):
    return sum(n for name, n in metrics.items() if name.startswith("puna_http_requests_total{") and 'status="499"' in name)


def leave_and_be_noticed(server, s, reset):
    """What the server had counted when it knew that the client was gone: it tells the engine before it counts
    that, so that at most the step that runs then may come on top."""
    before = n_left(server.metrics())
    leave(s, reset)
    found = {}

    def is_noticed():
        found.update(server.metrics())
        return n_left(found) == before + 1
    wait_until(is_noticed)
    return found


def check_that_it_ends_within_a_step(server, s, reset):
    noticed = leave_and_be_noticed(server, s, reset)
    wait_until(server.is_idle)  # and no page is in use
    after = server.metrics()
    assert after["puna_steps_total"] <= noticed["puna_steps_total"] + 1
    return after


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_in_decode_is_not_computed_for(roomy, stream, reset):
    before = roomy.metric("puna_generation_tokens_total")
    s = start(roomy, LONG | {"stream": stream, "n": 2})
    wait_until(lambda: roomy.metric("puna_generation_tokens_total") > before + 4)
    assert roomy.metric("puna_kv_pages_in_use") > 0
    check_that_it_ends_within_a_step(roomy, s, reset)
    assert roomy.metric("puna_generation_tokens_total") < before + 7000


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_in_prefill_is_not_computed_for(roomy, stream, reset):
    n_words, batch = 7000, 512
    s = start(roomy, LONG | {"messages": [{"role": "user", "content": f"{stream} {reset} " + "word " * n_words}],
                             "max_tokens": 9, "stream": stream})
    before = roomy.metrics()
    wait_until(lambda: roomy.metric("puna_kv_pages_in_use") > 0)
    after = check_that_it_ends_within_a_step(roomy, s, reset)
    assert after["puna_generation_tokens_total"] == before["puna_generation_tokens_total"]
    assert after["puna_prompt_tokens_total"] == before["puna_prompt_tokens_total"]
    assert after["puna_steps_total"] - before["puna_steps_total"] < n_words // batch  # not all of the prompt


def test_who_leaves_the_queue_is_gone_at_once_and_nobody_else_is(roomy):
    running = [start(roomy, LONG) for _ in range(2)]
    wait_until(lambda: roomy.metric("puna_requests_running") == 2)
    first = start(roomy, LONG | {"max_tokens": 3})
    wait_until(lambda: roomy.metric("puna_requests_waiting") == 1)
    others = [start(roomy, LONG) for _ in range(5)]
    wait_until(lambda: roomy.metric("puna_requests_waiting") == 6)
    for i, s in enumerate(others):
        leave(s, i % 2 == 1)
    wait_until(lambda: roomy.metric("puna_requests_waiting") == 1)  # the first is before them, and stays
    assert roomy.metric("puna_requests_running") == 2
    for s in running:
        assert s.recv(100).startswith(b"HTTP/1.1 200")
        leave(s, False)
    with first:
        data = b""
        while b"data: [DONE]" not in data:
            assert (piece := first.recv(65536))
            data += piece
    wait_until(roomy.is_idle)


WORDY = {"model": "quick", "prompt": "a", "max_tokens": 8000, "n": 4, "logprobs": 5, "stream": True, "temperature": 1}


@pytest.fixture(scope="module")
def quick_model(tmp_path_factory):
    """Of no weight, with answers that are longer than sockets hold."""
    path = tmp_path_factory.mktemp("promises") / "quick.gguf"
    path.write_bytes(llama(llama__context_length=(U32, 8192)))
    return path


@pytest.fixture(scope="module")
def quick(quick_model):
    with serving("-c", 8192, quick_model) as s:
        yield s


def start_slow(server):
    """A client that reads nothing of its answer, when the server has noticed that."""
    before = server.metric("puna_generation_tokens_total")
    slow = start(server, WORDY, "/v1/completions", buffer=4096)
    counts = []

    def rests():
        counts.append(server.metric("puna_generation_tokens_total") - before)
        threading.Event().wait(0.2)
        return len(counts) > 5 and counts[-1] == counts[-5] > 0
    wait_until(rests)
    assert server.metric("puna_requests_running") == 4 and counts[-1] < 4 * 8000
    return slow


def test_a_reader_that_stops_stops_its_own_answer_alone(quick):
    before = quick.metric("puna_generation_tokens_total")
    with start_slow(quick) as slow:
        n = quick.metric("puna_generation_tokens_total")
        quick.post("/v1/completions", {"model": "quick", "prompt": "b", "max_tokens": 5})
        assert quick.metric("puna_generation_tokens_total") == n + 5
        begin_to_read(slow)
        tail = b""  # it goes on when the reader does
        while b"data: [DONE]" not in tail:
            assert (piece := slow.recv(1 << 20))
            tail = tail[-100:] + piece
    wait_until(quick.is_idle)
    assert quick.metric("puna_generation_tokens_total") == before + 4 * 8000 + 5


@pytest.mark.parametrize("reset", [False, True])
def test_a_reader_that_stopped_and_leaves_is_not_computed_for(quick, reset):
    check_that_it_ends_within_a_step(quick, start_slow(quick), reset)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_the_queue_costs_no_step(quick_model, stream, reset):
    """All places are held by somebody who does not read, so that nothing is computed."""
    with serving("-c", 8192, "--parallel", 4, quick_model) as s:
        slow = start_slow(s)
        waiting = start(s, WORDY | {"prompt": "b", "n": 2, "stream": stream}, "/v1/completions")
        wait_until(lambda: s.metric("puna_requests_waiting") == 1)
        before = s.metrics()
        leave_and_be_noticed(s, waiting, reset)
        wait_until(lambda: s.metric("puna_requests_waiting") == 0)
        after = s.metrics()
        for name in ("puna_steps_total", "puna_generation_tokens_total", "puna_kv_pages_in_use", "puna_requests_running"):
            assert after[name] == before[name]
        check_that_it_ends_within_a_step(s, slow, reset)
        assert s.metric("puna_prompt_tokens_total") == before["puna_prompt_tokens_total"]


def test_clients_that_send_slowly_or_half_hinder_nobody(roomy):
    with contextlib.ExitStack() as stack:
        for data in (b"", b"POST /v1/chat", b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n{"):
            for _ in range(20):
                s = stack.enter_context(roomy.connect())
                s.sendall(data)
        assert len(choices(roomy, LONG | {"max_tokens": 5})) >= 2
        assert roomy.ask("GET", "/health")[0] == 200


def test_who_closes_a_half_leaves(roomy):
    """No client that waits for its answer does that."""
    with start(roomy, LONG) as s:
        wait_until(lambda: roomy.metric("puna_requests_running") == 1)
        s.shutdown(socket.SHUT_WR)
        wait_until(roomy.is_idle)


# --- many, and the end

def test_forty_streams_on_eight_places_all_end():
    with serving("--parallel", 8, *SMALL) as s, concurrent.futures.ThreadPoolExecutor(40) as pool:
        streams = [pool.submit(choices, s, LONG | {"max_tokens": 8 + i % 5, "seed": i}) for i in range(40)]
        assert [stream.result()[-1]["finish_reason"] for stream in streams] == ["length"] * 40
        wait_until(s.is_idle)
        assert s.metric("puna_generation_tokens_total") == sum(8 + i % 5 for i in range(40))


def test_a_signal_lets_streams_end(alone):
    s = Server("--parallel", 1, *SMALL)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(choices, s, body("greedy", stream=True))
        wait_until(lambda: s.metric("puna_requests_running") == 1)
        waiting = pool.submit(choices, s, body("seeded", stream=True))
        wait_until(lambda: s.metric("puna_requests_waiting") == 1 or running.done())
        code, errors = s.stop()
        assert code == 0 and errors in ("", ENDING.format("1 client is", 30), ENDING.format("2 clients are", 30))
        for case, stream in (("greedy", running), ("seeded", waiting)):
            text = "".join(c["delta"].get("content", "") for c in stream.result())
            assert text == alone[case]["message"]["content"]
