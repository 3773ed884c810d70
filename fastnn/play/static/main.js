// The page: settings in, frames out. Other modules draw; this one knows what is shown.

import { Controls } from "./controls.js";
import { curvesSvg } from "./curves.js";
import { buildColumns, drawDiagram } from "./diagram.js";
import { Link, post } from "./link.js";
import { Net, grid, gridSide } from "./net.js";
import { Pen, mark } from "./pen.js";
import {
  COLORS, boundary, classPixels, css, differencePixels, disagreement, drawBoundary, drawGround, drawPoints,
  isDark, prepare, theme,
} from "./picture.js";
import { download, figureSvg, fromHash, pointsCsv, toHash } from "./share.js";
import { TableForm } from "./table.js";

const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const count = (n) => n.toLocaleString("en");
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

const about = await (await fetch("about.json")).json();
const fields = about.fields;
let settings = fromHash(location.hash, fields);
let frame = null; // the newest
let at = null; // snapshot that is shown; null follows the end
let pinned = null; // {frame, settings, net}
let sheet = null; // limits of the picture since somebody has begun to draw: it stands still
let cursor = null;
const stats = { frames: 0, latencies: [], times: [] };

// --- settings ---------------------------------------------------------------------------

let asking = false;

/** Edit the settings and train anew; several edits before the next frame are one request. */
function change(edit) {
  edit(settings);
  show();
  if (asking) return;
  asking = true;
  queueMicrotask(() => {
    asking = false;
    link.ask(settings);
    remember();
  });
}

let remembering = 0;

function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const hash = toHash(settings, fields);
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
    const preset = about.presets.find((p) => toHash(full(p.settings), fields) === hash);
    $("preset").value = preset?.name ?? "";
    $("see").textContent = preset ? preset.see : "Settings of your own: the address of this page has them all.";
  }, 250);
}

function full(given) {
  const usual = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.default]));
  return structuredClone({ ...usual, ...given });
}

let columnsShown = "";

/** Show the settings in all controls. */
function show() {
  if (settings.data !== "points") sheet = null;
  controls.show(settings);
  const key = JSON.stringify([settings.hidden, settings.activation]);
  if (key !== columnsShown) buildColumns($("columns"), settings, fields.activation.choices, { units: 32, layers: fields.hidden.most }, change);
  columnsShown = key;
  $("clear").hidden = settings.data !== "points";
}

function replaceAll(all) {
  at = sheet = null;
  settings = all;
  show();
  link.ask(settings);
  remember();
}

// --- frames -----------------------------------------------------------------------------

function shownIndex() {
  return at === null ? frame.at.length - 1 : Math.min(at, frame.at.length - 1);
}

function netOf(one, index) {
  const size = one.params.length / one.at.length;
  return new Net(one, one.params.subarray(index * size, (index + 1) * size));
}

const limitsNow = () => sheet ?? frame.limits;

/** The points of the frame, or those that have been drawn since. */
function pointsNow() {
  const { data, points } = settings;
  if (data !== "points" || points.length === frame.y.length) return frame;
  return { X: points.flatMap(([x, y]) => [x, y]), y: points.map((point) => point[2]), held_out: points.map(() => 0) };
}

function mapOf(net, limits, side) {
  const p = net.probabilities(...grid(limits, side));
  return { side, p, z: net.inputs };
}

function scoresOf(one, index) {
  const [loss, accuracy, testLoss, testAccuracy] = one.scores.subarray(4 * index, 4 * index + 4);
  return { loss, accuracy, testLoss, testAccuracy };
}

let due = false;

/** Draw before the next frame of the screen, once however often it is asked for. */
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    if (frame) drawNow();
  });
}

function drawNow() {
  const index = shownIndex();
  const net = netOf(frame, index);
  const limits = limitsNow();
  const map = mapOf(net, limits, gridSide(net));
  const [context, side] = prepare($("picture"));
  drawGround(context, side, classPixels(map, frame.classes));
  drawBoundary(context, side, boundary(map));
  drawPoints(context, side, pointsNow(), limits);
  if (cursor) drawCursor(context, side);
  drawDiagram($("wires"), net, limits, frame.classes);
  showNumbers(index);
  showCurves(index);
  if (pinned) showPinned(net, limits);
  if (frame.fresh) {
    frame.fresh = false;
    const asked = link.asked.get(frame.id);
    stats.frames += 1;
    stats.times.push(performance.now());
    if (asked) stats.latencies.push(performance.now() - asked);
    if (stats.times.length > 600) { stats.times.shift(); stats.latencies.shift(); }
    showSpeed();
  }
}

function drawCursor(context, side) {
  const [x, y] = cursor.map((v) => v * side);
  context.strokeStyle = theme().ink;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x - 9, y); context.lineTo(x + 9, y);
  context.moveTo(x, y - 9); context.lineTo(x, y + 9);
  context.stroke();
}

function onframe(next) {
  next.fresh = true;
  frame = next;
  $("notice").hidden = !frame.message;
  $("notice").textContent = frame.message;
  const words = { training: "training …", time: "stopped", diverged: "diverged" };
  $("state").hidden = !(frame.status in words);
  $("state").textContent = words[frame.status] ?? "";
  $("time").max = frame.at.length - 1;
  $("shape").textContent = `${frame.layers.join("-")}, ${plural(frame.params.length / frame.at.length, "parameter")}`;
  showLegend();
  say();
  draw();
}

let legendShown = "";

function showLegend() {
  const names = settings.data === "points" && table.axes ? table.axes : ["x", "y"];
  const limits = limitsNow();
  const range = (k) => `${names[k]} ${limitText(limits[2 * k])} to ${limitText(limits[2 * k + 1])}`;
  const heldOut = frame.held_out.some((v) => v);
  const key = JSON.stringify([frame.classes, heldOut, range(0), range(1)]);
  if (key === legendShown) return;
  legendShown = key;
  const classes = frame.classes.map((k) => `<span>${mark(k)}class ${k}</span>`);
  $("legend").innerHTML = classes.join("") + (heldOut ? "<span>hollow: held out</span>" : "") + "<span></span>";
  $("legend").lastChild.textContent = `${range(0)}, ${range(1)}`; // names of a file's columns: text, never HTML
}

const limitText = (v) => String(Number(v.toPrecision(4))).replace("-", "−");

function showNumbers(index) {
  const { loss, accuracy, testAccuracy, testLoss } = scoresOf(frame, index);
  const step = frame.at[index] * frame.batches;
  if (document.activeElement !== $("time") || at === null) $("time").value = index;
  $("time-text").textContent = `step ${count(step)}`;
  $("time").ariaValueText = `step ${count(step)}`;
  const digits = (v) => (Number.isFinite(v) ? v.toPrecision(4) : "–");
  const row = (name, share, value, points) =>
    `<tr><th scope="row">${name}</th><td>${share}</td><td>${value}</td><td>${points}</td></tr>`;
  let rows = '<tr><td></td><th scope="col">accuracy</th><th scope="col">loss</th><th scope="col">points</th></tr>';
  rows += row("training", percent(accuracy), digits(loss), count(frame.n_train));
  if (frame.n_test) {
    rows += row(frame.test_is_fresh ? "fresh points" : "held out", percent(testAccuracy), digits(testLoss), count(frame.n_test));
  }
  if (frame.best !== null) rows += row("best possible", percent(frame.best), "", "");
  $("numbers").innerHTML = rows;
}

/** How long the training and the picture took. */
function showSpeed() {
  const steps = frame.at.at(-1) * frame.batches;
  const ms = 1000 * frame.seconds;
  let text = `${plural(steps, "step")} in ${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  if (frame.seconds) text += `: ${count(Number((steps / frame.seconds).toPrecision(2)))} a second`;
  const latest = stats.latencies.at(-1);
  if (latest) text += `. Picture after ${Math.round(latest)} ms`;
  const now = stats.times.at(-1);
  const recent = stats.times.filter((time) => time > now - 1000).length;
  if (recent > 4) text += `, ${recent} in a second`;
  $("took").textContent = text;
}

function curvesOf(one, dash, names) {
  const steps = Array.from(one.curve_at, (epoch) => (epoch + 1) * one.batches);
  const made = [{ xs: steps, ys: one.curve, color: "var(--accent)", dash, name: names[0] }];
  const xs = one.at.slice(1).map((epoch) => epoch * one.batches);
  const ys = xs.map((_, i) => one.scores[4 * (i + 1) + 2]);
  if (ys.some(Number.isFinite)) made.push({ xs, ys, color: "var(--test)", dash, name: names[1] });
  return made;
}

function showCurves(index) {
  const curves = curvesOf(frame, "", ["training", frame.test_is_fresh ? "fresh points" : "held out"]);
  if (pinned) curves.push(...curvesOf(pinned.frame, "4 3", ["pinned", ""]));
  const step = frame.at[index] * frame.batches;
  $("curves").innerHTML = curvesSvg(curves, step, "Loss by step, both logarithmic");
}

// --- screen readers ---------------------------------------------------------------------

let saying = 0;

/** Tell in words what is shown, once it has come to rest. */
function say() {
  clearTimeout(saying);
  saying = setTimeout(() => {
    const { loss, accuracy, testAccuracy } = scoresOf(frame, frame.at.length - 1);
    const test = frame.n_test ? `, on ${frame.test_is_fresh ? "fresh" : "held-out"} points ${percent(testAccuracy)}` : "";
    const text = frame.status === "diverged" ? frame.message
      : `Network ${frame.layers.join("-")}: training accuracy ${percent(accuracy)}${test}, loss ${loss.toPrecision(3)}.`;
    $("says").textContent = text;
    $("picture").ariaLabel = `Decision map of ${plural(frame.classes.length, "class").replace("classs", "classes")} over ${plural(frame.y.length, "point")}. ${text}`;
  }, 700);
}

// --- replay -----------------------------------------------------------------------------

let replaying = 0;

function stopReplay() {
  clearInterval(replaying);
  replaying = 0;
  $("replay").textContent = "▶";
  $("replay").ariaLabel = "Replay the training";
}

$("replay").onclick = () => {
  if (replaying) return stopReplay();
  at = 0;
  $("replay").textContent = "❚❚";
  $("replay").ariaLabel = "Stop the replay";
  replaying = setInterval(() => {
    draw();
    if (at >= frame.at.length - 1) { at = null; stopReplay(); } else at += 1;
  }, 90);
};
$("time").oninput = () => {
  stopReplay();
  const value = Number($("time").value);
  at = value >= frame.at.length - 1 ? null : value;
  draw();
};

// --- two runs ---------------------------------------------------------------------------

$("pin").onclick = () => {
  pinned = pinned ? null : { frame, settings: structuredClone(settings), net: netOf(frame, shownIndex()) };
  $("pin").textContent = pinned ? "Unpin" : "Pin this run to compare";
  $("pinned").hidden = !pinned;
  draw();
};

function showPinned(net, limits) {
  const side = 64;
  const [old, now] = [mapOf(pinned.net, limits, side), mapOf(net, limits, side)];
  const [context, width] = prepare($("pinned-map"));
  drawGround(context, width, classPixels(old, pinned.frame.classes));
  drawBoundary(context, width, boundary(old), [], 1.2);
  drawPoints(context, width, pinned.frame, limits, 1.6);
  const same = String(pinned.frame.classes) === String(frame.classes);
  const [other] = prepare($("difference"));
  other.clearRect(0, 0, width, width);
  if (same) {
    drawGround(other, width, differencePixels(old, now));
    drawBoundary(other, width, boundary(now), [], 1.2);
    drawBoundary(other, width, boundary(old), [3, 3], 1.2);
  }
  $("difference-text").textContent = same ? `differs on ${percent(disagreement(old, now))} of the picture; dashed: pinned` : "other classes";
  const changed = Object.keys(fields).filter((name) => JSON.stringify(settings[name]) !== JSON.stringify(pinned.settings[name]) && name !== "points");
  $("changes").textContent = changed.length
    ? `Pinned → now: ${changed.map((name) => `${name.replaceAll("_", " ")} ${pinned.settings[name]} → ${settings[name]}`).join("; ")}`
    : "Same settings as the pinned run; change one.";
}

// --- what one takes away ----------------------------------------------------------------

async function copy(button, text) {
  const usual = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    prompt("Copy with Ctrl-C:", text);
  }
  setTimeout(() => { button.textContent = usual; }, 1200);
}

const attempt = (work) => async (event) => {
  try { await work(event.currentTarget); } catch (error) { onerror(error.message); }
};
$("copy-link").onclick = attempt((button) => {
  const hash = toHash(settings, fields);
  return copy(button, `${location.origin}/${hash ? `#${hash}` : ""}`);
});
$("copy-python").onclick = attempt(async (button) => copy(button, (await (await post("code", settings)).json()).python));
$("copy-command").onclick = attempt(async (button) => copy(button, (await (await post("code", settings)).json()).command));
$("save-model").onclick = attempt(async () => download("model.safetensors", await (await post("model", settings)).blob()));
$("save-points").onclick = attempt(() => download("points.csv", pointsCsv(frame), "text/csv"));
$("save-figure").onclick = attempt(() => download("figure.svg", figure(), "image/svg+xml"));

function figure() {
  const index = shownIndex();
  const net = netOf(frame, index);
  const map = mapOf(net, limitsNow(), 160);
  const { accuracy } = scoresOf(frame, index);
  const words = `${settings.data}, ${frame.layers.join("-")}, step ${count(frame.at[index] * frame.batches)}, training accuracy ${percent(accuracy)}`;
  return figureSvg(frame, map, limitsNow(), classPixels(map, frame.classes), theme().ink, words);
}

// --- start ------------------------------------------------------------------------------

function onerror(message) {
  $("notice").hidden = false;
  $("notice").textContent = message;
}

function presets() {
  const select = $("preset");
  select.append(new Option("your own settings", ""));
  for (const group of new Set(about.presets.map((p) => p.group))) {
    const box = Object.assign(document.createElement("optgroup"), { label: group });
    for (const p of about.presets) if (p.group === group) box.append(new Option(p.title, p.name));
    select.append(box);
  }
  select.onchange = () => {
    const preset = about.presets.find((p) => p.name === select.value);
    if (!preset) return;
    $("see").textContent = preset.see;
    replaceAll(full(preset.settings));
  };
}

function presentPoints() {
  if (settings.data === "points" || !frame) return settings.points;
  const short = (v) => Number(v.toPrecision(5)); // the link has them all
  return Array.from(frame.y, (k, i) => [short(frame.X[2 * i]), short(frame.X[2 * i + 1]), k]);
}

function setPoints(points) {
  change((s) => Object.assign(s, { data: "points", points, scale: 1 }));
  draw();
}

const link = new Link({
  onframe,
  onerror,
  onstate: (open) => {
    if (!open) onerror("The server does not answer: is fastnn play still running? The page goes on when it does.");
    else $("notice").hidden = true;
  },
});
const controls = new Controls(about, change);
const pen = new Pen($("picture"), $("tools"), $("tool-hint"), {
  points: presentPoints,
  limits: limitsNow,
  change: (points) => { sheet = limitsNow(); setPoints(points); },
  cursor: (place) => { cursor = place; draw(); },
  most: fields.points.most,
});
const table = new TableForm({ change, setPoints: (points) => { sheet = null; setPoints(points); }, onerror });
$("clear").onclick = () => { sheet = limitsNow(); setPoints([]); };
presets();
show();
remember();
link.ask(settings);
addEventListener("hashchange", () => replaceAll(fromHash(location.hash, fields)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new ResizeObserver(draw).observe(document.querySelector("main"));
document.addEventListener("click", (event) => { if (!$("share").contains(event.target)) $("share").open = false; });

// For tests and measurements.
window.play = {
  drawNow,
  stats, about, link, figure, table,
  get settings() { return settings; },
  get frame() { return frame; },
  probabilities: (xs, ys) => netOf(frame, shownIndex()).probabilities(xs, ys).map((p) => Array.from(p)),
  colors: COLORS.map(css), isDark,
};
