#!/bin/bash
# build-deb.sh BUILD VERSION - a Debian package of what is built, BUILD/clonefs_VERSION_ARCH.deb. Its dependencies are those that
# dpkg-shlibdeps finds in the programs; conffiles, maintainer scripts and services of its own it has none.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1 version=$2
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

make --no-print-directory -s -j"$(nproc)" BUILD="$build" all
make --no-print-directory -s BUILD="$build" DESTDIR="$root/pkg" PREFIX=/usr install
strip --strip-unneeded "$root/pkg/usr/bin/clonefs" "$root/pkg/usr/bin/clonesync" "$root/pkg/usr/bin/clonectl"
gzip -9n "$root"/pkg/usr/share/man/man*/*

doc=$root/pkg/usr/share/doc/clonefs
cp LICENSE "$doc/copyright"
sed -e "s/@VERSION@/$version/" -e "s/@DATE@/$(date -R -d "@$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)")/" packaging/debian/changelog.in |
	gzip -9n > "$doc/changelog.gz"

# dpkg-shlibdeps wants a source tree with debian/control.
mkdir -p "$root/debian" "$root/pkg/DEBIAN"
cp packaging/debian/control "$root/debian/control"
depends=$(cd "$root" && dpkg-shlibdeps -O -e pkg/usr/bin/clonefs -e pkg/usr/bin/clonesync -e pkg/usr/bin/clonectl 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "build-deb.sh: dpkg-shlibdeps found no dependencies" >&2; exit 1; }
size=$(du -ks "$root/pkg/usr" | cut -f 1)
sed -n '/^Package:/,$p' packaging/debian/control | sed -e "s/\${shlibs:Depends}/$depends/" -e "s/^Architecture: .*/Architecture: $arch/" \
	-e "/^Package:/a Version: $version\nInstalled-Size: $size\nMaintainer: $(sed -n 's/^Maintainer: //p' packaging/debian/control)\nSection: admin\nPriority: optional" \
	> "$root/pkg/DEBIAN/control"
(cd "$root/pkg" && find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
find "$root/pkg" -type d -exec chmod 755 {} +
dpkg-deb --root-owner-group --build "$root/pkg" "$build/clonefs_${version}_$arch.deb" > /dev/null
echo "$build/clonefs_${version}_$arch.deb"
