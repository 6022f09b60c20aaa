#!/usr/bin/env bash
# Installs the packages of deploy/packages.txt that are missing; touches the network only then.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
while read -r package; do
  [[ $package == \#* || -z $package ]] && continue
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done < deploy/packages.txt
[[ ${#missing[@]} -eq 0 ]] && exit 0
echo "installing ${#missing[@]} packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
