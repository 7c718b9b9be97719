"""Starting, stopping, and refusing to start: configuration errors, locks, ports, readiness, the plan."""

import json
import os
import socket
import time

from harness.cases import check, check_equal, eventually, test
from harness.protocol import RawClient
from harness.records import batch_of
from harness.server import run_to_end

USAGE = 2


@test()
def the_data_directory_alone_is_enough(context):
    data = context.dir / "data"
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.1", 9092))
    except OSError:
        context.skip("port 9092 is taken on this machine")
    finally:
        probe.close()
    server = context.server(data_dir=data)
    server.port = 9092
    os.makedirs(data)
    import subprocess
    with open(server.log_path, "ab") as log:
        server.log_start = 0
        server.process = subprocess.Popen([server.binary, "--data", str(data)], stdout=log, stderr=log)
    server.wait_ready()
    check_equal(server.stop(), 0, "exit code")


@test()
def sigterm_ends_cleanly_and_quickly(context):
    server = context.start()
    with RawClient(server.port) as client:
        client.create_topic("t")
        client.produce("t", 0, batch_of([b"x"] * 100))
        client.send("Fetch", 11, {"replica_id": -1, "max_wait_ms": 30000, "min_bytes": 1, "max_bytes": 1000,
                                  "topics": [{"name": "t", "partitions": [
                                      {"index": 0, "fetch_offset": 100, "max_bytes": 1000}]}]})
        time.sleep(0.2)
        began = time.monotonic()
        check_equal(server.stop(), 0, "exit code")  # although a fetch is waiting
        check(time.monotonic() - began < 10, "the clean stop took long")
    server.start()
    with RawClient(server.port) as client:
        check_equal(client.list_offset("t", 0, -1)["offset"], 100, "records after the restart")
    server.process.send_signal(2)
    check_equal(server.wait(), 0, "exit code after SIGINT")


@test()
def configuration_errors_name_key_value_and_what_is_accepted(context):
    data = str(context.dir / "data")
    cases = [
        ("unknown key", "[kafka]\nlissten = '127.0.0.1:0'\n", ("lissten", "listen")),
        ("unknown table", "[kafkaa]\nlisten = '127.0.0.1:0'\n", ("kafkaa",)),
        ("wrong type", "[topics]\nauto_create = 'perhaps'\n", ("auto_create", "perhaps")),
        ("out of range", "[topics]\ndefault_partitions = 0\n", ("default_partitions", "0")),
        ("negative", "[tuning.wal]\nsegment_bytes = -5\n", ("segment_bytes", "-5")),
        ("unit", "[tuning.wal]\nsegment_bytes = '16 parsecs'\n", ("segment_bytes", "parsecs")),
        ("impossible together", "[tuning.memory]\nbudget_bytes = '32MiB'\nframe_arena_bytes = '1GiB'\n",
         ("frame_arena_bytes",)),
        ("not TOML", "[kafka\n", ("escd.toml",)),
    ]
    for what, text, words in cases:
        path = context.dir / "escd.toml"
        path.write_text(text)
        code, _, errors = run_to_end(context.escd, "--data", data, "--config", str(path))
        check_equal(code, USAGE, f"{what}: exit code ({errors[-300:]})")
        for word in words:
            check(word in errors, f"{what}: the message does not name {word!r}: {errors}")
        if what != "impossible together":  # its values may come from several places
            check("escd.toml" in errors, f"{what}: the message does not name the file: {errors}")


@test()
def command_line_errors_are_usage_errors(context):
    data = str(context.dir / "data")
    for arguments, word in ((["--data", data, "--no-such-option"], "no-such-option"),
                            (["--data", data, "--kafka", "nonsense"], "nonsense"),
                            (["--data", data, "--kafka", "127.0.0.1:99999"], "99999"),
                            (["--data", data, "--cores", "many"], "many"),
                            (["--data", data, "--config", "/no/such/file.toml"], "/no/such/file.toml"),
                            (["--data", data, "--profile", "warp"], "warp"),
                            ([], "--data")):
        code, out, errors = run_to_end(context.escd, *arguments)
        check_equal(code, USAGE, f"{arguments}: exit code ({errors[-300:]})")
        check(word in errors + out, f"{arguments}: the message does not name {word}: {errors}")


@test()
def a_second_server_on_the_same_data_directory_is_refused(context):
    server = context.start()
    code, _, errors = run_to_end(context.escd, "--data", server.data_dir, "--kafka", "127.0.0.1:0")
    check(code not in (0, USAGE) and code > 0, f"exit code {code}")
    check(server.data_dir in errors, f"the message does not name the directory: {errors}")
    check(server.answers(), "the first server suffered")


@test()
def a_taken_port_is_named(context):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, errors = run_to_end(context.escd, "--data", str(context.dir / "data"), "--kafka", f"127.0.0.1:{port}")
        check(code > 0, f"exit code {code}")
        check(str(port) in errors and "in use" in errors, f"the message does not help: {errors}")


@test()
def an_unusable_data_directory_is_named(context):
    file = context.dir / "file"
    file.write_text("not a directory")
    code, _, errors = run_to_end(context.escd, "--data", str(file), "--kafka", "127.0.0.1:0")
    check(code > 0 and str(file) in errors, f"exit code {code}: {errors}")


@test()
def the_plan_is_printed_without_starting(context):
    code, out, errors = run_to_end(context.escd, "--data", str(context.dir / "data"), "--print-plan")
    check_equal(code, 0, f"exit code ({errors})")
    check("cpu" in out.lower(), f"no plan: {out}")
    check(not (context.dir / "data" / "kafka.port").exists(), "it started")
    code, out, errors = run_to_end(context.escd, "--data", str(context.dir / "data"), "--print-plan", "--cores", "2",
                                   "--output", "json")
    check_equal(code, 0, f"exit code ({errors})")
    json.loads(out)
    for profile in ("laptop", "ci", "throughput", "latency"):
        code, out, errors = run_to_end(context.escd, "--data", str(context.dir / "data"), "--print-plan", "--profile",
                                       profile)
        check_equal(code, 0, f"--profile {profile} ({errors})")


@test()
def every_profile_serves(context):
    for profile in ("laptop", "ci", "throughput", "latency"):
        server = context.server(profile).start("--profile", profile)
        with RawClient(server.port) as client:
            check_equal(client.create_topic("t", 4)["error_code"], 0, f"{profile}: create")
            for partition in range(4):
                check_equal(client.produce("t", partition, batch_of([b"x"]))["error_code"], 0, f"{profile}: produce")
        context.note(f"{profile}: {server.rss_mb():.0f} MB")
        check_equal(server.stop(), 0, f"{profile}: exit code")


@test()
def readiness_and_stop_are_told_to_systemd(context):
    path = str(context.dir / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(20)
        server = context.server().spawn(env={"NOTIFY_SOCKET": path})
        message = listener.recv(4096).decode()
        while "READY=1" not in message:
            message = listener.recv(4096).decode()
        server.wait_ready(5)  # ready means that it answers
        server.process.terminate()
        message = listener.recv(4096).decode()
        while "STOPPING=1" not in message:
            message = listener.recv(4096).decode()
        check_equal(server.wait(), 0, "exit code")


@test()
def a_ready_line_tells_where_to_connect(context):
    server = context.start()
    check(server.wait_log(f"127.0.0.1:{server.port}", 5), f"no ready line: {server.log()}")


@test()
def an_idle_server_costs_almost_no_cpu(context):
    server = context.start("--cores", "2")
    with RawClient(server.port) as client:
        client.create_topic("t", 100)
    time.sleep(1)
    began = server.cpu_seconds()
    time.sleep(3)
    share = (server.cpu_seconds() - began) / 3
    context.note(f"{share * 100:.1f} % of one CPU, {server.rss_mb():.0f} MB")
    check(share < 0.10, f"an idle server uses {share * 100:.0f} % of a CPU")


@test()
def topics_and_records_survive_a_change_of_the_number_of_cores(context):
    server = context.start("--cores", "1")
    with RawClient(server.port) as client:
        client.create_topic("t", 6)
        for partition in range(6):
            client.produce("t", partition, batch_of([b"%d" % partition] * 3))
    for cores in ("2", "1"):
        check_equal(server.stop(), 0, "exit code")
        server.start("--cores", cores)
        with RawClient(server.port) as client:
            for partition in range(6):
                end = client.list_offset("t", partition, -1)["offset"]
                check_equal(end, 3, f"--cores {cores}: end of partition {partition}")


@test(timeout=90)
def many_partitions_start_and_recover(context):
    partitions = 5000 if context.long else 1000
    server = context.start("--cores", "2")
    with RawClient(server.port, 60) as client:
        check_equal(client.create_topic("wide", partitions)["error_code"], 0, "create")
        topics = [{"name": "wide", "partitions": [{"index": i, "records": batch_of([b"x"])} for i in range(partitions)]}]
        answer = client.call("Produce", 9, {"acks": -1, "timeout_ms": 30000, "topics": topics})
        errors = {p["error_code"] for p in answer["topics"][0]["partitions"]}
        check_equal(errors, {0}, "errors of one request to all partitions")
    server.kill()
    began = time.monotonic()
    server.start("--cores", "2")
    context.note(f"{partitions} partitions recovered in {time.monotonic() - began:.2f} s, {server.rss_mb():.0f} MB")
    with RawClient(server.port, 60) as client:
        body = {"topics": [{"name": "wide", "partitions": [{"index": i, "timestamp": -1} for i in range(partitions)]}]}
        answer = client.call("ListOffsets", 5, body)["topics"][0]["partitions"]
        check_equal({p["offset"] for p in answer}, {1}, "ends")
    eventually(server.answers, what="the server answers")
