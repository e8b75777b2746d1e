// The order of passes, the same for WebGL and WebGPU: what draws them is below (gl.js, gpu.js), which give
//   texture(width, height, layers, one channel?), remove(texture), fill(texture, bytes), picture(texture, source),
//   numbers(Float32Array) and free() of it, pass({body, numbers, vectors, targets, textures, rects, grown, moved, origin}),
//   begin(), end().
import { plan, plainNetwork } from './plan.js';
import { kPlanes, kShow, layerBody } from './shaders.js';

export class Passes {
  // A network that is ready to run.
  load(network) {
    const made = plan(network, this.mostVectors, this.mostOutputs);
    for (const pass of made.passes) {
      pass.body = layerBody(pass);
      pass.numbers = this.numbers(pass.data);
      pass.vectors = pass.data.length / 4;
    }
    return made;
  }

  // Textures of one size of small video, made anew when it changes. format: {width, height, chroma: [width, height]}.
  prepare({ width, height, chroma }) {
    const key = `${width} ${height} ${chroma}`;
    if (this.key === key) return;
    Object.values(this.textures ?? {}).forEach((texture) => this.remove(texture));
    this.key = key;
    this.textures = {};
    this.planes = [[width, height], chroma, chroma].map(([w, h], i) => (this.textures[`plane${i}`] = this.texture(w, h, 1, true)));
  }
  scratch(name, width, height, layers) {
    return (this.textures[`${name} ${width} ${height} ${layers}`] ??= this.texture(width, height, layers, false));
  }
  upload(format, planes) {
    this.prepare(format);
    planes.forEach((bytes, i) => this.fill(this.planes[i], bytes));
  }
  // The same of a picture in RGB.
  uploadPicture({ width, height }, source, matrix) {
    this.prepare({ width, height, chroma: [width, height] });
    const rgb = this.scratch('rgb', width, height, 1);
    this.picture(rgb, source);
    this.begin();
    this.pass({ body: kPlanes, numbers: (this.fromRgb ??= this.numbers(matrix)), vectors: 4, targets: this.planes.map((plane) => [plane, 0]),
      textures: [rgb, rgb, rgb], rects: [0, 0, width, height] });
    this.end();
  }

  // Runs a network on rectangles of a plane; returns the texture with its samples, scale² a texel. A frame goes on beyond
  // its edges by its edges' samples, so hidden layers are as much larger as later ones reach.
  run(made, number, rects) {
    const plane = this.planes[number], { width, height } = plane, last = made.layers - 1;
    const out = this.scratch(`out${number}`, width, height, Math.ceil(made.scale ** 2 / 4));
    const hidden = made.hidden && [0, 1].map((i) => this.scratch(`hidden${i}`, width + 2 * last, height + 2 * last, made.hidden));
    for (const pass of made.passes) {
      const { layer, first, outputs } = pass, head = pass.kind === 'head', tail = pass.kind === 'tail', target = tail ? out : hidden[layer % 2];
      this.pass({ ...pass, targets: Array.from({ length: outputs }, (_, i) => [target, first + i]), rects, grown: last - layer, moved: tail ? 0 : last,
        origin: head ? -last : tail ? last : 0, textures: [head || !hidden ? plane : hidden[(layer + 1) % 2], plane, plane] });
    }
    return out;
  }

  // luma: [[loaded network, rectangles], …]; chroma: a loaded network, or null; show: {width, height, matrix, sited}.
  draw(luma, chroma, { width, height, matrix, sited }) {
    const scale = luma[0][0].scale, { planes, canvas } = this;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.begin();
    for (const [made, rects] of luma) this.luma = this.run(made, 0, rects);
    if (!chroma && scale > 1) chroma = this.plain?.scale === scale ? this.plain : (this.plain = this.load(plainNetwork(scale)));
    const rest = [1, 2].map((i) => (chroma ? this.run(chroma, i, [0, 0, planes[i].width, planes[i].height]) : planes[i]));
    const half = [planes[0].width > planes[1].width ? 2 : 1, planes[0].height > planes[1].height ? 2 : 1], key = `${scale} ${half}`;
    if (this.shownKey !== key) {
      this.toRgb = this.numbers(new Float32Array([...matrix, ...half, Math.ceil(width / half[0]), Math.ceil(height / half[1]),
        scale, scale, half[0] === 2 ? sited[0] : 0, half[1] === 2 ? sited[1] : 0]));
      this.shownKey = key;
    }
    this.pass({ body: kShow, numbers: this.toRgb, vectors: 6, targets: null, textures: [this.luma, ...rest], rects: [0, 0, width, height] });
    this.end(true);
  }
}
