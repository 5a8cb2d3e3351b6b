'use strict';
/*
 * The report's page. Everything from the data reaches the page as text (textContent) or as pixels;
 * nothing is ever parsed as HTML. One scale for all canvases: x is time or order, y is sectors with
 * unused ranges drawn small.
 */
const data = JSON.parse(document.getElementById('data').textContent);
const VERDICTS = ['ok', 'fail', 'timeout', 'crash', 'error'];
const SIGNS = {ok: '\u25cb', fail: '\u25b2', timeout: '\u25a0', crash: '\u2716', error: '\u25c7',
	none: '\u2013'};
const RANK = ['none', 'ok', 'error', 'timeout', 'crash', 'fail'];
const PAGE = 200;
const W = {n: 0, disk: 1, sector: 2, len: 3, op: 4, flags: 5, submit: 6, complete: 7, time: 8, end: 9,
	epoch: 10, failed: 11, lied: 12};
const disks = (data.head.recording && data.head.recording.disks) || [];
const state = {point: -1, open: false, hidden: new Set(), byStep: false, from: 0, to: 1, lost: new Set(),
	rows: PAGE, hover: null};

const $ = (id) => document.getElementById(id);

/* make('td', {class: 'num'}, 'text', node...) */
function make(tag, attributes, ...children) {
	const node = document.createElement(tag);

	for (const [name, value] of Object.entries(attributes || {})) {
		if (name === 'click')
			node.addEventListener('click', value);
		else if (value !== null && value !== undefined)
			node.setAttribute(name, value);
	}
	node.append(...children.filter((c) => c !== null && c !== undefined));
	return node;
}

/* ---------------------------------------------------------------------------- words */

function digits(value, n) {
	return Number(value.toPrecision(n)).toString();
}

function timeText(ns) {
	const units = [[1e9, 's'], [1e6, 'ms'], [1e3, '\u00b5s']];

	for (const [size, unit] of units)
		if (Math.abs(ns) >= size)
			return digits(ns / size, 4) + ' ' + unit;
	return ns + ' ns';
}

function sizeText(bytes) {
	for (const [size, unit] of [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']])
		if (bytes >= size)
			return digits(bytes / size, 4) + ' ' + unit;
	return bytes + ' B';
}

const count = (n) => Number(n || 0).toLocaleString('en');
const since = (ns) => timeText(ns - start);
const plural = (n, word) => count(n) + ' ' + word + (n === 1 ? '' : 's');

function share(covered, exact) {
	const percent = covered * 100;
	const text = percent >= 0.01 || percent === 0 ? digits(percent, 3) + '%'
		: percent.toExponential(1) + '%';

	return (exact ? '' : 'at least ') + text;
}

function verdictNode(name, text) {
	return make('span', {class: 'v v-' + name}, SIGNS[name] + ' ' + (text || name));
}

/* It was recovery that ended so; the check was not run. */
function inRecovery() {
	return make('div', {class: 'soft'}, 'in recovery');
}

function diskName(n) {
	return disks[n] ? String(disks[n].name) : 'disk ' + n;
}

/* ---------------------------------------------------------------------------- points */

const start = (data.head.recording && data.head.recording.start_ns) || 0;
const verdictOf = data.points.map((_, i) => {
	const nr = data.verdicts[i] || [];
	let worst = 'none';

	VERDICTS.forEach((name, v) => {
		if (nr[v] && RANK.indexOf(name) > RANK.indexOf(worst))
			worst = name;
	});
	return worst;
});
for (const f of data.findings)
	if (verdictOf[f.point] !== undefined && RANK.indexOf(f.verdict) > RANK.indexOf(verdictOf[f.point]))
		verdictOf[f.point] = f.verdict;

/* A crash point is shown when one of its verdicts is. */
function shown(i) {
	const nr = data.verdicts[i] || [];

	if (verdictOf[i] === 'none')
		return true;
	return !state.hidden.has(verdictOf[i]) || VERDICTS.some((name, v) => nr[v] && !state.hidden.has(name));
}

function seen(i) {
	const nr = data.verdicts[i] || [];
	let worst = verdictOf[i] !== 'none' && !state.hidden.has(verdictOf[i]) ? verdictOf[i] : 'none';

	VERDICTS.forEach((name, v) => {
		if (nr[v] && !state.hidden.has(name) && RANK.indexOf(name) > RANK.indexOf(worst))
			worst = name;
	});
	return worst;
}

/* ---------------------------------------------------------------------------- scales */

function range() {
	let low = Infinity, high = -Infinity;
	const see = (v) => {
		if (typeof v === 'number') {
			low = Math.min(low, v);
			high = Math.max(high, v);
		}
	};

	for (const w of data.writes) {
		see(state.byStep ? w[W.submit] : w[W.time]);
		see(state.byStep ? w[W.complete] : w[W.end]);
	}
	for (const p of data.points)
		see(state.byStep ? p[0] : p[1]);
	return low < high ? [low, high] : [low === Infinity ? 0 : low - 1, low === Infinity ? 1 : low + 1];
}

let extent = range();

function xOf(value, width) {
	const part = (value - extent[0]) / (extent[1] - extent[0]);

	return 6 + (part - state.from) / (state.to - state.from) * (width - 12);
}

const xPoint = (i, width) => xOf(data.points[i][state.byStep ? 0 : 1], width);

/* Sectors of a disk that are written, in pieces; what lies between is drawn as a narrow gap. */
function pieces(disk) {
	const writes = data.writes.filter((w) => w[W.disk] === disk)
		.map((w) => [w[W.sector], w[W.sector] + Math.max(1, w[W.len] / 512)])
		.sort((a, b) => a[0] - b[0]);
	const list = [];
	let span = 0;

	for (const w of writes)
		span = Math.max(span, w[1]);
	const slack = (span - (writes.length ? writes[0][0] : 0)) / 25;
	for (const [from, to] of writes) {
		const last = list[list.length - 1];

		if (last && from - last[1] <= slack)
			last[1] = Math.max(last[1], to);
		else
			list.push([from, to]);
	}
	return list;
}

function layout(disk, height) {
	const list = pieces(disk), gap = 7;
	const total = list.reduce((sum, [from, to]) => sum + Math.sqrt(to - from), 0) || 1;
	const room = height - gap * Math.max(0, list.length - 1);
	let y = 0;

	return list.map(([from, to]) => {
		const size = Math.sqrt(to - from) / total * room, at = y;

		y += size + gap;
		return {from, to, y: at, size};
	});
}

function yOf(parts, sector) {
	let low = 0, high = parts.length - 1;

	while (low < high) {
		const middle = (low + high + 1) >> 1;

		if (parts[middle].from <= sector)
			low = middle;
		else
			high = middle - 1;
	}
	const p = parts[low];
	return p ? p.y + Math.min(1, Math.max(0, (sector - p.from) / (p.to - p.from))) * p.size : 0;
}

/* ---------------------------------------------------------------------------- drawing */

const views = [];

function addView(kind, disk, label, height) {
	const canvas = make('canvas', {'aria-hidden': 'true'});
	const view = {kind, disk, canvas, height, parts: kind === 'disk' ? layout(disk, height - 8) : []};

	if (label)
		$('timeline').append(make('div', {class: 'disk'}, label));
	$('timeline').append(canvas);
	canvas.style.height = height + 'px';
	canvas.addEventListener('pointermove', (e) => hover(view, e));
	canvas.addEventListener('pointerleave', () => readout());
	canvas.addEventListener('click', (e) => select(nearest(e.offsetX, canvas.clientWidth), true));
	views.push(view);
}

let colours = {};
const paper = matchMedia('print');

function readColours() {
	const style = getComputedStyle(document.documentElement);

	for (const name of ['paper', 'ink', 'soft', 'rule', 'band', 'held', 'open', 'later', 'mark', 'ok',
		'fail', 'timeout', 'crash', 'error', 'focus'])
		colours[name] = style.getPropertyValue('--' + name).trim();
	colours.none = colours.soft;
}

/* What a crash at the selected crash point can still lose: not flushed, not FUA, no disk without cache. */
function fates() {
	const at = state.point >= 0 ? data.points[state.point][0] : null;
	const flushed = new Map();

	if (at === null)
		return () => 'held';
	for (const [disk, submit, complete, , lied] of data.flushes)
		if (complete !== null && complete <= at && !lied)
			flushed.set(disk, Math.max(flushed.get(disk) || 0, submit));
	return (w) => {
		const done = w[W.complete] !== null && w[W.complete] <= at && !w[W.failed];

		if (w[W.submit] > at)
			return 'later';
		if (!done || w[W.lied])
			return 'open';
		if ((w[W.flags] || []).includes('fua') || (disks[w[W.disk]] && disks[w[W.disk]].cache === false))
			return 'held';
		return w[W.complete] < (flushed.get(w[W.disk]) || 0) ? 'held' : 'open';
	};
}

function prepare(view) {
	const scale = paper.matches ? 3 : window.devicePixelRatio || 1, width = view.canvas.clientWidth;
	const g = view.canvas.getContext('2d');

	view.canvas.width = Math.round(width * scale);
	view.canvas.height = Math.round(view.height * scale);
	g.setTransform(scale, 0, 0, scale, 0, 0);
	g.clearRect(0, 0, width, view.height);
	return [g, width];
}

function line(g, x, height, colour, dash) {
	g.strokeStyle = colour;
	g.lineWidth = 1;
	g.setLineDash(dash || []);
	g.beginPath();
	g.moveTo(Math.round(x) + 0.5, 0);
	g.lineTo(Math.round(x) + 0.5, height);
	g.stroke();
	g.setLineDash([]);
}

function writeBox(view, w, width) {
	const begin = state.byStep ? w[W.submit] : w[W.time];
	const end = (state.byStep ? w[W.complete] : w[W.end]);
	const x = xOf(begin, width), x2 = end === null ? x + 2 : xOf(end, width);
	const y = yOf(view.parts, w[W.sector]) + 3;
	const y2 = yOf(view.parts, w[W.sector] + w[W.len] / 512) + 3;

	return [x, y, Math.max(2.5, x2 - x), Math.max(2.5, y2 - y)];
}

function drawEpochs(view, g, width) {
	const ends = data.flushes.filter((f) => f[0] === view.disk && f[2] !== null)
		.map((f) => xOf(state.byStep ? f[2] : f[3], width)).sort((a, b) => a - b);
	let from = 0;

	g.fillStyle = colours.band;
	ends.forEach((x, i) => {
		if (i % 2)
			g.fillRect(from, 0, x - from, view.height);
		from = x;
	});
	if (ends.length % 2)
		g.fillRect(from, 0, width - from, view.height);
	if (ends.length < width / 3)
		for (const x of ends)
			line(g, x, view.height, colours.rule);
}

function drawDisk(view) {
	const [g, width] = prepare(view), fate = fates(), order = {later: [], held: [], open: [], lost: []};

	drawEpochs(view, g, width);
	for (const m of data.marks)
		line(g, xOf(m[state.byStep ? 0 : 1], width), view.height, colours.mark, [2, 4]);
	for (const w of data.writes) {
		if (w[W.disk] !== view.disk)
			continue;
		order[state.lost.has(w[W.n]) ? 'lost' : fate(w)].push(writeBox(view, w, width));
	}
	for (const name of ['later', 'held', 'open']) {
		g.fillStyle = colours[name];
		for (const box of order[name])
			g.fillRect(...box);
	}
	g.strokeStyle = colours.fail;
	g.fillStyle = colours.fail;
	g.lineWidth = 1.5;
	for (const [x, y, w, h] of order.lost) {
		g.fillRect(x, y, w, h);
		g.strokeRect(x - 3, y - 3, w + 6, h + 6);
	}
	drawCursor(g, width, view.height);
}

function drawCursor(g, width, height) {
	if (state.point >= 0)
		line(g, xPoint(state.point, width), height, colours.ink);
}

function sign(g, name, x, y, r) {
	g.fillStyle = g.strokeStyle = colours[name];
	g.lineWidth = name === 'crash' ? 2 : 1.3;
	g.beginPath();
	if (name === 'fail') {
		g.moveTo(x, y - r);
		g.lineTo(x + r, y + r);
		g.lineTo(x - r, y + r);
	} else if (name === 'timeout') {
		g.rect(x - r + 1, y - r + 1, 2 * r - 2, 2 * r - 2);
	} else if (name === 'crash') {
		g.moveTo(x - r, y - r);
		g.lineTo(x + r, y + r);
		g.moveTo(x + r, y - r);
		g.lineTo(x - r, y + r);
	} else if (name === 'error') {
		g.moveTo(x, y - r);
		g.lineTo(x + r, y);
		g.lineTo(x, y + r);
		g.lineTo(x - r, y);
		g.closePath();
	} else if (name === 'ok') {
		g.arc(x, y, r - 2.5, 0, 2 * Math.PI);
	} else {
		g.moveTo(x - 2, y);
		g.lineTo(x + 2, y);
	}
	if (name === 'fail' || name === 'timeout')
		g.fill();
	else
		g.stroke();
}

/* Signs of equal rank that would fall on one pixel are drawn once. */
function drawPoints(view) {
	const [g, width] = prepare(view), drawn = new Set(), list = [];

	data.points.forEach((_, i) => {
		const x = xPoint(i, width), name = seen(i), spot = name + Math.round(x / 2);

		if (!shown(i) || x < -8 || x > width + 8 || drawn.has(spot))
			return;
		drawn.add(spot);
		list.push([RANK.indexOf(name), name, x]);
	});
	list.sort((a, b) => a[0] - b[0]);
	for (const [rank, name, x] of list)
		sign(g, name, x, rank > 2 ? 11 : 27, 5);
	drawCursor(g, width, view.height);
	if (state.point >= 0) {
		const x = xPoint(state.point, width);

		g.fillStyle = colours.ink;
		g.beginPath();
		g.moveTo(x - 5, view.height);
		g.lineTo(x + 5, view.height);
		g.lineTo(x, view.height - 7);
		g.fill();
	}
}

function drawAxis(view) {
	const [g, width] = prepare(view), ticks = Math.max(2, Math.floor(width / 130));

	g.font = '11px ui-sans-serif, system-ui, "DejaVu Sans", sans-serif';
	g.fillStyle = colours.soft;
	g.textBaseline = 'top';
	for (let i = 0; i <= ticks; i++) {
		const part = state.from + (state.to - state.from) * i / ticks;
		const value = extent[0] + part * (extent[1] - extent[0]);

		g.textAlign = i === 0 ? 'left' : i === ticks ? 'right' : 'center';
		g.fillText(state.byStep ? 'step ' + Math.round(value) : since(Math.round(value)),
			6 + (width - 12) * i / ticks, 4);
		g.fillRect(Math.round(6 + (width - 12) * i / ticks), 0, 1, 3);
	}
}

/* The words of marks, as many as fit. */
function drawMarks(view) {
	const [g, width] = prepare(view);
	let free = -1;

	g.font = '11px ui-sans-serif, system-ui, "DejaVu Sans", sans-serif';
	g.textBaseline = 'middle';
	for (const m of data.marks) {
		const x = xOf(m[state.byStep ? 0 : 1], width);
		const text = String(m[2]).slice(0, 24), size = g.measureText(text).width;

		if (x < 0 || x > width)
			continue;
		if (x < free || x + size + 4 > width) {
			line(g, x, 4, colours.mark);
			continue;
		}
		line(g, x, view.height, colours.mark);
		g.fillStyle = colours.mark;
		g.fillText(text, x + 4, view.height / 2);
		free = x + size + 14;
	}
}

const DRAW = {disk: drawDisk, points: drawPoints, axis: drawAxis, marks: drawMarks};
let asked = false;

function drawNow() {
	asked = false;
	for (const view of views)
		DRAW[view.kind](view);
}

function draw() {
	if (asked)
		return;
	asked = true;
	requestAnimationFrame(drawNow);
}

/* Paper has another width and other colours, and nothing waits for the next frame. */
function turnToPaper() {
	readColours();
	drawNow();
}

/* ---------------------------------------------------------------------------- the cursor */

function nearest(x, width) {
	let best = -1, distance = Infinity;

	data.points.forEach((_, i) => {
		const away = Math.abs(xPoint(i, width) - x) - (verdictOf[i] === 'ok' ? 0 : 2);

		if (shown(i) && away < distance) {
			best = i;
			distance = away;
		}
	});
	return best;
}

function writeText(w) {
	const flags = (w[W.flags] || []).join(' ');

	return `${w[W.op]} ${w[W.n]}${disks.length > 1 ? ' of ' + diskName(w[W.disk]) : ''}: sector ` +
		`${count(w[W.sector])}, ${sizeText(w[W.len])}${flags ? ', ' + flags : ''}, at ${since(w[W.time])}, ` +
		(w[W.complete] === null ? 'never completed' : `completed at ${since(w[W.end])}`) +
		`, epoch ${w[W.epoch]}${w[W.failed] ? ', failed' : ''}${w[W.lied] ? ', lied' : ''}`;
}

function hover(view, e) {
	const width = view.canvas.clientWidth;

	if (view.kind === 'disk') {
		for (let i = data.writes.length - 1; i >= 0; i--) {
			const w = data.writes[i];

			if (w[W.disk] !== view.disk)
				continue;
			const [x, y, dx, dy] = writeBox(view, w, width);
			if (e.offsetX >= x - 2 && e.offsetX <= x + dx + 2 && e.offsetY >= y - 2 && e.offsetY <= y + dy + 2)
				return readout(writeText(w));
		}
	}
	const i = nearest(e.offsetX, width);
	return readout(i < 0 ? '' : pointText(i));
}

function readout(text) {
	$('readout').textContent = text || (state.point >= 0 ? pointText(state.point)
		: 'Point at a write or a crash point; arrow keys move between crash points.');
}

function pointText(i) {
	const p = data.points[i], nr = data.verdicts[i] || [];
	const said = VERDICTS.map((name, v) => nr[v] ? `${count(nr[v])} ${name}` : '').filter(Boolean);
	const done = data.done[i];

	return `Point ${i}: step ${p[0]}, ${since(p[1])}, ${p[2]}. ` +
		(said.length ? said.join(', ') : 'No state of its own') +
		(done && done[7] !== null ? `; ${share(done[7], done[8])} of ${done[2]} legal` : '') + '.';
}

/* ---------------------------------------------------------------------------- crash points */

function select(i, open) {
	if (i < 0 || i >= data.points.length)
		return;
	state.point = i;
	state.lost = new Set();
	for (const f of data.findings)
		if (f.point === i)
			for (const l of f.lost || [])
				state.lost.add(l.write);
	keepInView(i);
	const line = $('timeline');
	line.setAttribute('aria-valuenow', i);
	line.setAttribute('aria-valuetext', pointText(i));
	line.dataset.point = i;
	readout();
	draw();
	for (const row of document.querySelectorAll('tr.here'))
		row.classList.remove('here');
	for (const row of document.querySelectorAll(`tr[data-point="${i}"]`))
		row.classList.add('here');
	if (open || state.open)
		showDetail();
}

function keepInView(i) {
	const value = data.points[i][state.byStep ? 0 : 1];
	const part = (value - extent[0]) / (extent[1] - extent[0]), size = state.to - state.from;

	if (part >= state.from && part <= state.to)
		return;
	state.from = Math.max(0, Math.min(1 - size, part - size / 2));
	state.to = state.from + size;
}

function move(by, wanted) {
	for (let i = state.point + by; i >= 0 && i < data.points.length; i += by)
		if (shown(i) && (!wanted || wanted(i)))
			return select(i, false);
	return undefined;
}

function fact(name, value, wide) {
	return make('div', {class: wide ? 'wide' : null}, make('dt', {}, name),
		value instanceof Node ? make('dd', {}, value) : make('dd', {}, String(value)));
}

function showDetail() {
	const i = state.point, p = data.points[i], done = data.done[i], body = $('detail-body');
	const facts = make('dl', {}, fact('Step', count(p[0])), fact('Time', since(p[1])),
		fact('Reason', p[2]), fact('Marks made', p[3] || 0));
	const last = data.marks[p[3] - 1];
	const here = data.findings.filter((f) => f.point === i && !state.hidden.has(f.verdict));

	if (last)
		facts.append(fact('Last mark', last[2]));
	if (done) {
		facts.append(fact('Undecided writes', count(done[1])), fact('Legal states', done[2]),
			fact('Visited', count(done[4])), fact('Covered', share(done[7], done[8])));
		if (done[10])
			facts.append(fact('Runs that diverged', count(done[10])));
	}
	body.replaceChildren(facts, here.length ? findingsTable(here) : '', statesTable(i));
	$('detail-title').textContent = `Crash point ${i}`;
	$('detail').hidden = false;
	state.open = true;
}

function statesTable(i) {
	const all = data.states.filter((s) => s[0] === i && !state.hidden.has(VERDICTS[s[2]]));
	const total = (data.verdicts[i] || []).reduce((sum, n, v) => sum +
		(state.hidden.has(VERDICTS[v]) ? 0 : n), 0);
	const rows = all.sort((a, b) => RANK.indexOf(VERDICTS[b[2]]) - RANK.indexOf(VERDICTS[a[2]]))
		.slice(0, PAGE).map((s) => make('tr', {},
			make('td', {}, verdictNode(VERDICTS[s[2]]), s[9] ? inRecovery() : null),
			make('td', {class: 'mono'}, s[1] || 'all kept'),
			make('td', {'data-name': 'strategy'}, s[3]),
			make('td', {'data-name': 'took'}, digits(s[4], 3) + ' ms'),
			make('td', {'data-name': 'exit'}, s[8] ? 'signal ' + s[8] : String(s[7])),
			make('td', {'data-name': 'lost', class: 'mono'}, s[5].join(' ') +
				(s[6] > s[5].length ? ` and ${count(s[6] - s[5].length)} more` : ''))));

	if (!rows.length)
		return make('p', {class: 'soft'}, 'No state to show: all contents were checked at an earlier crash point, ' +
			'or the filter hides them.');
	return make('div', {id: 'states'}, make('h3', {}, `States, ${count(rows.length)} of ${count(total)}`),
		make('table', {}, head('Verdict', 'State', 'Strategy', 'Took', 'Exit', 'Writes lost'),
			make('tbody', {}, ...rows)));
}

function closeDetail() {
	const inside = $('detail').contains(document.activeElement);

	state.open = false;
	$('detail').hidden = true;
	if (inside)
		$('timeline').focus();
}

/* ---------------------------------------------------------------------------- tables */

function head(...names) {
	return make('thead', {}, make('tr', {}, ...names.map((n) => make('th', {scope: 'col'}, n))));
}

/* How few it took, what they were, and whether it failed again. */
function lossOf(f) {
	const name = String(f.minimal || f.state), words = String(f.words);
	const found = f.minimal && f.minimal !== f.state ? [', found as ', make('code', {}, String(f.state))] : [];

	return [make('p', {class: f.repeated === false ? 'warn' : null}, words[0].toUpperCase() + words.slice(1) + '.'),
		lostList(f), make('p', {class: 'soft'}, f.repeated === true ? 'Failed again when repeated. ' : '',
			'State ', make('code', {}, name), ...found)];
}

function writeItem(what, l) {
	return make('li', {},
		`${what} ${l.write}: sector ${count(l.sector)}, ${sizeText(l.len_bytes)}` +
		(disks.length > 1 ? ` of ${diskName(l.disk)}` : '') + `, ${since(l.time_ns)}`,
		l.name ? make('div', {class: 'mono'}, String(l.name)) : null);
}

function lostList(f) {
	const items = (f.lost || []).slice(0, 12).map((l) => writeItem('write', l));
	const rest = Math.max(f.nr_lost || 0, (f.lost || []).length) - items.length;
	const same = (f.same_as || []).length + (f.more_same || 0);

	if (rest > 0)
		items.push(make('li', {}, `and ${count(rest)} more`));
	if (f.missing)
		items.push(writeItem('missing: write', f.missing));
	if (same > 0)
		items.push(make('li', {class: 'soft'}, `${plural(same, 'other state')} lost the same writes`));
	return make('ul', {}, ...items);
}

/* Without the clipboard (file:// in some browsers): select the text, so that it can be copied. */
async function copy(button, code) {
	let said = 'Copied';

	try {
		await navigator.clipboard.writeText(code.textContent);
	} catch (_) {
		getSelection().selectAllChildren(code);
		said = document.execCommand('copy') ? 'Copied' : 'Selected: copy it with Ctrl+C';
	}
	button.textContent = said;
	$('live').textContent = said;
	setTimeout(() => { button.textContent = 'Copy'; }, 2000);
}

function findingRow(f) {
	const code = make('code', {}, String(f.command || f.reproducer || 'not written'));
	const button = make('button', {type: 'button', class: 'copy',
		'aria-label': `Copy the command of finding ${f.n}`}, 'Copy');

	button.addEventListener('click', () => copy(button, code));
	return make('tr', {'data-point': f.point, class: f.point === state.point ? 'here' : null},
		make('td', {}, String(f.n)), make('td', {}, verdictNode(f.verdict),
			f.in_recovery ? inRecovery() : null,
			f.repeated === false ? make('div', {class: 'v v-timeout once'}, 'not deterministic') : null),
		make('td', {}, make('button', {type: 'button', class: 'link', click: () => jump(f)},
			`point ${f.point}`)),
		make('td', {class: 'lost'}, ...lossOf(f)),
		make('td', {class: 'said'}, make('pre', {tabindex: String(f.output || '').length > 240 ? '0' : null},
			String(f.output || ''))),
		make('td', {class: 'again'}, make('pre', {}, code), f.command || f.reproducer ? button : null));
}

function jump(f) {
	select(f.point, false);
	state.lost = new Set([...(f.lost || []), ...(f.missing ? [f.missing] : [])].map((l) => l.write));
	draw();
	$('timeline').focus();
	$('timeline').scrollIntoView({block: 'center'});
}

function findingsTable(list) {
	return make('table', {class: 'findings'}, head('', 'Verdict', 'Crash point', 'Fewest writes lost', 'Output of the check', 'Command that repeats it'),
		make('tbody', {}, ...list.map(findingRow)));
}

function showFindings() {
	const list = data.findings.filter((f) => !state.hidden.has(f.verdict));

	if (!data.findings.length)
		$('findings').replaceChildren(make('p', {}, 'No findings: every state passes the check.'));
	else
		$('findings').replaceChildren(list.length ? findingsTable(list)
			: make('p', {class: 'soft'}, 'The filter hides all findings.'));
	if (list.length && list.length < data.findings.length)
		$('findings').append(make('p', {class: 'soft'},
			`${count(data.findings.length - list.length)} more are hidden by the filter`));
	if (data.summary.nr_findings > data.findings.length)
		$('findings').append(make('p', {class: 'soft'},
			`and ${count(data.summary.nr_findings - data.findings.length)} more in the results file`));
}

function coverageRow(i) {
	const p = data.points[i], d = data.done[i], nr = data.verdicts[i] || [];
	const bar = make('i'), covered = d ? d[7] : 0;
	const verdicts = VERDICTS.flatMap((name, v) => nr[v] ? [verdictNode(name, count(nr[v])), ' '] : []);

	bar.style.width = covered * 100 + '%';
	return make('tr', {'data-point': i, class: i === state.point ? 'here' : null},
		make('td', {}, make('button', {type: 'button', class: 'link', click: () => {
			select(i, true);
			$('detail').focus();
		}}, `point ${i}`)),
		make('td', {}, since(p[1])), make('td', {}, p[2]),
		make('td', {'data-name': 'marks'}, String(p[3] || 0)),
		make('td', {'data-name': 'undecided'}, d ? count(d[1]) : '\u2013'),
		make('td', {'data-name': 'legal'}, d ? String(d[2]) : '\u2013'),
		make('td', {'data-name': 'visited'}, d ? count(d[4]) : '\u2013'),
		make('td', {}, d ? make('span', {class: 'bar', 'aria-hidden': 'true'}, bar) : '',
			d ? share(covered, d[8]) : 'not done'),
		make('td', {}, d && d[9] ? 'complete' : d && d[11] ? 'states missing' : ''),
		make('td', {}, ...verdicts));
}

function showCoverage() {
	const list = data.points.map((_, i) => i).filter(shown);
	const table = make('table', {}, head('Crash point', 'Time', 'Why', 'Marks', 'Undecided', 'Legal', 'Visited',
		'Covered', '', 'Verdicts'), make('tbody', {}, ...list.slice(0, state.rows).map(coverageRow)));

	$('coverage').replaceChildren(table);
	if (list.length > state.rows)
		$('coverage').append(make('p', {class: 'soft'},
			`and ${plural(list.length - state.rows, 'more crash point')} `,
			make('button', {type: 'button', click: () => {
				state.rows += 5 * PAGE;
				showCoverage();
			}}, 'Show more')));
}

/* ---------------------------------------------------------------------------- the whole */

function showHeader() {
	const s = data.summary, r = data.head.recording || {}, found = s.nr_findings;

	$('recording').textContent = r.path || r.id;
	const unsure = s.not_deterministic ? `, of which ${count(s.not_deterministic)} did not fail when repeated,` : '';

	$('verdict').append(found ? verdictNode('fail', plural(found, 'finding'))
		: s.gaps || s.verdicts.error ? verdictNode('error', 'nothing found so far')
		: verdictNode('ok', 'no findings'),
		unsure + ` in ${plural(s.distinct, 'distinct state')}; ${share(s.covered, s.exact)} of the legal states covered.`);
	if (s.gaps) {
		$('gaps').hidden = false;
		$('gaps').textContent = s.gaps + '.';
	}
	$('facts').append(fact('States', count(s.states)), fact('Distinct', count(s.distinct)),
		fact('Equivalent', count(s.equivalent)), fact('Crash points', `${count(s.points_done)} of ${count(s.points)}`),
		fact('Complete crash points', count(s.points_complete)),
		...(s.points_left_out ? [fact('Crash points left out by --from, --to or --sample', count(s.points_left_out))] : []),
		...(s.points_missing ? [fact('Crash points with legal states that were not built', count(s.points_missing))] : []), fact('Time', digits(s.seconds, 3) + ' s' +
			(s.shards > 1 ? ` in ${s.shards} shards` : '')),
		fact('First finding', s.first_finding_s === null ? '\u2013' : digits(s.first_finding_s, 3) + ' s'),
		fact('Writes', count(r.writes)), fact('Flushes', count(r.flushes)), fact('Marks', count(r.marks)),
		fact('Strategies', (data.head.strategies || []).join(' ')), fact('Seed', data.head.seed),
		fact('Legal states', 'of ' + s.states_of + (data.head.illegal ? ', illegal states too' : '')));
	for (const words of [s.coarse, s.discards])
		if (words)
			$('facts').append(fact('Left out', words, true));
	if (data.head.recovery)
		$('facts').append(fact('Recovery', make('code', {}, String(data.head.recovery)), true));
	$('facts').append(fact('Check', make('code', {}, String(data.head.check)), true));
}

function showFilters() {
	VERDICTS.forEach((name) => {
		const button = make('button', {type: 'button', class: 'filter v-' + name, 'aria-pressed': 'true',
			'data-verdict': name}, `${SIGNS[name]} ${name} ${count(data.summary.verdicts[name])}`);

		button.addEventListener('click', () => {
			state.hidden.has(name) ? state.hidden.delete(name) : state.hidden.add(name);
			button.setAttribute('aria-pressed', String(!state.hidden.has(name)));
			refresh();
		});
		$('filters').append(button);
	});
}

function showLegend() {
	const item = (name, sample, text) => make('span', {}, make('b', {class: 'v-' + name}, sample), ' ' + text);

	$('legend').append(...VERDICTS.map((name) => item(name, SIGNS[name], name)),
		item('held', '\u25ac', 'write that is durable'),
		item('open', '\u25ac', 'write that a crash at the chosen crash point can lose'),
		item('fail', '\u25a3', 'write that a finding lost'),
		item('mark', '\u2506', 'mark'), make('span', {}, 'Bands: from flush to flush.'));
	if (data.writes.length < (data.head.recording || {}).writes)
		$('legend').append(make('span', {}, `A sample of ${count(data.writes.length)} of ` +
			`${count(data.head.recording.writes)} writes.`));
}

function refresh() {
	showFindings();
	showCoverage();
	if (state.open)
		showDetail();
	draw();
}

function zoom(by) {
	const size = Math.min(1, Math.max(1e-4, (state.to - state.from) * by));
	const middle = state.point >= 0 ? (data.points[state.point][state.byStep ? 0 : 1] - extent[0]) /
		(extent[1] - extent[0]) : (state.from + state.to) / 2;

	state.from = Math.max(0, Math.min(1 - size, middle - size / 2));
	state.to = state.from + size;
	draw();
}

function turnAxis() {
	state.byStep = !state.byStep;
	extent = range();
	state.from = 0;
	state.to = 1;
	$('axis').textContent = state.byStep ? 'Axis: order' : 'Axis: time';
	$('axis').setAttribute('aria-pressed', String(state.byStep));
	draw();
}

const bad = (i) => RANK.indexOf(seen(i)) > 2;
const LINE_KEYS = {
	ArrowRight: () => move(1),
	ArrowLeft: () => move(-1),
	ArrowDown: () => move(1, bad),
	ArrowUp: () => move(-1, bad),
	Home: () => { state.point = -1; move(1); },
	End: () => { state.point = data.points.length; move(-1); },
	Enter: () => {
		if (state.point < 0)
			move(1);
		if (state.point >= 0) {
			showDetail();
			$('detail').focus();
		}
	},
};
const PAGE_KEYS = {
	'?': () => $('keys').showModal(),
	'+': () => zoom(0.5),
	'-': () => zoom(2),
	'0': () => { state.from = 0; state.to = 1; draw(); },
	Escape: closeDetail,
};

function onKey(e) {
	const keys = e.target === $('timeline') && LINE_KEYS[e.key] ? LINE_KEYS : PAGE_KEYS;

	if (e.ctrlKey || e.metaKey || e.altKey || $('keys').open || !keys[e.key])
		return;
	e.preventDefault();
	keys[e.key]();
}

function begin() {
	showHeader();
	showFilters();
	showLegend();
	addView('marks', 0, null, data.marks.length ? 18 : 4);
	const names = disks.length ? disks : [{name: 'disk'}];
	names.forEach((disk, i) => addView('disk', i, `${diskName(i)}, ${sizeText(disk.size_bytes || 0)}` +
		(disk.cache === false ? ', no volatile cache' : '') + ' \u2013 sectors downwards, untouched ranges left out',
		names.length > 1 ? 130 : 220));
	addView('points', 0, null, 40);
	addView('axis', 0, null, 20);
	$('timeline').setAttribute('aria-valuemax', Math.max(0, data.points.length - 1));
	readColours();
	refresh();
	readout();
	if (!data.points.length)
		readout('The results have no crash points.');
	document.addEventListener('keydown', onKey);
	$('axis').addEventListener('click', turnAxis);
	$('zoom-in').addEventListener('click', () => zoom(0.5));
	$('zoom-out').addEventListener('click', () => zoom(2));
	$('help').addEventListener('click', () => $('keys').showModal());
	$('detail-close').addEventListener('click', closeDetail);
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); draw(); });
	paper.addEventListener('change', turnToPaper);
	new ResizeObserver(draw).observe($('timeline'));
	document.body.dataset.ready = 'yes';
}

begin();
