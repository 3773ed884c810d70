// Comparison of a pinned run with the latest one.

import { mapOf } from "./net.js";
import { percent } from "./numbers.js";
import {
  boundary, classPixels, differencePixels, disagreement, drawBoundary, drawGround, drawPoints, prepare,
} from "./picture.js";

const $ = (id) => document.getElementById(id);
const SIDE = 64; // side of the grids

/** Draw the pinned run, `{frame, settings, net}`, and its difference from the current run `now`. */
export function showPinned(pinned, now, limits) {
  const [old, other] = [mapOf(pinned.net, limits, SIDE), mapOf(now.net, limits, SIDE)];
  const [context, width] = prepare($("pinned-map"));
  drawGround(context, width, classPixels(old, pinned.frame.classes));
  drawBoundary(context, width, boundary(old), [], 1.2);
  drawPoints(context, width, pinned.frame, limits, 1.6);
  const [difference] = prepare($("difference"));
  difference.clearRect(0, 0, width, width);
  let text = "other classes";
  if (String(pinned.frame.classes) === String(now.frame.classes)) {
    drawGround(difference, width, differencePixels(old, other));
    drawBoundary(difference, width, boundary(other), [], 1.2);
    drawBoundary(difference, width, boundary(old), [3, 3], 1.2);
    text = `differs on ${percent(disagreement(old, other))} of the picture; dashed: pinned`;
  }
  $("difference-text").textContent = text;
  $("changes").textContent = changes(pinned.settings, now.settings);
}

function changes(before, after) {
  const text = (value) => (Array.isArray(value) ? value.join("-") || "none" : String(value));
  const found = [];
  for (const name of Object.keys(after)) {
    if (name === "points" || JSON.stringify(before[name]) === JSON.stringify(after[name])) continue;
    found.push(`${name.replaceAll("_", " ")} ${text(before[name])} → ${text(after[name])}`);
  }
  return found.length ? `Pinned → now: ${found.join("; ")}` : "Same settings as the pinned run; change one.";
}
