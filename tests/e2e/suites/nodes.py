"""Nodes that are added and removed while clients go on: esctl node."""

import json
import time

from harness.cases import check, check_equal, eventually, test
from harness.cluster import Cluster, Load
from harness.server import run_to_end


def esctl(context, cluster, *args, timeout=30, code=0):
    """Its output; `code` is the exit code wanted."""
    alive = ",".join(node.bootstrap for node in cluster.alive())
    got, out, err = run_to_end(context.esctl, "--bootstrap", alive, "--timeout", str(timeout), *args, timeout=timeout + 30)
    check_equal(got, code, f"esctl {' '.join(args)}: {out}{err}")
    return out + err


def listed(context, cluster):
    told = json.loads(esctl(context, cluster, "--output", "json", "node", "list"))
    return {node["id"]: node for node in told["nodes"]}


def add(context, cluster, node, *more):
    return esctl(context, cluster, "node", "add", "--id", str(node.number), "--peer", f"{node.host}:{node.peer_port}",
                 "--kafka", node.bootstrap, *more)


def voters(context, cluster):
    return sorted(i for i, node in listed(context, cluster).items() if node["votes_in"] == cluster.groups)


@test(timeout=120)
def a_dead_machine_is_replaced_and_a_restart_with_the_old_files_remembers_it(context):
    cluster = Cluster(context).start()
    load = Load(cluster)
    load.wait_progress()
    dead = cluster[3]
    dead.kill()
    load.wait_progress(what="acknowledgements by two of three")
    # Not with another one down: one of two would be left.
    refused = esctl(context, cluster, "node", "remove", "--id", "1", code=1)
    check("no majority" in refused, f"removing a second one: {refused}")
    esctl(context, cluster, "node", "remove", "--id", "3")
    check_equal(sorted(listed(context, cluster)), [1, 2], "nodes after the removal")
    fourth = cluster.grow()
    fourth.spawn()
    add(context, cluster, fourth, "--rack", "r4")
    fourth.wait_ready()
    check_equal(voters(context, cluster), [1, 2, 4], "who votes in every group")
    load.run(0.5)
    # The new one counts.
    cluster[1].kill()
    load.wait_progress(what="acknowledgements by node 2 and the new one")
    cluster[1].spawn()
    cluster[1].wait_ready()
    load.stop()
    stored, _ = load.verify()
    # What the files say is older than what the cluster knows.
    for node in (cluster[1], cluster[2], fourth):
        node.stop()
    for node in (cluster[1], cluster[2], fourth):
        node.spawn()
    for node in (cluster[1], cluster[2], fourth):
        node.wait_ready()
    eventually(lambda: voters(context, cluster) == [1, 2, 4], 15, what="the nodes of the log after a restart")
    check(cluster[1].wait_log("nodes_differ", 5), f"the difference is told: {cluster[1].log_tail()}")
    names = sorted(broker["node_id"] for broker in cluster.ask(lambda client: client.metadata(None))["brokers"])
    check_equal(names, [1, 2, 4], "nodes in the metadata")
    # The machine that was taken for dead comes back.
    dead.spawn()
    check(dead.wait_log("was removed from the cluster", 15), f"node 3 is not told: {dead.log_tail()}")
    load.verify()
    dead.kill()
    cluster.stop_all()
    cluster.check_equal_logs((1, 2, 4))
    context.note(f"{stored} records, node 3 replaced by node 4")


@test(timeout=120)
def a_leader_is_removed_and_a_node_added_under_load(context):
    cluster = Cluster(context).start()
    load = Load(cluster, reorders=True)
    load.wait_progress()
    fourth = cluster.grow()
    check("not taken in" in add(context, cluster, fourth, "--no-wait") + esctl(context, cluster, "node", "list")
          or listed(context, cluster)[4]["state"] == "NO ANSWER", "a node that does not run yet")
    fourth.spawn()
    eventually(lambda: voters(context, cluster) == [1, 2, 3, 4], 20, what="the new node votes in every group")
    fourth.wait_ready()
    leaving = cluster[cluster.leaders("load")[0]]
    esctl(context, cluster, "node", "remove", "--id", str(leaving.number))
    load.wait_progress(what="acknowledgements after the leader has left")
    check(leaving.alive(), "a removed node does not end by itself")
    leaving.stop()
    load.run(0.5)
    rest = [n.number for n in cluster.nodes if n is not leaving]
    check_equal(voters(context, cluster), rest, "who votes in every group")
    # Asked again, and for what is not there.
    esctl(context, cluster, "node", "remove", "--id", str(leaving.number), code=3)
    esctl(context, cluster, "node", "remove", "--id", "77", code=3)
    load.stop()
    load.verify()
    cluster.stop_all()
    cluster.check_equal_logs(rest)


@test(timeout=60)
def a_leader_is_removed_from_a_cluster_without_traffic(context):
    """Nothing but heartbeats tells the leaving node that the list with its departure is committed."""
    cluster = Cluster(context).start()
    cluster.create_topic("t", 3)
    time.sleep(0.3)
    leaders = cluster.leaders("t")
    controller = cluster.ask(lambda client: client.metadata(None)["controller_id"])
    leaving = cluster[next((n for n in leaders if n != controller), leaders[0])]
    started = time.monotonic()
    esctl(context, cluster, "node", "remove", "--id", str(leaving.number), timeout=15)
    context.note(f"removed in {time.monotonic() - started:.2f} s")
    cluster.leaders("t", avoid=(leaving.number,))
    check_equal(cluster.produce("t", 0, [b"after"]), 0, "offset of the first event")


@test(timeout=60)
def a_single_node_grows_into_a_cluster_of_three_and_dies(context):
    cluster = Cluster(context)
    first, config = cluster[1], cluster[1].config.read_text()
    for node in cluster.nodes[1:]:
        node.config.write_text(node.config.read_text().replace("[cluster]\n", "[cluster]\njoin = true\n"))
    alone = f"groups = {cluster.groups}\n[kafka]\nlisten = '{first.bootstrap}'\n{cluster.tuning}"
    first.config.write_text(alone)
    first.spawn()
    first.wait_ready()
    for name in ("t", "u"):
        cluster.create_topic(name, 3)
    stored = {}
    for partition in range(3):
        for n in range(20):
            cluster.produce("t", partition, [b"%d-%d" % (partition, n)])
        stored[partition] = [r.value for r in cluster.read("t", partition)]
    # What an operator tries first says what to do, and the cluster's id.
    told = esctl(context, cluster, "node", "add", "--id", "2", "--peer", f"{cluster[2].host}:{cluster[2].peer_port}",
                 "--kafka", cluster[2].bootstrap, code=1)
    check("runs without others" in told and "Grow a single node" in told, f"the refusal: {told}")
    identity = told.split('cluster.id = "')[1].split('"')[0]
    check_equal(first.stop(), 0, "exit code")
    # Another id: no.
    first.config.write_text(config)
    code, out, err = run_to_end(*first.command())
    check(code == 1 and identity in out + err, f"with another cluster's id it starts: {code} {out}{err}")
    for node in cluster.nodes:
        text = config if node is first else node.config.read_text()
        node.config.write_text(text.replace("id = 'e2e'", f"id = '{identity}'"))
        node.spawn()
    for node in cluster.nodes:
        node.wait_ready()
    eventually(lambda: voters(context, cluster) == [1, 2, 3], 20, what="all nodes vote in every group")
    # It has become a member like the others.
    cluster.produce("u", 0, [b"by three"])
    first.kill()
    for partition in range(3):
        check_equal([r.value for r in cluster.read("t", partition)], stored[partition], f"t/{partition} without node 1")
    check_equal([r.value for r in cluster.read("u", 0)], [b"by three"], "u/0 without node 1")
    cluster.produce("u", 1, [b"by two"])
    first.spawn()
    first.wait_ready()
    cluster[2].kill()
    check_equal([r.value for r in cluster.read("u", 1)], [b"by two"], "u/1 without node 2")
    cluster[2].spawn()
    cluster[2].wait_ready()
    cluster.stop_all()
    cluster.check_equal_logs()


@test(timeout=60)
def a_node_that_joins_never_begins_a_cluster(context):
    cluster = Cluster(context)
    fourth = cluster.grow()
    fourth.spawn()
    check(fourth.wait_log("group_waits", 10), f"it does not say what it waits for: {fourth.log_tail()}")
    check("cluster.join" in fourth.log(), f"nor why: {fourth.log_tail()}")
    for node in cluster.nodes[:3]:
        node.spawn()
    for node in cluster.nodes[:3]:
        node.wait_ready()
    check_equal(sorted(listed(context, cluster)), [1, 2, 3], "nodes of the cluster")
    check("group_leading" not in fourth.log(), "it leads")
    add(context, cluster, fourth)
    check_equal(voters(context, cluster), [1, 2, 3, 4], "who votes in every group")


@test(timeout=120)
def five_nodes_survive_two_deaths_and_stop_at_the_third(context):
    cluster = Cluster(context, nodes=5).start()
    load = Load(cluster)
    load.wait_progress()
    cluster[cluster.leaders("load")[0]].kill()
    load.wait_progress(what="acknowledgements by four of five")
    cluster[cluster.leaders("load")[1]].kill()
    load.wait_progress(what="acknowledgements by three of five")
    load.run(1)
    third = cluster.alive()[0]
    third.kill()
    time.sleep(1)
    load.poll()
    before = load.count()
    load.run(2)
    check_equal(load.count(), before, "acknowledgements by two of five")
    # How much they hold and have used by now; for the reader of the report.
    usage = [f"{n.number}: {n.rss_mb():.0f} MB, {n.cpu_seconds():.1f} s" for n in cluster.alive()]
    third.spawn()
    third.wait_ready()
    load.wait_progress(what="acknowledgements by three of five again")
    for node in cluster.nodes:
        if not node.alive():
            node.spawn()
    for node in cluster.nodes:
        node.wait_ready()
    load.finish()
    context.note("; ".join(usage))
