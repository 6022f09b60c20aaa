"""Runs the README's grpcurl recipes exactly as they stand there, in order, in one shell, against a real service.

Needs grpcurl on the PATH; tests/CMakeLists.txt adds this test only where it is installed (the same calls are always made
by reflection_test)."""

import pathlib
import re
import subprocess
import tempfile
import unittest

from cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
STANDARD_ADDRESS = "127.0.0.1:50051"
SECTION = re.compile(r"^## Calling the API\n(.*?)^## ", re.DOTALL | re.MULTILINE)
RECIPE = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


class ReadmeRecipesTest(unittest.TestCase):
    def test_every_recipe_works_when_pasted(self):
        section = SECTION.search((ROOT / "README.md").read_text()).group(1)
        recipes = RECIPE.findall(section)
        self.assertEqual(len(recipes), 5)
        with tempfile.TemporaryDirectory() as directory, Cluster(directory) as cluster:
            script = "set -euo pipefail\n" + "\n".join(recipes)
            script = script.replace(STANDARD_ADDRESS, f"127.0.0.1:{cluster.service_port}")
            done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"chunk": "aGVsbG8K"', done.stdout)
        self.assertIn('"state": "VERIFIED"', done.stdout)
        self.assertIn('"status": "SERVING"', done.stdout)


if __name__ == "__main__":
    unittest.main()
