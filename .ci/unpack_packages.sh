#!/usr/bin/env bash
# unpack_packages.sh DIR PACKAGE...: unpacks Debian's packages into DIR, each once. They are not installed, as that would
# start and enable daemons on the usual ports. Says which cannot be had, and goes on without.
set -euo pipefail
mkdir -p "$1"
cd "$1"
for package in "${@:2}"; do
  [[ -e .$package ]] && continue
  apt-get download -qq "$package" 2>/dev/null || { echo "cannot download $package" >&2 && continue; }
  dpkg-deb -x "$package"_*.deb .
  rm "$package"_*.deb
  touch ".$package"
done
