"""Small files that have much in common are kept with a dictionary of the store: from the real service, whatever happens to it."""

import random
import sqlite3
import unittest

from cli_test import DAMAGED, CliTest
from cluster import wait_until

FIRST_DICTIONARY = "dictionary/32768"
NO_TRAINING = "--train_interval=0s"


def source(number):
    """A small source file that has much in common with others of its kind."""
    dice = random.Random(number)
    lines = [f"# Part {number} of the project.", "import collections", "import contextlib", "from typing import Iterable, Optional", "", "",
             f"class Handler{number}(collections.abc.Mapping):", '    """Maps what is asked for to what there is."""', ""]
    for _ in range(dice.randrange(3, 9)):
        name = dice.randrange(100_000)
        lines += [f"    def method_{name}(self, value: Optional[int] = {dice.randrange(1000)}) -> Iterable[str]:",
                  f"        with contextlib.suppress(KeyError, self.error_{dice.randrange(20)}):",
                  f"            yield from self.parts[{dice.randrange(64)}].items(value)", ""]
    return "\n".join(lines).encode()


class DictionariesTest(CliTest):
    def upload(self, numbers):
        """Returns how much more the store keeps then."""
        before = self.compressed_bytes()
        files = {f"source{number}.py": source(number) for number in numbers}
        self.legacy_client(self.client_folder(files))
        self.files.update(files)
        return self.compressed_bytes() - before

    def compressed_bytes(self):
        return self.json_lines("status")[0]["compressed_bytes"]

    def job(self):
        return {job["name"]: job for job in self.json_lines("status")[0]["jobs"]}.get("train")

    def restart(self, *flags):
        self.cluster.service.stop()
        self.cluster.service_flags = list(flags)
        self.cluster.start_service()

    def dictionary_is_kept(self):
        job = self.job()
        return job is not None and job["total_count"] == 1

    def assert_all_is_there(self, name):
        self.backupctl("verify")
        self.backupctl("restore", "--client", "laptop", "--to", str(self.folder / name))
        for file, content in self.files.items():
            self.assertEqual((self.folder / name / file).read_bytes(), content)

    def check(self, *flags):
        self.files = {}
        self.start(service_flags=[NO_TRAINING, *flags])
        self.upload(range(600))
        without = self.upload(range(1000, 1200))
        self.restart("--train_interval=1s", *flags)
        wait_until(self.dictionary_is_kept, "a dictionary is kept")
        # The process that made it uses it, and any later one.
        self.assertLess(self.upload(range(2000, 2200)), without * 0.8)
        self.restart(NO_TRAINING, *flags)
        self.assert_all_is_there("restored")
        self.assertLess(self.upload(range(3000, 3200)), without * 0.8)
        # What comes again is known, however it was kept.
        self.assertEqual(self.upload(range(0, 10)), 0)
        self.assert_all_is_there("restored again")
        self.check_offline()
        self.check_loss(*flags)

    def check_offline(self):
        self.cluster.service.stop()
        out = self.folder / "decrypted"
        self.run_program("backupctl", "decrypt", f"--data_dir={self.cluster.data_dir}", "--client=laptop", "--file=source3001.py",
                         "-o", str(out))
        self.assertEqual(out.read_bytes(), source(3001))

    def check_loss(self, *flags):
        """Says what is missing; what does not need it is whole, and the same bytes again heal the rest."""
        with sqlite3.connect(self.cluster.data_dir / "catalog.db") as catalog:
            removed = catalog.execute("DELETE FROM store_values WHERE CAST(name AS TEXT) = ?", (FIRST_DICTIONARY,)).rowcount
        catalog.close()
        self.assertEqual(removed, 1)
        self.cluster.service_flags = [NO_TRAINING, *flags]
        self.cluster.start_service()
        wrong = self.backupctl("verify", code=DAMAGED)
        self.assertIn(f"{FIRST_DICTIONARY} of the store is missing", wrong.stdout + wrong.stderr)
        self.assertIn(FIRST_DICTIONARY, self.backupctl("file", "get", "laptop", "source3001.py", "-o", str(self.folder / "lost"),
                                                       code=DAMAGED).stderr)
        self.backupctl("file", "get", "laptop", "source1.py", "-o", str(self.folder / "whole"))
        self.assertEqual((self.folder / "whole").read_bytes(), source(1))
        self.upload([*range(2000, 2200), *range(3000, 3200)])
        self.assert_all_is_there("restored at last")

    def test_plain(self):
        self.check("--at_rest=plain")

    def test_sealed(self):
        self.check("--at_rest=sealed")

    def test_no_client_tells_another_by_it(self):
        self.files = {}
        self.start(service_flags=["--share=client", "--train_interval=1s"])
        self.upload(range(10))
        self.assertIsNone(self.job())


if __name__ == "__main__":
    unittest.main()
