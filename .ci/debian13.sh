#!/usr/bin/env bash
# debian13.sh prepare: makes a Debian 13 in a folder, with the packages that building and testing need; quick if it is there.
# debian13.sh build: builds there what git knows of this tree.
# debian13.sh test: does so, and runs the unit tests and the quick tests of whole programs.
# The folder outlives the run and is safe to delete: $BACKUP_DEBIAN13, /var/cache/backup-ci/debian13 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly root=${BACKUP_DEBIAN13:-/var/cache/backup-ci/debian13}
# Beside the unit tests: each program, in the ways that other libraries could change.
readonly program_tests='^(linkage_test|golden_test|families_test|restart_test|cli_test|tls_test|start_errors_test|postgres_test)$'

# inside COMMAND: as root in the folder, in a mount namespace that ends with it. The folder is a mount of its own, so that
# tests can have namespaces too.
inside() {
  unshare --mount bash -c '
    mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t sysfs sys "$0/sys" && mount -t tmpfs tmp "$0/tmp" &&
    exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI="${CI:-}" bash -euc "cd /src; $1"
  ' "$root" "$1"
}

copy_sources() {
  rm -rf "$root/src.new"
  mkdir -p "$root/src.new"
  # With the time of now, as what was built before may be younger than a changed file.
  git ls-files -co --exclude-standard | tar -c -T - | tar -x -m -C "$root/src.new"
  [[ -d $root/src/build ]] && mv "$root/src/build" "$root/src.new/build"
  rm -rf "$root/src"
  mv "$root/src.new" "$root/src"
}

prepare() {
  if [[ ! -e $root/.made ]]; then
    .ci/install_packages.sh
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | sort -u | head -n 1)
    debootstrap --variant=minbase trixie "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; exit 1; }
    touch "$root/.made"
  fi
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
  # No package starts a daemon there.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  copy_sources
  inside ".ci/install_packages.sh; .ci/install_packages.sh tests/support/postgres_packages.txt"
}

build() {
  inside "
    cmake --preset quick ${CI:+-DCMAKE_COMPILE_WARNING_AS_ERROR=ON} >/dev/null
    cmake --build --preset quick
    cmake --build --preset quick --target backup-service backup-bridge backupctl legacy-client"
}

run_tests() {
  inside "
    ctest --preset quick -j $(nproc)
    ctest --test-dir build/quick -R '$program_tests' --output-on-failure -j $(nproc)"
}

case ${1:-} in
  prepare) prepare ;;
  build) prepare && build ;;
  test) prepare && build && run_tests ;;
  *) echo "usage: .ci/debian13.sh prepare|build|test" >&2 && exit 2 ;;
esac
