#!/usr/bin/env bash
# install_packages.sh [LIST]: installs the packages of the list, deploy/packages.txt by default, that are missing; touches
# the network only then.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
while read -r package; do
  [[ $package == \#* || -z $package ]] && continue
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done < "${1:-deploy/packages.txt}"
[[ ${#missing[@]} -eq 0 ]] && exit 0
echo "installing ${#missing[@]} packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
