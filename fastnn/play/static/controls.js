// The controls: one for each field of the settings, with the bounds sent by the server.

const drawn = (s) => s.data !== "points";
/** Field, label, kind and panel of each control; `when` says whether the field applies. */
const SPECS = [
  { name: "data", label: "Points", kind: "select", panel: "data" },
  {
    name: "noise", label: "Noise", kind: "range", panel: "data", step: 0.01, most: 0.6,
    when: (s, about) => about.noisy.includes(s.data),
  },
  { name: "samples", label: "Number of points", kind: "log", panel: "data", whole: true, when: drawn },
  {
    name: "classes", label: "Classes", kind: "range", panel: "data", step: 1,
    when: (s, about) => drawn(s) && about.several_classes.includes(s.data),
  },
  { name: "factor", label: "Inner radius", kind: "range", panel: "data", step: 0.01, when: (s) => s.data === "circles" },
  { name: "held_out", label: "Share held out", kind: "range", panel: "data", step: 0.05 },
  { name: "data_seed", label: "Seed of the points", kind: "number", panel: "data", when: drawn },
  { name: "learning_rate", label: "Learning rate", kind: "log", panel: "training", least: 1e-4, most: 100 },
  { name: "steps", label: "Steps", kind: "log", panel: "training", whole: true },
  { name: "optimizer", label: "Update rule", kind: "select", panel: "training" },
  { name: "l2", label: "L2", kind: "log", panel: "training", least: 1e-6, most: 1, zero: true },
  {
    name: "batch_size", label: "Batch size (0: all)", kind: "log", panel: "training",
    whole: true, least: 1, most: 1000, zero: true,
  },
  {
    name: "momentum", label: "Momentum", kind: "range", panel: "training", step: 0.01, most: 0.99,
    when: (s) => s.optimizer === "sgd",
  },
  { name: "dropout", label: "Dropout", kind: "range", panel: "more", step: 0.05 },
  { name: "initializer", label: "Initial weights", kind: "select", panel: "more" },
  { name: "seed", label: "Seed of the weights", kind: "number", panel: "more" },
  { name: "standardize", label: "Standardise features", kind: "check", panel: "more" },
  { name: "scale", label: "Features times", kind: "log", panel: "more", least: 1e-3, most: 1e4 },
  { name: "dtype", label: "Numbers", kind: "select", panel: "more" },
  { name: "backend", label: "Backend", kind: "select", panel: "more" },
];

const RANGE_STEPS = 200; // positions of a logarithmic slider

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Round to two significant digits, and to an integer if the field requires one. */
function rounded(value, spec) {
  const short = Number(value.toPrecision(2));
  return spec.whole ? Math.round(short) : short;
}

function toSlider(value, spec) {
  if (spec.zero && value === 0) return 0;
  const share = Math.log(value / spec.least) / Math.log(spec.most / spec.least);
  return Math.round(Math.max(spec.zero ? 1 : 0, Math.min(RANGE_STEPS, share * RANGE_STEPS)));
}

function fromSlider(position, spec) {
  if (spec.zero && position === 0) return 0;
  if (position === 0) return spec.least;
  return rounded(spec.least * (spec.most / spec.least) ** (position / RANGE_STEPS), spec);
}

export class Controls {
  /** `change(edit)` is called with a function that edits the settings. */
  constructor(about, change) {
    this.about = about;
    this.items = SPECS.map((given) => {
      const field = about.fields[given.name];
      const spec = { least: field.minimum, most: field.maximum, ...given };
      const id = `f-${spec.name}`;
      const set = (value) => change((s) => { s[spec.name] = value; });
      const inputs = this.inputs(spec, field, id, set);
      const label = element("label", { htmlFor: id, textContent: spec.label });
      const box = element("div", { className: "control" }, label, ...inputs);
      document.getElementById(`c-${spec.panel}`).append(box);
      return { spec, box, inputs };
    });
  }

  inputs(spec, field, id, set) {
    if (spec.kind === "select") {
      const choices = spec.name === "backend" ? this.about.backends : field.choices;
      const select = element("select", { id, onchange: () => set(select.value) });
      for (const name of choices) {
        const text = name === "points" ? "drawn, or of a file" : name;
        select.append(element("option", { value: name, textContent: text }));
      }
      return [select];
    }
    if (spec.kind === "check") {
      const box = element("input", { id, type: "checkbox", onchange: () => set(box.checked) });
      return [box];
    }
    const number = element("input", {
      id, type: "number", min: field.minimum, max: field.maximum, step: "any",
      onchange: () => {
        if (number.value !== "" && number.validity.valid) set(Number(number.value));
        else this.show(this.shown);
      },
    });
    if (spec.kind === "number") {
      number.step = 1;
      return [number];
    }
    const log = spec.kind === "log";
    const slider = element("input", {
      type: "range", ariaLabel: spec.label, min: log ? 0 : spec.least, max: log ? RANGE_STEPS : spec.most,
      step: log ? 1 : spec.step,
      oninput: () => set(log ? fromSlider(Number(slider.value), spec) : Number(slider.value)),
    });
    slider.dataset.field = spec.name;
    return [number, slider];
  }

  /** Show settings; controls that do not apply to them are hidden. */
  show(settings) {
    this.shown = settings;
    for (const { spec, box, inputs } of this.items) {
      box.hidden = spec.when ? !spec.when(settings, this.about) : false;
      const value = settings[spec.name];
      const [first, slider] = inputs;
      if (spec.kind === "check") first.checked = value;
      else if (spec.kind === "select" || Number(first.value) !== value || first.value === "") first.value = value;
      if (slider) {
        const position = spec.kind === "log" ? toSlider(value, spec) : value;
        const now = Number(slider.value);
        if (now !== position && fromSlider(now, spec) !== value) slider.value = position;
        slider.ariaValueText = String(value);
      }
    }
  }
}
