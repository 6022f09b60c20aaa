"""The wall clock jumps by up to ten years either way, goes backwards in an upload, and stands still, under load."""

import glob
import time

from journaled_clients import Load, mixed
from scenario import Skipped, scenario

LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
TRUE_TIME = "+0"
CLIENTS = 6
SIZES = (100, 5_000, 70_000, 3 << 20)
# As faketime(1) has them; the last ones stand still.
CLOCKS = ("+10y", "-10y", "+1h", "-1h", "+1s", "-1s", "+1d", "-1d", "2038-01-19 03:14:07", "2016-12-31 23:59:59", "1970-01-02 00:00:00")


def prepare():
    if not LIBRARIES:
        raise Skipped("libfaketime is not installed")


@scenario("R21", prepare, deadline_s=180)
def clocks(run):
    """clocks that jump, go backwards in uploads and stand still"""
    clock = run.folder / "clock"

    def set_clock(text):
        (run.folder / "clock.new").write_text(text + "\n")
        (run.folder / "clock.new").rename(clock)
        run.tally.faults += 1

    set_clock(TRUE_TIME)
    cluster = run.start(prefix=["env", f"LD_PRELOAD={LIBRARIES[0]}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1",
                                "FAKETIME_DONT_FAKE_MONOTONIC=1"])
    load = Load(mixed(run.journal, cluster, run.dice, CLIENTS, SIZES)).start()
    load.wait_for_service("the start")
    for number in range(run.times(6, 200)):
        text = run.dice.choice(CLOCKS)
        set_clock(text)
        load.wait_for_service(f"the clock is {text}")
        time.sleep(run.dice.uniform(0, 0.5))  # The random moment of the next.
        if number % 5 == 4:
            cluster.service.kill()
            cluster.start_service()
            load.wait_for_service(f"a start while the clock is {text}")
    set_clock(TRUE_TIME)
    load.wait_for_all()
    load.stop()
    run.judge(cluster)
