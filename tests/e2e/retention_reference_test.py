"""The verdicts of retention against an independent reference, over random histories, time zones and their changes."""

import datetime
import os
import random
import subprocess
import unittest
import zoneinfo

JUDGE = os.path.join(os.environ["TEST_BIN_DIR"], "retention-judge")
CASES = 10_000
RECEIVED, VERIFIED, ABANDONED = 1, 2, 3
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
         "America/St_Johns", "Africa/Casablanca", "Asia/Tehran", "Pacific/Chatham"]
PERIODS = ["hourly", "daily", "weekly", "monthly", "yearly"]
# Days on which clocks are changed, or that a zone left out.
CHANGES = [datetime.datetime(2026, 3, 8), datetime.datetime(2026, 3, 29), datetime.datetime(2026, 4, 5),
           datetime.datetime(2026, 10, 25), datetime.datetime(2026, 11, 1), datetime.datetime(2011, 12, 30),
           datetime.datetime(2024, 12, 30), datetime.datetime(2027, 1, 3)]


def periods_of(seconds, zone):
    """What names each period that a time is in."""
    local = datetime.datetime.fromtimestamp(seconds, zone)
    iso = local.isocalendar()
    return {"hourly": (local.strftime("%Y-%m-%d %H"), local.utcoffset()), "daily": local.date(), "weekly": (iso[0], iso[1]),
            "monthly": (local.year, local.month), "yearly": local.year}


def judge(case):
    """The reasons for which each version of a case is kept, from what docs/operations.md says."""
    now, zone, ttl, rules, versions = case
    reasons = [set() for _ in versions]
    counted = []  # Verified versions that are not from the future.
    for i, (state, _, received, retained) in enumerate(versions):
        if retained > now:
            reasons[i].add("min_retention")
        if received > now + 60:
            reasons[i].add("future")
        elif state != VERIFIED:
            if ttl == 0 or now - received < ttl:
                reasons[i].add("unconfirmed")
        else:
            counted.append(i)
    good = [i for i in counted if not versions[i][1]]
    if counted:
        reasons[counted[0]].add("newest")
    if good and good[0] != counted[0]:
        reasons[good[0]].add("readable")
    if rules is None:
        for i in counted:
            reasons[i].add("no_policy")
        return reasons
    # Good ones, as if there were no others.
    kept = {rule: set() for rule in ["last", *PERIODS]}
    kept["last"] = set(good[:rules["last"]])
    for rule in PERIODS:
        newest_of = {}
        for i in good:
            newest_of.setdefault(periods_of(versions[i][2], zone)[rule], i)
        kept[rule] = set(list(newest_of.values())[:rules[rule]])
    # A damaged one stays where a good one in its place would.
    for i in counted:
        newer = [other for other in good if other < i]
        for rule in ["last", *PERIODS]:
            if not versions[i][1]:
                stays = i in kept[rule]
            elif rule == "last":
                stays = len(newer) < rules["last"]
            else:
                taken = {periods_of(versions[other][2], zone)[rule] for other in newer}
                stays = len(taken) < rules[rule] and periods_of(versions[i][2], zone)[rule] not in taken
            if stays:
                reasons[i].add(rule)
        if rules["within"] and (not good or i < good[0] or versions[i][2] > versions[good[0]][2] - rules["within"]):
            reasons[i].add("within")
    return reasons


def make_case(rng):
    """A random file: some dense, some years long, many over a change of the clocks."""
    zone = rng.choice(ZONES)
    start = rng.choice(CHANGES).replace(tzinfo=datetime.timezone.utc).timestamp()
    newest = int(start) + rng.randrange(-86400 * 2, 86400 * 4)
    step = rng.choice([600, 3600, 86400, 86400 * 7, 86400 * 40])
    versions = []
    received = newest
    for _ in range(rng.randrange(0, 40)):
        state = rng.choices([VERIFIED, RECEIVED, ABANDONED], [10, 1, 1])[0]
        damaged = int(state == VERIFIED and rng.random() < 0.1)
        retained = received + rng.randrange(1, 90 * 86400) if rng.random() < 0.1 else 0
        versions.append((state, damaged, received, retained))
        received -= rng.randrange(0, 2 * step)
    now = newest + rng.choice([0, 60, 3600, 86400 * 10, -3600])
    rules = None
    if rng.random() < 0.95:
        rules = {rule: rng.choice([0, 0, 1, 2, 5, 12]) for rule in ["last", *PERIODS]}
        rules["within"] = rng.choice([0, 0, 3600, 86400, 86400 * 30])
    return now, zone, rng.choice([0, 3600, 86400 * 7]), rules, versions


def line_of(case):
    now, zone, ttl, rules, versions = case
    order = ["last", "within", *PERIODS]
    texts = ["-" if rules is None else ",".join(str(rules[rule]) for rule in order)]
    texts += [",".join(str(part) for part in version) for version in versions]
    return f"{now} {zone} {ttl} {' '.join(texts)}"


class RetentionReferenceTest(unittest.TestCase):
    def test_random_histories(self):
        seed = int(os.environ.get("RETENTION_SEED", "36"))
        rng = random.Random(seed)
        cases = [make_case(rng) for _ in range(CASES)]
        lines = "".join(line_of(case) + "\n" for case in cases)
        told = subprocess.run([JUDGE], input=lines, capture_output=True, text=True, check=True, timeout=120).stdout
        answers = told.splitlines()
        self.assertEqual(len(answers), CASES)
        going = 0
        for case, answer in zip(cases, answers):
            verdicts = [set() if text == "-" else set(text.split("+")) for text in answer.split()]
            now, zone, ttl, rules, versions = case
            expected = judge((now, zoneinfo.ZoneInfo(zone), ttl, rules, versions))
            self.assertEqual(verdicts, expected, f"seed {seed}: {line_of(case)}")
            going += sum(not reasons for reasons in expected)
        self.assertGreater(going, CASES)  # Else this would prove little.


if __name__ == "__main__":
    unittest.main()
