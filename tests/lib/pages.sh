# shellcheck shell=bash
# pages.sh - is every page of a database whole? For this host and for the guest of vm.sh: bash and innochecksum are all it needs.

# bad_pages DATA-DIR: checks every page of every file of InnoDB, of a server that does not run: prints how many files there are and in how many a page is
# torn, and says on stderr in which. Where this runs before InnoDB's own recovery, nothing has mended anything.
# Pages 64 to 191 of ibdata1 are the doublewrite buffer itself, which has copies without checksums also in a healthy database.
bad_pages() {
	local f out files=0 bad=0
	for f in "$1"/ibdata1 "$1"/undo* "$1"/*/*.ibd; do
		[ -s "$f" ] || continue
		files=$((files + 1))
		if [ "${f##*/}" = ibdata1 ]; then
			out=$(innochecksum --end-page=63 "$f" 2>&1 && innochecksum --start-page=192 "$f" 2>&1)
		else
			out=$(innochecksum "$f" 2>&1)
		fi || { bad=$((bad + 1)); echo "bad ${f#"$1"/}: ${out//$'\n'/; }" >&2; }
	done
	echo "$files $bad"
}
