// A network as numbers for shaders: one pass a layer (or more, where a layer has many outputs). Activations are the
// integers of `video decode`, which 8-bit textures hold exactly.

// Keys' cubic with a = -1/2, pixel centres aligned: [scale²][25].
function bicubic(scale) {
  const kernel = (x) => {
    x = Math.abs(x);
    return x < 1 ? 1.5 * x ** 3 - 2.5 * x ** 2 + 1 : x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0;
  };
  const line = (phase) => [-2, -1, 0, 1, 2].map((tap) => kernel(tap - ((phase + 0.5) / scale - 0.5)));
  const taps = [];
  for (let p = 0; p < scale * scale; p++) {
    for (const y of line(Math.floor(p / scale))) for (const x of line(p % scale)) taps.push(y * x);
  }
  return taps;
}

// The 5×5 filter in steps of 2⁻¹⁴, each phase's sum kept by its largest tap, as integer_network.cpp has it.
function skipTaps(network) {
  const taps = bicubic(network.scale).map((tap, i) => tap + network.skip[i]);
  const largest = Math.max(...taps.map(Math.abs));
  let unit = 2 ** -14;
  while (largest / unit > 32000) unit *= 2;
  const rounded = taps.map((tap) => Math.sign(tap) * Math.round(Math.abs(tap) / unit));
  for (let p = 0; p < taps.length; p += 25) {
    let heaviest = p, sum = 0, total = 0;
    for (let i = p; i < p + 25; i++) {
      if (Math.abs(rounded[i]) > Math.abs(rounded[heaviest])) heaviest = i;
      sum += taps[i];
      total += rounded[i];
    }
    rounded[heaviest] += Math.round(sum / unit) - total;
  }
  return rounded.map((tap) => tap * unit);
}

const groups = (channels) => Math.ceil(channels / 4);

// passes: {layer, kind, inputs, first, outputs (groups of four), most, data}. data, in fours: weights
// [tap][input][output][4] (of the head [tap][output]), biases [output], multipliers [output], and of the tail the 5×5
// filter's [tap][output]. mostVectors, mostOutputs: what the device takes in one pass.
export function plan(network, mostVectors, mostOutputs) {
  const passes = [], { layers, levels } = network, skip = skipTaps(network);
  const tail = layers.at(-1) ?? { in: 0, out: network.scale ** 2 };
  let unit = 1 / 255;
  (layers.length ? layers : [tail]).forEach((layer, number) => {
    const kind = layer === tail ? 'tail' : number === 0 ? 'head' : 'hidden';
    const inputs = kind === 'head' ? 1 : groups(layer.in), all = groups(layer.out), each = kind === 'head' ? 1 : 4;
    const size = (n) => n * (9 * inputs * each + 2 + (kind === 'tail' ? 25 : 0));
    let outputs = Math.min(all, mostOutputs);
    while (outputs > 1 && size(outputs) > mostVectors) outputs--;
    const next = (layer.most ?? 0) / levels;
    for (let first = 0; first < all; first += outputs) {
      const n = Math.min(outputs, all - first), data = new Float32Array(4 * size(n));
      const bias = 4 * n * 9 * inputs * each;
      for (let o = first * 4; o < Math.min(layer.out, (first + n) * 4); o++) {
        const g = Math.floor(o / 4) - first, lane = o % 4, weight = (i, t) => layer.codes[(o * layer.in + i) * 9 + t];
        for (let i = 0; i < layer.in; i++) {
          for (let t = 0; t < 9; t++) {
            const vector = kind === 'head' ? t * n + g : ((t * inputs + (i >> 2)) * n + g) * 4 + (i & 3);
            data[4 * vector + lane] = weight(i, t);
          }
        }
        const sum = layer.codes ? layer.scales[o] * unit : 0;
        let offset = layer.bias?.[o] ?? 0;
        if (kind === 'head') for (let t = 0; t < 9; t++) offset -= 0.5 * weight(0, t) * layer.scales[o];
        if (kind === 'tail') {
          data[bias + 4 * g + lane] = offset * 255;
          data[bias + 4 * (n + g) + lane] = sum * 255;
          for (let t = 0; t < 25; t++) data[bias + 4 * (2 * n + t * n + g) + lane] = skip[o * 25 + t];
        } else {
          const used = sum > next * 1e-7 ? sum : next / 1024;
          if (used !== sum) for (let i = 0; i < layer.in; i++) for (let t = 0; t < 9; t++) {
            data[4 * (kind === 'head' ? t * n + g : ((t * inputs + (i >> 2)) * n + g) * 4 + (i & 3)) + lane] = 0;
          }
          data[bias + 4 * g + lane] = Math.round(offset / used);
          data[bias + 4 * (n + g) + lane] = used / next;
        }
      }
      passes.push({ layer: number, kind, inputs: layers.length ? inputs : 0, first, outputs: n, most: levels, data });
    }
    unit = next;
  });
  return { passes, layers: Math.max(layers.length, 1), hidden: Math.max(0, ...layers.slice(0, -1).map((l) => groups(l.out))), scale: network.scale };
}

// What chroma without a network of its own gets.
export const plainNetwork = (scale) => ({ scale, levels: 255, layers: [], skip: new Array(scale * scale * 25).fill(0) });
