"""Either process ends, or is killed, every few seconds under load."""

import signal
import time

from journaled_clients import Load, mixed
from scenario import scenario

CLIENTS = 64
SIZES = (0, 100, 5_000, 70_000)


@scenario("R2 R13 R14", deadline_s=180)
def restarts(run):
    """service and bridge, ended or killed every few seconds, with 64 clients"""
    cluster = run.start(bridge_flags=["--drain_timeout=5s"], service_flags=["--drain_timeout=5s"])
    before = run.resources(cluster)
    load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, SIZES)).start()
    load.wait_for_service("the start")
    for _ in range(run.times(6, 200)):
        who, how = run.dice.choice(("bridge", "service")), run.dice.choice((signal.SIGTERM, signal.SIGKILL))
        process = getattr(cluster, who).process
        process.send_signal(how)
        code = process.wait(timeout=60)
        assert code == (0 if how == signal.SIGTERM else -how), f"{who} ends with {code} after {how}"
        getattr(cluster, f"start_{who}")()
        run.tally.faults += 1
        load.wait_for_service(f"{who} was told {how!r}")
        time.sleep(run.dice.uniform(0, 1 if run.is_soak else 0.3))  # The random moment of the next.
    load.wait_for_all()
    load.stop()
    run.judge_resources(cluster, before)
    run.judge(cluster)
