// The attachment's arithmetic decoder and checksum (docs/video.md), in integers as there.

const kTop = 2 ** 24;

export class RangeDecoder {
  constructor(bytes) {
    this.bytes = bytes;
    this.position = 0;
    this.range = 0xffffffff;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = this.code * 256 + this.next();
  }
  next() {
    return this.bytes[this.position++] ?? 0;
  }
  at(total) {
    this.range = Math.floor(this.range / total);
    return Math.min(Math.floor(this.code / this.range), total - 1);
  }
  take(before, frequency) {
    this.code -= this.range * before;
    this.range *= frequency;
    while (this.range < kTop) {
      this.range *= 256;
      this.code = this.code * 256 + this.next();
    }
    if (this.position > this.bytes.length + 4) throw new Error('cut');
  }
}

export class Model {
  constructor(frequencies) {
    this.frequencies = frequencies;
    this.total = frequencies.reduce((a, b) => a + b, 0);
  }
  static even(size) {
    return new Model(new Array(size).fill(8));
  }
  static bell(size, index) {
    const q = 65536 - Math.floor(65536 / (2 + Math.floor((index * index) / 4) + index));
    const start = new Array(size), middle = size / 2;
    const times = (a, b) => Math.floor((a * b) / 65536);
    let value = 640 * 65536, ratio = q;
    for (let d = 0; d <= middle; d++) {
      const frequency = Math.max(Math.floor(value / 65536), 1);
      start[middle - d] = frequency;
      if (middle + d < size) start[middle + d] = frequency;
      value = times(value, ratio);
      ratio = times(times(ratio, q), q);
    }
    return new Model(start);
  }
  decode(coder) {
    const at = coder.at(this.total), f = this.frequencies;
    let before = 0, symbol = 0;
    while (before + f[symbol] <= at) before += f[symbol++];
    coder.take(before, f[symbol]);
    f[symbol] += 24;
    this.total += 24;
    if (this.total >= 32768) {
      this.total = 0;
      for (let i = 0; i < f.length; i++) this.total += f[i] = (f[i] + 1) >> 1;
    }
    return symbol;
  }
}

// XXH32 with seed 0.
export function xxh32(bytes) {
  const [p1, p2, p3, p4, p5] = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f, 0x165667b1];
  const turn = (x, n) => (x << n) | (x >>> (32 - n));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0, hash = p5;
  if (bytes.length >= 16) {
    const lanes = [p1 + p2, p2, 0, -p1];
    for (; at + 16 <= bytes.length; at += 16) {
      for (let i = 0; i < 4; i++)
        lanes[i] = Math.imul(turn(lanes[i] + Math.imul(view.getUint32(at + 4 * i, true), p2), 13), p1);
    }
    hash = turn(lanes[0], 1) + turn(lanes[1], 7) + turn(lanes[2], 12) + turn(lanes[3], 18);
  }
  hash = (hash + bytes.length) | 0;
  for (; at + 4 <= bytes.length; at += 4)
    hash = Math.imul(turn(hash + Math.imul(view.getUint32(at, true), p3), 17), p4);
  for (; at < bytes.length; at++) hash = Math.imul(turn(hash + Math.imul(bytes[at], p5), 11), p1);
  hash = Math.imul(hash ^ (hash >>> 15), p2);
  hash = Math.imul(hash ^ (hash >>> 13), p3);
  return (hash ^ (hash >>> 16)) >>> 0;
}
