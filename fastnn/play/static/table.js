// A CSV file: selection of two columns as the axes and of one as the class.

import { post } from "./link.js";

const $ = (id) => document.getElementById(id);

export class TableForm {
  constructor({ change, setPoints, onerror }) {
    Object.assign(this, { change, setPoints, onerror });
    $("file").onchange = () => this.open($("file").files[0]);
    for (const name of ["x", "y", "class"]) $(`table-${name}`).onchange = () => this.use();
  }

  async open(file) {
    if (!file) return;
    try {
      const answer = await post(`table?name=${encodeURIComponent(file.name)}`, file);
      this.table = await answer.json();
    } catch (error) {
      this.onerror(error.message);
      return;
    } finally {
      $("file").value = "";
    }
    const numbers = Object.keys(this.table.numbers);
    const classes = Object.keys(this.table.classes);
    const fill = (id, names, chosen) => {
      $(id).replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
    };
    const target = classes.at(-1);
    const axes = numbers.filter((name) => name !== target);
    fill("table-x", numbers, axes[0] ?? numbers[0]);
    fill("table-y", numbers, axes[1] ?? numbers[1]);
    fill("table-class", classes, target);
    $("table").hidden = false;
    this.use();
  }

  use() {
    const { name, numbers, classes, labels } = this.table;
    const notes = [...this.table.notes];
    const [x, y, target] = ["x", "y", "class"].map((part) => $(`table-${part}`).value);
    this.axes = [x, y];
    const points = [];
    classes[target].forEach((k, row) => {
      const [a, b] = [numbers[x][row], numbers[y][row]];
      if (k >= 0 && a !== null && b !== null) points.push([a, b, k]);
    });
    const gaps = classes[target].length - points.length;
    this.labels = labels[target];
    const said = this.labels.map((label, k) => `class ${k} is ${label}`);
    if (gaps) notes.push(`${gaps} rows with gaps are left out`);
    notes.push("features are standardised (More settings)");
    $("table-notes").textContent = `${name}: ${[...said, ...notes].join("; ").replaceAll(`${name}: `, "")}.`;
    this.change((s) => Object.assign(s, { standardize: true }));
    this.setPoints(points);
  }
}
