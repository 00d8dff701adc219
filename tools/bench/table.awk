# table.awk - report.awk's lines as a table to read: medians, with the least and the most of the rounds behind them.

function short(n,   a) {
	if (n == "") return ""
	a = n < 0 ? -n : n
	return a >= 1e7 ? sprintf("%.0fM", n / 1e6) : a >= 1e6 ? sprintf("%.2fM", n / 1e6) : a >= 1e4 ? sprintf("%.1fk", n / 1e3) : a >= 1000 ? sprintf("%.0f", n) : sprintf("%.3g", n)
}
function span(m, a, b) { return a == b ? short(m) : short(m) " (" short(a) "-" short(b) ")" }
# What a side has in its name beside the program's.
function more(side) { return sub(/^clone(fs|sync)/, "", side) ? side : "" }
function fixed(r) { return r >= 100 ? sprintf("%.0f", r) : r >= 10 ? sprintf("%.1f", r) : sprintf("%.2f", r) }
{
	n++
	for (i = 1; i <= 16; i++) f[n, i] = $i
	label[n] = $2 more($3)
	if (length(label[n]) > wide) wide = length(label[n])
}
END {
	head = "%-" wide "s  %-23s %-14s %-23s %-18s %-5s %s\n"
	printf head, "median (least-most)", f[1, 3] ~ /^clonesync/ ? "clonesync" : "clonefs", "against", "", "ratio", "bar", ""
	for (i = 1; i <= n; i++) {
		again = label[i] == label[i - 1]
		line = sprintf(head, again ? "" : label[i], again ? "" : span(f[i, 5], f[i, 6], f[i, 7]), f[i, 4] == "-" ? "" : f[i, 4], \
			f[i, 16] != "" ? "not measured: " f[i, 16] : span(f[i, 8], f[i, 9], f[i, 10]), \
			f[i, 11] == "" ? "" : fixed(f[i, 11]) (f[i, 12] == f[i, 13] ? "" : " (" fixed(f[i, 12]) "-" fixed(f[i, 13]) ")"), \
			f[i, 14] == "-" || f[i, 16] != "" ? "" : f[i, 14], f[i, 16] != "" ? "" : f[i, 15])
		sub(/ *\n$/, "", line)
		print line
	}
}
