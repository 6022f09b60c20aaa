#!/usr/bin/env bash
# install_packages.sh [LIST]: installs the packages of the list, deploy/packages.txt by default, that are missing; touches
# the network only then. NAME? in a list is installed along with others where the release has it.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
optional=()
while read -r package; do
  [[ $package == \#* || -z $package ]] && continue
  name=${package%\?}
  dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
  if [[ $package == *\? ]]; then optional+=("$name"); else missing+=("$name"); fi
done < "${1:-deploy/packages.txt}"
[[ ${#missing[@]} -eq 0 ]] && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
for name in "${optional[@]}"; do
  apt-cache show "$name" >/dev/null 2>&1 && missing+=("$name")
done
echo "installing ${#missing[@]} packages"
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
