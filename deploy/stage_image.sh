#!/usr/bin/env bash
# stage_image.sh IMAGE COMPONENT...: installs the components below /out/IMAGE, and writes the names of the packages whose
# libraries their programs need to /out/IMAGE.packages.
set -euo pipefail
cd "$(dirname "$0")/.."
image=$1
shift
for component in "$@"; do
  DESTDIR=/out/$image cmake --install build/release --prefix /usr --component "$component" --strip
done
# dpkg-shlibdeps wants to be in a source package.
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
mkdir "$source/debian"
touch "$source/debian/control"
cd "$source"
# Time zones are no library.
[[ $image != service ]] || echo tzdata >>"/out/$image.packages"
dpkg-shlibdeps -O "/out/$image"/usr/bin/* | sed 's/^shlibs:Depends=//; s/ ([^)]*)//g; s/, /\n/g' >>"/out/$image.packages"
