#!/usr/bin/env bash
# Fails if a C++ file is not formatted as .clang-format says.
set -euo pipefail
cd "$(dirname "$0")/.."
find base bridge content crypto legacy_client rpc services storage tests -name '*.h' -o -name '*.cc' | xargs clang-format-14 --dry-run -Werror
