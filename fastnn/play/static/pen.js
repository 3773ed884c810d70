// Drawing and erasing points on the picture, with the mouse, a finger or the keyboard.

import { COLORS, css, markPath } from "./picture.js";

const NAMES = ["blue circles", "orange triangles", "green squares", "pink diamonds"];
const APART = 0.022; // distance between two points of a stroke, as a fraction of the picture
const ERASER = 0.04;

export function mark(k) {
  const look = `fill="${css(COLORS[k])}" stroke="currentColor" stroke-width=".7"`;
  const path = `<path d="${markPath(k, 0, 0, 4.6)}" ${look}/>`;
  return `<svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">${path}</svg>`;
}

export class Pen {
  /** `points()` returns the current points, `limits()` the limits of the picture; `change(points)` sets new points. */
  constructor(canvas, tools, hint, { points, limits, change, cursor, most }) {
    Object.assign(this, { canvas, hint, points, limits, change, cursor, most });
    this.tool = "look";
    this.build(tools);
    this.at = [0.5, 0.5];
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.up());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => cursor(null));
  }

  build(tools) {
    const choices = [["look", "Look"], ...NAMES.map((name, k) => [k, name]), ["erase", "Erase"]];
    for (const [tool, name] of choices) {
      const label = document.createElement("label");
      const text = typeof tool === "number" ? mark(tool) : name;
      label.innerHTML = `<input type="radio" name="tool" value="${tool}" ${tool === "look" ? "checked" : ""}>${text}`;
      label.title = typeof tool === "number" ? `Draw ${name}` : name;
      label.firstChild.ariaLabel = label.title;
      label.firstChild.onchange = () => this.choose(tool);
      tools.append(label);
    }
    this.choose("look");
  }

  choose(tool) {
    this.tool = tool;
    this.canvas.classList.toggle("drawing", tool !== "look");
    this.canvas.role = tool === "look" ? "img" : "application"; // an application receives arrow keys
    this.hint.textContent = tool === "look"
      ? "Choose a class to draw points of your own, with the mouse or with arrow keys and Enter."
      : tool === "erase"
        ? "Drag over points, or move the cross with the arrow keys and press Enter."
        : `Drag to draw ${NAMES[tool]}; arrow keys move the cross, Enter draws, Delete erases.`;
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  down(event) {
    if (this.tool === "look" || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drawing = true;
    this.last = null;
    this.move(event);
  }

  move(event) {
    if (!this.drawing) return;
    const at = this.place(event);
    if (this.tool === "erase") this.erase(at);
    else if (!this.last || Math.hypot(at[0] - this.last[0], at[1] - this.last[1]) >= APART) {
      this.last = at;
      this.add(at, this.tool);
    }
  }

  up() {
    this.drawing = false;
  }

  key(event) {
    if (this.tool === "look") return;
    const step = event.shiftKey ? 0.1 : 0.02;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (by) {
      this.at = this.at.map((v, i) => Math.max(0, Math.min(1, v + by[i])));
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.tool === "erase") this.erase(this.at); else this.add(this.at, this.tool);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.erase(this.at);
    } else return;
    event.preventDefault();
    this.cursor(this.at);
  }

  add([x, y], k) {
    const points = this.points();
    if (x < 0 || x > 1 || y < 0 || y > 1 || points.length >= this.most) return;
    const [left, right, bottom, top] = this.limits();
    const digits = (value, width) => { // round to about a thousandth of the picture
      const more = Math.ceil(Math.log10(Math.abs(value) / width + 1));
      return Number(value.toPrecision(3 + more));
    };
    this.change([...points, [
      digits(left + x * (right - left), right - left), digits(top - y * (top - bottom), top - bottom), k,
    ]]);
  }

  erase([x, y]) {
    const [left, right, bottom, top] = this.limits();
    const points = this.points();
    const kept = points.filter(([px, py]) =>
      Math.hypot((px - left) / (right - left) - x, (top - py) / (top - bottom) - y) > ERASER);
    if (kept.length < points.length) this.change(kept);
  }
}
