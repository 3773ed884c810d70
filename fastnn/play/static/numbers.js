// The results of a frame: table, legend, loss curves, and a description in words.

import { curvesSvg } from "./curves.js";
import { mark } from "./pen.js";

const $ = (id) => document.getElementById(id);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const count = (n) => n.toLocaleString("en");
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
const digits = (v) => (Number.isFinite(v) ? v.toPrecision(4) : "–");
const limitText = (v) => String(Number(v.toPrecision(4))).replace("-", "−");
const testName = (frame) => (frame.test_is_fresh ? "fresh points" : "held out");

export const stepOf = (frame, index) => frame.at[index] * frame.batches;

/** Losses and accuracies at a snapshot. */
export function scoresOf(frame, index) {
  const [loss, accuracy, testLoss, testAccuracy] = frame.scores.subarray(4 * index, 4 * index + 4);
  return { loss, accuracy, testLoss, testAccuracy };
}

export function showNumbers(frame, index) {
  const { loss, accuracy, testAccuracy, testLoss } = scoresOf(frame, index);
  const row = (name, share, value, points) =>
    `<tr><th scope="row">${name}</th><td>${share}</td><td>${value}</td><td>${points}</td></tr>`;
  const heads = ["accuracy", "loss", "points"].map((name) => `<th scope="col">${name}</th>`);
  let rows = `<tr><td></td>${heads.join("")}</tr>`;
  rows += row("training", percent(accuracy), digits(loss), count(frame.n_train));
  if (frame.n_test) rows += row(testName(frame), percent(testAccuracy), digits(testLoss), count(frame.n_test));
  if (frame.best !== null) rows += row("best possible", percent(frame.best), "", "");
  $("numbers").innerHTML = rows;
}

/** Show the time of training and of the picture, from the `latencies` and `times` of the pictures so far. */
export function showSpeed(frame, { latencies, times }) {
  const steps = stepOf(frame, frame.at.length - 1);
  const ms = 1000 * frame.seconds;
  let text = `${plural(steps, "step")} in ${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  if (frame.seconds) text += `: ${count(Number((steps / frame.seconds).toPrecision(2)))} steps/s`;
  if (latencies.length) text += `. Picture after ${Math.round(latencies.at(-1))} ms`;
  const recent = times.filter((time) => time > times.at(-1) - 1000).length;
  if (recent > 4) text += `, ${recent} frames/s`;
  $("took").textContent = text;
}

let legendShown = "";

/** Show classes and axes, with the names of the table if the points are from one. */
export function showLegend(frame, limits, { axes: names = ["x", "y"], labels = [] }) {
  const range = (k) => `${names[k]} ${limitText(limits[2 * k])} to ${limitText(limits[2 * k + 1])}`;
  const axes = `${range(0)}, ${range(1)}`;
  const heldOut = frame.held_out.some((v) => v);
  const key = JSON.stringify([frame.classes, heldOut, axes, labels]);
  if (key === legendShown) return;
  legendShown = key;
  const item = (text, before = "") => {
    const span = document.createElement("span");
    span.innerHTML = before;
    span.append(text); // may be from a file: insert as text, never as HTML
    return span;
  };
  const items = frame.classes.map((k) => item(labels[k] ?? `class ${k}`, mark(k)));
  if (heldOut) items.push(item("hollow: held out"));
  $("legend").replaceChildren(...items, item(axes));
}

function curvesOf(frame, dash, names) {
  const steps = Array.from(frame.curve_at, (epoch) => (epoch + 1) * frame.batches);
  const made = [{ xs: steps, ys: frame.curve, color: "var(--accent)", dash, name: names[0] }];
  const xs = frame.at.slice(1).map((epoch) => epoch * frame.batches);
  const ys = xs.map((_, i) => frame.scores[4 * (i + 1) + 2]);
  if (ys.some(Number.isFinite)) made.push({ xs, ys, color: "var(--test)", dash, name: names[1] });
  return made;
}

export function showCurves(frame, pinned, index) {
  const curves = curvesOf(frame, "", ["training", testName(frame)]);
  if (pinned) curves.push(...curvesOf(pinned, "4 3", ["pinned", ""]));
  $("curves").innerHTML = curvesSvg(curves, stepOf(frame, index), "Loss by step, both logarithmic");
}

/** The result of a training in words, for screen readers. */
export function inWords(frame) {
  if (frame.status === "diverged") return frame.message;
  const { loss, accuracy, testAccuracy } = scoresOf(frame, frame.at.length - 1);
  const where = frame.test_is_fresh ? "fresh points" : "held-out points";
  const test = frame.n_test ? `, on ${where} ${percent(testAccuracy)}` : "";
  return `Network ${frame.layers.join("-")}: training accuracy ${percent(accuracy)}${test}, loss ${loss.toPrecision(3)}.`;
}
