# report.awk - what was measured, as lines: awk -F'|' -v section= -v results= -v absent= -f report.awk ROWS
#
# Fields, tab separated: section, key, first side, other side ("-": none), first's median, least, most, other's median, least, most,
# ratio of the medians (above 1: the first side is better, whatever the unit), least and most of the rounds' own ratios, bar with
# its sign, verdict, reason. What was not measured has the verdict "-" and a reason. Rounds are compared each with its own neighbour, since
# both ran within the same minutes.

function sort(a, n,   i, j, t) {
	for (i = 1; i <= n; i++)
		for (j = i + 1; j <= n; j++)
			if (a[j] + 0 < a[i] + 0) { t = a[i]; a[i] = a[j]; a[j] = t }
}
# The median, the least and the most of what a side measured; the median of an even number is the lower of the middle two.
function figures(k,   i, n, a) {
	n = 0
	for (i = 1; i <= rounds; i++)
		if ((k SUBSEP i) in v) a[++n] = v[k, i]
	sort(a, n)
	median = n ? a[int((n + 1) / 2)] : ""
	least = n ? a[1] : ""
	most = n ? a[n] : ""
	return n
}
function why(key, side) {
	if ((key "|" side) in reason) return reason[key "|" side]
	if (("|" side) in reason) return reason["|" side]
	return "no figure"
}
function judge(value, better, bar) {
	if (bar == "-") return ""
	return (better == "<" ? value <= bar + 0 : value >= bar + 0) ? "met" : "MISSED"
}
BEGIN {
	OFS = "\t"
	while ((getline line < results) > 0) {
		split(line, f, "|")
		v[f[1] "|" f[2], f[3]] = f[4]
		if (f[3] > rounds) rounds = f[3]
	}
	while ((getline line < absent) > 0) {
		split(line, f, "|")
		reason[f[1] "|" f[2]] = f[3]
	}
}
{
	key = $1; side = $2; other = $3; better = $4; bar = $5
	have = figures(key "|" side)
	x = median; x0 = least; x1 = most
	y = y0 = y1 = r = r0 = r1 = verdict = ""
	if (!have) {
		print section, key, side, other, "", "", "", "", "", "", "", "", "", bar, "-", why(key, side)
		next
	}
	if (other == "-") {
		print section, key, side, "-", x, x0, x1, "", "", "", "", "", "", bar == "-" ? "-" : better bar, judge(x, better, bar), ""
		next
	}
	if (!figures(key "|" other)) {
		print section, key, side, other, x, x0, x1, "", "", "", "", "", "", bar, "-", why(key, other)
		next
	}
	y = median; y0 = least; y1 = most
	if (x + 0 <= 0 || y + 0 <= 0) {
		print section, key, side, other, x, x0, x1, y, y0, y1, "", "", "", bar, "-", "too small to compare"
		next
	}
	r = better == "<" ? y / x : x / y
	for (i = 1; i <= rounds; i++) {
		a = v[key "|" side, i]; b = v[key "|" other, i]
		if (a + 0 <= 0 || b + 0 <= 0) continue
		one = better == "<" ? b / a : a / b
		if (r0 == "" || one < r0) r0 = one
		if (r1 == "" || one > r1) r1 = one
	}
	if (r0 == "") r0 = r1 = r
	print section, key, side, other, x, x0, x1, y, y0, y1, r, r0, r1, bar, judge(r, ">", bar), ""
}
