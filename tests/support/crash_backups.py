"""Clients that back up without pause while the service is killed, and what must be there afterwards."""

import random
import threading
import time

import model_client as m
from stored_files import all_newest_verified, name_text


class Backup(threading.Thread):
    """One client that sends what make() yields, and remembers what was acknowledged.

    `make(dice)` returns a file's name, its content, and whether the client takes it back."""

    def __init__(self, port, name, seed, make, stop):
        super().__init__()
        self.client = m.ModelClient(port, name, version=1)
        self.dice = random.Random(seed)
        self.make = make
        self.stop = stop
        self.acknowledged = {}
        self.doubtful = {}
        self.failures = 0

    def run(self):
        self.client.sign_up()
        while not self.stop.is_set():
            name, content, taken_back = self.make(self.dice)
            # Between sending the verdict and its answer, either version may be the newest.
            if not taken_back:
                self.doubtful[name] = content
            try:
                is_right = self.client.send_file(name, content)
                if taken_back or not is_right:
                    # Whoever takes back its first files is then answered with other checksums, until it tells which is right.
                    self.client.verdict(m.RETRY, name)
                    continue
                assert self.client.verdict(m.VALID, name) == m.ACKNOWLEDGED
            except (OSError, AssertionError):
                self.failures += 1
                continue
            self.acknowledged[name] = content
            del self.doubtful[name]


def back_up_under_kills(cluster, names, make, seed, rounds):
    """Kills and starts the service `rounds` times while a client of each name backs up; returns the clients, at rest."""
    pause = random.Random(seed)
    stop = threading.Event()
    backups = [Backup(cluster.port, name, seed + number, make, stop) for number, name in enumerate(names)]
    for backup in backups:
        backup.start()
    try:
        for _ in range(rounds):
            time.sleep(pause.uniform(0.1, 1.0))  # The random moment of the kill.
            cluster.service.kill()
            cluster.start_service()
    finally:
        stop.set()
        for backup in backups:
            backup.join()
    return backups


def check_acknowledged(test, cluster, backups):
    """All that was acknowledged is there and equal, which is more than one file of each client."""
    checked = 0
    for backup in backups:
        stored = all_newest_verified(cluster.service, backup.client.id)
        for name, content in backup.acknowledged.items():
            test.assertIn(stored.get(name_text(name)), (content, backup.doubtful.get(name)), name)
            checked += 1
    failures = sum(backup.failures for backup in backups)
    print(f"{checked} acknowledged files are there and equal; {failures} transfers were told to have failed")
    test.assertGreater(checked, len(backups))
