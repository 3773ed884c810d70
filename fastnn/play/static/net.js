// Forward pass of a network sent by the server, over many points at once.

const ACTIVATIONS = {
  identity: (z) => z,
  tanh: Math.tanh,
  sigmoid: (z) => 1 / (1 + Math.exp(-z)),
  relu: (z) => (z > 0 ? z : 0),
  leaky_relu: (z) => (z > 0 ? z : 0.01 * z),
  elu: (z) => (z > 0 ? z : Math.expm1(z)),
  softplus: (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))),
  silu: (z) => z / (1 + Math.exp(-z)),
  gelu: (z) => 0.5 * z * (1 + erf(z / Math.SQRT2)),
  selu: (z) => 1.0507009873554805 * (z > 0 ? z : 1.6732632423543772 * Math.expm1(z)),
  mish: (z) => z * Math.tanh(ACTIVATIONS.softplus(z)),
};

// Abramowitz and Stegun 7.1.26: the error is at most 1.5e-7, too small to be visible.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - poly * Math.exp(-x * x));
}

export class Net {
  /** `header` has layers, activations, shift and scale; `params` has weights, then biases, of each layer. */
  constructor(header, params) {
    this.sizes = header.layers;
    this.activations = header.activations;
    this.shift = header.shift;
    this.scale = header.scale;
    this.params = params;
  }

  /** Number of multiplications per point: the cost of the forward pass. */
  get work() {
    return this.sizes.slice(1).reduce((sum, n, i) => sum + n * this.sizes[i], 0);
  }

  /** Weights of a layer, `[from * units + to]`. */
  weights(layer) {
    let start = 0;
    for (let i = 0; i < layer; i++) start += (this.sizes[i] + 1) * this.sizes[i + 1];
    return this.params.subarray(start, start + this.sizes[layer] * this.sizes[layer + 1]);
  }

  /** Outputs of every unit of every layer, probabilities last: `[layer][unit][point]`. */
  layers(xs, ys) {
    const n = xs.length;
    let inputs = [Float32Array.from(xs), Float32Array.from(ys)];
    if (this.shift) {
      inputs = [xs, ys].map((values, k) =>
        Float32Array.from(values, (v) => (v - this.shift[k]) * this.scale[k]));
    }
    const all = [];
    let at = 0;
    for (let layer = 0; layer + 1 < this.sizes.length; layer++) {
      const [from, to] = [this.sizes[layer], this.sizes[layer + 1]];
      const biases = at + from * to;
      const last = layer + 2 === this.sizes.length;
      const activation = ACTIVATIONS[this.activations[layer]];
      const outputs = [];
      for (let j = 0; j < to; j++) {
        const z = new Float32Array(n).fill(this.params[biases + j]);
        for (let i = 0; i < from; i++) {
          const [w, input] = [this.params[at + i * to + j], inputs[i]];
          for (let p = 0; p < n; p++) z[p] += w * input[p];
        }
        if (!last) for (let p = 0; p < n; p++) z[p] = activation(z[p]);
        outputs.push(z);
      }
      if (last) {
        this.inputs = outputs.map((z) => z.slice()); // net inputs of the output layer
        softmax(outputs);
      }
      all.push(outputs);
      inputs = outputs;
      at = biases + to;
    }
    return all;
  }

  /** Probabilities of the classes: `[class][point]`. */
  probabilities(xs, ys) {
    return this.layers(xs, ys).at(-1);
  }
}

function softmax(outputs) {
  for (let p = 0; p < outputs[0].length; p++) {
    let [most, sum] = [-Infinity, 0];
    for (const z of outputs) most = Math.max(most, z[p]);
    for (const z of outputs) sum += z[p] = Math.exp(z[p] - most);
    for (const z of outputs) z[p] /= sum;
  }
}

/** Centres of the cells of a grid over `limits`, rows from top to bottom. */
export function grid(limits, side) {
  const [left, right, bottom, top] = limits;
  const [xs, ys] = [new Float64Array(side * side), new Float64Array(side * side)];
  for (let row = 0, p = 0; row < side; row++) {
    for (let column = 0; column < side; column++, p++) {
      xs[p] = left + ((column + 0.5) / side) * (right - left);
      ys[p] = top - ((row + 0.5) / side) * (top - bottom);
    }
  }
  return [xs, ys];
}

/** Side of the grid of a picture, from 40 to 96: smaller for larger networks, to limit the work per frame. */
export function gridSide(net) {
  return Math.round(Math.min(96, Math.max(40, Math.sqrt(6e6 / (net.work + 30)))));
}

/** The network of a snapshot of a frame. */
export function netOf(frame, index) {
  const size = frame.params.length / frame.at.length;
  return new Net(frame, frame.params.subarray(index * size, (index + 1) * size));
}

/** Probabilities and net inputs of the classes on a grid. */
export function mapOf(net, limits, side) {
  const p = net.probabilities(...grid(limits, side));
  return { side, p, z: net.inputs };
}
