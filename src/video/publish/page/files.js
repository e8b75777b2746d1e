// The small files of a segment: its networks and which of them restores what (docs/video_web.md).
import { Model, RangeDecoder, xxh32 } from './coder.js';

class Bytes {
  // Checks the magic, the version and the checksum at the end.
  constructor(buffer, magic, versions) {
    this.bytes = new Uint8Array(buffer);
    this.at = 5;
    const n = this.bytes.length;
    if (n < 9 || String.fromCharCode(...this.bytes.subarray(0, 4)) !== magic) throw new Error('damaged');
    if (!versions.includes(this.bytes[4])) throw new Error(`of another version (${this.bytes[4]})`);
    if (new DataView(buffer).getUint32(n - 4, true) !== xxh32(this.bytes.subarray(0, n - 4))) throw new Error('damaged');
  }
  byte() {
    if (this.at >= this.bytes.length - 4) throw new Error('damaged');
    return this.bytes[this.at++];
  }
  signed() {
    return (this.byte() << 24) >> 24;
  }
  varint() {
    for (let value = 0, unit = 1; ; unit *= 128) {
      const byte = this.byte();
      value += (byte & 127) * unit;
      if (byte < 128) return value;
      if (unit > 2 ** 42) throw new Error('damaged');
    }
  }
  take(count) {
    if (this.at + count > this.bytes.length - 4) throw new Error('damaged');
    return this.bytes.subarray(this.at, (this.at += count));
  }
}

// 2^(code / 8) as binary16 has it.
function scaleValue(code) {
  if (code === -128) return 0;
  const value = 2 ** (Math.min(Math.max(code, -112), 64) / 8), unit = 2 ** (Math.floor(Math.log2(value)) - 10);
  return Math.round(value / Math.max(unit, 2 ** -24)) * Math.max(unit, 2 ** -24);
}

// Inputs and outputs of each 3×3 layer of the kinds that the page runs: linear, chain, ESPCN.
function shapes(kind, channels, depth, outputs) {
  if (kind === 0) return [];
  const widths = kind === 1 ? [1, ...new Array(depth + 1).fill(channels), outputs] : kind === 2 ? [1, 64, 64, 32, outputs] : null;
  if (!widths) throw new Error('of a kind that pages do not run');
  return widths.slice(1).map((out, i) => ({ in: widths[i], out }));
}

function readNetwork(bytes, end, scale) {
  const chroma = bytes.byte(), bits = bytes.byte();
  const layers = shapes(bytes.byte(), bytes.byte(), bytes.byte(), scale * scale);
  if (bytes.byte() !== 1 || bits < 4 || bits > 8) throw new Error('of a kind that pages do not run');
  layers.forEach((layer, i) => {
    layer.unit = 2 ** Math.min(Math.max(bytes.signed(), -24), 8);
    if (i + 1 < layers.length) layer.most = scaleValue(bytes.signed());
  });
  const coder = new RangeDecoder(bytes.take(end - bytes.at));
  const table = (count, size) => {
    const bell = coder.at(64);
    coder.take(bell, 1);
    const model = Model.bell(size, bell);
    return Array.from({ length: count }, () => model.decode(coder) - size / 2);
  };
  for (const layer of layers) {
    layer.scales = table(layer.out, 256).map(scaleValue);
    layer.bias = table(layer.out, 256).map((code) => code * layer.unit);
    layer.codes = table(layer.out * layer.in * 9, 1 << bits);
  }
  const scales = table(scale * scale, 256).map(scaleValue);
  const skip = table(scale * scale * 25, 256).map((code, i) => code * scales[Math.floor(i / 25)]);
  return { chroma: chroma === 1, scale, levels: bits === 8 ? 127 : 255, layers, skip };
}

// An attachment with one network for luma, and perhaps one for chroma.
export function readNetworkFile(buffer) {
  const bytes = new Bytes(buffer, 'CARN', [1, 2]);
  const scale = bytes.byte(), found = {};
  for (let i = 0; i < 4; i++) bytes.varint();  // the sizes, which the index tells too
  for (let kind; (kind = bytes.byte()) !== 0; ) {
    const end = bytes.varint() + bytes.at;
    if (kind !== 1) throw new Error('of a kind that pages do not run');
    const network = readNetwork(bytes, end, scale);
    found[network.chroma ? 'chroma' : 'luma'] = network;
  }
  if (!found.luma) throw new Error('damaged');
  return found;
}

function readLabels(bytes, networks, width, height) {
  const size = bytes.varint(), end = bytes.at + size;
  if (size === 0) return null;
  const labels = { width: bytes.varint(), height: bytes.varint(), frames: [] }, frames = bytes.varint();
  const columns = (labels.columns = Math.ceil(width / labels.width));
  labels.rows = Math.ceil(height / labels.height);
  const coder = new RangeDecoder(bytes.take(end - bytes.at));
  const changed = [0, 1, 2].map(() => Model.even(2));
  const values = Array.from({ length: networks }, () => Model.even(networks));
  const changes = new Uint8Array(columns * labels.rows);
  for (let f = 0, before = null; f < frames; f++) {
    const frame = new Uint8Array(columns * labels.rows);
    for (let p = 0; p < frame.length; p++) {
      const left = p % columns !== 0, up = p >= columns;
      if (before) {
        changes[p] = changed[(left ? changes[p - 1] : 0) + (up ? changes[p - columns] : 0)].decode(coder);
        if (changes[p] === 0) {
          frame[p] = before[p];
          continue;
        }
      }
      frame[p] = values[left ? frame[p - 1] : up ? frame[p - columns] : 0].decode(coder);
    }
    labels.frames.push((before = frame));
  }
  return labels;
}

// N.cairn. rate: of the index, whose small video's size counts.
export function readSegmentFile(buffer, rate) {
  const bytes = new Bytes(buffer, 'CSEG', [1]);
  const count = bytes.varint(), starts = [0], levels = [];
  while (starts.length <= count) {
    const times = bytes.varint(), ticks = bytes.varint();
    for (let i = 0; i < times && starts.length <= count; i++) starts.push(starts.at(-1) + ticks);
  }
  for (let left = bytes.varint(); left > 0; left--) {
    const level = { networks: [], runs: [] };
    for (let n = bytes.varint(); n > 0; n--)
      level.networks.push([...bytes.take(8)].reverse().map((b) => b.toString(16).padStart(2, '0')).join(''));
    level.labels = readLabels(bytes, level.networks.length, rate.width, rate.height);
    for (let known = 0; !level.labels && known < count; known += level.runs.at(-1).frames)
      level.runs.push({ frames: bytes.varint() || count, network: bytes.varint() });
    levels.push(level);
  }
  return { starts, levels };
}

// Rectangles of small pixels that each network of a level restores in a frame: [[network, [x0, y0, x1, y1, …]], …].
export function rectangles(level, frame, width, height) {
  if (!level.labels) {
    let run = 0;
    for (let at = level.runs[0].frames; at <= frame && run + 1 < level.runs.length; ) at += level.runs[++run].frames;
    return [[level.runs[run].network, [0, 0, width, height]]];
  }
  const { columns, rows, frames, width: w, height: h } = level.labels, map = frames[Math.min(frame, frames.length - 1)];
  const found = new Map();
  for (let row = 0; row < rows; row++) {
    for (let left = 0, right; left < columns; left = right) {
      const label = map[row * columns + left];
      for (right = left + 1; right < columns && map[row * columns + right] === label; ) right++;
      if (!found.has(label)) found.set(label, []);
      found.get(label).push(left * w, row * h, Math.min(right * w, width), Math.min(row * h + h, height));
    }
  }
  return [...found];
}
