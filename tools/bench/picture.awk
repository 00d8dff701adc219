# picture.awk - draws report.awk's lines as SVG: awk -F'\t' -v title= -f picture.awk rows.tsv
#
# A bar for each ratio, on an axis of powers of ten from 1 ("as fast as the other side"); a thin line over it from the worst to the best round; the bar
# that is to be reached is a mark across it. Green: met, red: missed, grey: no bar is set. Rows without a ratio are words.

function esc(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
function log10(n) { return log(n) / log(10) }
function x_of(r) { r = r < LOW ? LOW : r > HIGH ? HIGH : r; return LEFT + (log10(r) - log10(LOW)) / (log10(HIGH) - log10(LOW)) * WIDTH }
function fixed(r) { return r >= 100 ? sprintf("%.0f", r) : r >= 10 ? sprintf("%.1f", r) : sprintf("%.2f", r) }
# What a side has in its name beside the program's.
function more(side) { return sub(/^clone(fs|sync)/, "", side) ? side : "" }
function short(n) { return n == "" ? "" : sprintf(n + 0 >= 100000 ? "%.3g" : "%.4g", n) }
function text(x, y, s, more) { return sprintf("<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, more, esc(s)) }
function put(s) { body = body s }

BEGIN {
	LEFT = 560; WIDTH = 470; RIGHT = 150; TOP = 104; STEP = 19
	y = TOP
}
{ n++; for (i = 1; i <= 16; i++) f[n, i] = $i }
END {
	LOW = 0.1; HIGH = 10
	for (i = 1; i <= n; i++) if (f[i, 11] != "") {
		while (f[i, 11] < LOW) LOW /= 10
		while (f[i, 11] > HIGH || (f[i, 14] != "-" && f[i, 14] + 0 > HIGH)) HIGH *= 10
	}
	for (i = 1; i <= n; i++) draw(i)
	bottom = y
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n", LEFT + WIDTH + RIGHT, bottom + 30
	printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
	printf "%s", text(16, 26, "Clonelove beside others: ratio of medians, to the right of 1 is better", "font-size=\"17\" font-weight=\"bold\"")
	printf "%s", text(16, 46, title, "fill=\"#555\"")
	legend(16, 60)
	for (d = LOW; d < HIGH * 1.01; d *= 10) {
		for (k = 2; k < 10 && d < HIGH; k++)
			printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#f0f0f0\"/>\n", x_of(d * k), x_of(d * k), TOP, bottom
		printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"%s\"/>\n", x_of(d), x_of(d), TOP, bottom, (d > 0.99 && d < 1.01 ? "#333" : "#ccc")
		printf "%s", text(x_of(d), TOP - 6, d "", "text-anchor=\"middle\" fill=\"#555\"")
		printf "%s", text(x_of(d), bottom + 16, d "", "text-anchor=\"middle\" fill=\"#555\"")
	}
	printf "%s</svg>\n", body
}
function legend(x, y) {
	printf "<rect x=\"%d\" y=\"%d\" width=\"24\" height=\"10\" fill=\"#4a9d5b\"/>%s", x, y, text(x + 29, y + 9, "bar met", "")
	printf "<rect x=\"%d\" y=\"%d\" width=\"24\" height=\"10\" fill=\"#d0524a\"/>%s", x + 95, y, text(x + 124, y + 9, "bar missed", "")
	printf "<rect x=\"%d\" y=\"%d\" width=\"24\" height=\"10\" fill=\"#a9b4c2\"/>%s", x + 205, y, text(x + 234, y + 9, "no bar set", "")
	printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"black\" stroke-width=\"3\"/>%s", x + 315, x + 315, y - 2, y + 12, text(x + 323, y + 9, "the bar", "")
	printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#222\"/>%s", x + 385, x + 409, y + 5, y + 5, text(x + 415, y + 9, "worst to best round", "")
}
function draw(i,   colour, a, b, label, r, bar) {
	if (f[i, 1] != section) {
		section = f[i, 1]
		y += 8
		put(sprintf("<line x1=\"16\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ccc\"/>\n", LEFT + WIDTH + RIGHT - 16, y, y))
		put(text(16, y + 15, section, "font-weight=\"bold\""))
		y += STEP + 2
		key = ""
	}
	label = f[i, 2] more(f[i, 3])
	put(text(24, y + 13, label == key ? "" : label, ""))
	key = label
	if (f[i, 4] != "-") put(text(LEFT - 10, y + 13, "/ " f[i, 4], "text-anchor=\"end\" fill=\"#555\""))
	r = f[i, 11]; bar = f[i, 14]
	colour = f[i, 15] == "met" ? "#4a9d5b" : f[i, 15] == "MISSED" ? "#d0524a" : "#a9b4c2"
	if (f[i, 16] != "") {
		put(text(LEFT + 6, y + 13, "not measured: " substr(f[i, 16], 1, 72), "font-style=\"italic\" fill=\"#888\""))
	} else if (r == "") {
		put(text(LEFT - 10, y + 13, short(f[i, 5]), "text-anchor=\"end\" font-weight=\"bold\""))
		if (bar != "-") put(text(LEFT + 6, y + 13, "bar: " bar ", " f[i, 15], "font-weight=\"bold\" fill=\"" colour "\""))
	} else {
		a = x_of(r < 1 ? r : 1); b = x_of(r < 1 ? 1 : r)
		put(sprintf("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"12\" fill=\"%s\"/>\n", a, y + 3, b - a < 1 ? 1 : b - a, colour))
		if (f[i, 12] != f[i, 13])
			put(sprintf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#222\"/>\n", x_of(f[i, 12]), x_of(f[i, 13]), y + 9, y + 9))
		if (bar != "-")
			put(sprintf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"black\" stroke-width=\"3\"/>\n", x_of(bar), x_of(bar), y, y + 18))
		put(text(LEFT + WIDTH + 10, y + 13, fixed(r) (bar == "-" ? "" : "  (bar " bar ")"), "fill=\"" (bar == "-" ? "#555" : colour) "\"" (bar == "-" ? "" : " font-weight=\"bold\"")))
	}
	y += STEP
}
