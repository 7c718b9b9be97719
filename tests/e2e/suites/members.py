"""Disks that are lost or damaged under a node's id: the node comes back as a learner, then as a voter, nothing is lost."""

import shutil
import time

from harness.cases import check, check_equal, eventually, test
from harness.cluster import Cluster, Load
from harness.server import run_to_end


def taken_in(cluster, node, since, timeout=30, groups=None):
    """Every group (or these) has promoted `node` to a voter since then: the leaders' logs say so."""
    deadline, missing = time.monotonic() + timeout, []
    while time.monotonic() < deadline:
        text = "".join(other.log(False)[since.get(other.number, 0):] for other in cluster.nodes)
        missing = [g for g in groups or range(cluster.groups)
                   if not any(f"member_change group={g} change=promote node={node.number} " in line
                              for line in text.splitlines())]
        if not missing:
            return
        time.sleep(0.1)
    raise AssertionError(f"node {node.number} is no voter again in groups {missing}: {node.log_tail()}")


def log_ends(cluster):
    return {node.number: len(node.log(False)) for node in cluster.nodes}


@test(timeout=90, long_timeout=900)
def a_blank_disk_under_an_old_id_rejoins(context):
    cluster = Cluster(context).start()
    load = Load(cluster)
    load.wait_progress()
    for number in range(9 if context.long else 2):
        leaders = cluster.leaders("load")
        victim = cluster[leaders[0]] if number % 2 else next(
            (n for n in cluster.nodes if n.number not in leaders), cluster[3])
        load.run(0.5)
        victim.kill()
        shutil.rmtree(victim.data_dir)
        load.wait_progress(what="acknowledgements by the other two")
        since = log_ends(cluster)
        victim.spawn()
        victim.wait_ready()
        taken_in(cluster, victim, since)
        load.run(0.5)
    # It counts: with another node gone the two are a majority that has everything.
    other = next(n for n in cluster.nodes if n is not victim)
    other.kill()
    load.wait_progress(what="acknowledgements by the replaced node and one other")
    other.spawn()
    other.wait_ready()
    load.run(0.5)
    load.finish()


@test(timeout=60)
def a_blank_disk_and_a_node_that_missed_the_news_elect_nobody(context):
    """One node holds an acknowledged event, one was away, one has lost it with its disk."""
    cluster = Cluster(context).start()
    cluster.create_topic("t", 3)
    away = cluster[3]
    away.kill()
    cluster.produce("t", 0, [b"acknowledged"])
    time.sleep(0.3)
    holder = cluster[cluster.leaders("t", avoid=(3,))[0]]
    blank = next(n for n in cluster.nodes if n not in (holder, away))
    holder.kill()
    blank.kill()
    shutil.rmtree(blank.data_dir)
    away.spawn()
    blank.spawn()
    time.sleep(3)
    check("group_leading" not in blank.log() and "group_leading" not in away.log(), "they have elected a leader")
    check(blank.wait_log("group_waits", 5), f"the blank node does not say what it waits for: {blank.log_tail()}")
    holder.spawn()
    for node in cluster.nodes:
        node.wait_ready()
    values = [r.value for r in cluster.read("t", 0)]
    check(values == [b"acknowledged"], f"stored: {values}")


@test(timeout=60)
def a_survivor_of_a_lost_majority_goes_on_alone_when_the_operator_says_so(context):
    cluster = Cluster(context).start()
    cluster.create_topic("t", 3)
    for partition in range(3):
        cluster.produce("t", partition, [b"acknowledged-%d" % partition])
    time.sleep(0.5)  # until node 1 has heard of it, whoever led
    survivor = cluster[1]
    cluster.stop_all()
    old = {}
    for lost in cluster.nodes[1:]:
        old[lost.number] = f"{lost.data_dir}.old"
        shutil.move(lost.data_dir, old[lost.number])
        lost.spawn()
    survivor.spawn()
    # It holds everything, and does not know that.
    time.sleep(1.5)
    check(not any("group_leading" in node.log() for node in cluster.nodes), "somebody leads without a majority")
    code, out, err = run_to_end(*survivor.command("--force-sole-voter", "e2e"))
    check(code == 1 and "in use by another escd" in err, f"on a running node: {code} {err}")
    survivor.stop()
    code, out, err = run_to_end(*survivor.command("--force-sole-voter", "yes"))
    check(code == 2 and "nothing was changed" in err, f"without the cluster's id: {code} {out}{err}")
    check("IS LOST" in out and "group 2: last term" in out, f"what it means, and where the logs end: {out}")
    code, out, err = run_to_end(*cluster[2].command("--force-sole-voter", "e2e"), timeout=5)
    check(code == 1 and "in use" in err, f"on another running one: {code} {err}")
    cluster[2].stop()
    code, out, err = run_to_end(*cluster[2].command("--force-sole-voter", "e2e"))
    check(code == 1 and "no voter" in err, f"on a node without data: {code} {out}{err}")
    code, out, err = run_to_end(*survivor.command("--force-sole-voter", "e2e"))
    check(code == 0 and "Next:" in out, f"confirmed: {code} {out}{err}")
    cluster[3].stop()  # empty, it would be taken in
    survivor.spawn()
    survivor.wait_ready()
    for partition in range(3):
        values = [r.value for r in cluster.read("t", partition)]
        check_equal(values, [b"acknowledged-%d" % partition], f"t/{partition} at node 1")
    cluster.produce("t", 0, [b"alone"])
    # A node with its old data is not taken in, and says nothing that counts; an empty one is.
    shutil.rmtree(cluster[3].data_dir)
    shutil.copytree(old[3], cluster[3].data_dir)
    cluster[3].spawn()
    check(survivor.wait_log("member_refused group=0 node=3", 10), f"old data: {survivor.log_tail()}")
    cluster[3].stop()
    shutil.rmtree(cluster[3].data_dir)
    since = log_ends(cluster)
    cluster[2].spawn()
    cluster[3].spawn()
    taken_in(cluster, cluster[3], since)
    taken_in(cluster, cluster[2], since)
    survivor.kill()
    values = [r.value for r in cluster.read("t", 0)]
    check_equal(values, [b"acknowledged-0", b"alone"], "t/0 without node 1")
    cluster.produce("t", 1, [b"by two and three"])
