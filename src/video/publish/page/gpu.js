// Restoring by WebGPU: the same passes as gl.js, in WGSL.
import { plan, plainNetwork } from './plan.js';

const kHead = `struct Pass { place: vec4f, edge: vec2i, origin: vec2i };
@group(0) @binding(0) var<uniform> pass_: Pass;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var t: texture_2d_array<f32>;
@group(0) @binding(3) var plane: texture_2d_array<f32>;
@group(0) @binding(4) var other: texture_2d_array<f32>;
@vertex fn corner(@builtin(vertex_index) i: u32, @location(0) rect: vec4f) -> @builtin(position) vec4f {
  let at = mix(rect.xy - pass_.place.x, rect.zw + pass_.place.x, vec2f(f32(i & 1), f32(i >> 1))) + pass_.place.y;
  return vec4f(at / pass_.place.zw * vec2f(2, -2) + vec2f(-1, 1), 0, 1);
}
`;

function layerShader({ kind, inputs, outputs, most }) {
  const all = [...Array(outputs).keys()], bias = 9 * inputs * outputs * (kind === 'head' ? 1 : 4);
  const each = (text) => all.map((o) => text.replaceAll('#', o)).join(' ');
  const read = kind === 'head'
    ? `let v = round(textureLoad(t, clamp(p + d, vec2i(0), pass_.edge), 0, 0).r * 255); let k = tap * ${outputs}; ${each('s# += w[k + #] * v;')}`
    : `for (var i = 0; i < ${inputs}; i++) { let v = round(textureLoad(t, p + d, i, 0) * 255); let k = (tap * ${inputs} + i) * ${4 * outputs};
        ${all.map((o) => `s${o} += mat4x4f(${[0, 1, 2, 3].map((c) => `w[k + ${4 * o + c}]`).join(', ')}) * v;`).join(' ')} }`;
  const conv = inputs ? `for (var tap = 0; tap < 9; tap++) { let d = vec2i(tap % 3, tap / 3) - 1; ${read} }` : '';
  const skip = kind !== 'tail' ? '' : `for (var tap = 0; tap < 25; tap++) {
      let v = round(textureLoad(plane, clamp(q + vec2i(tap % 5, tap / 5) - 2, vec2i(0), pass_.edge), 0, 0).r * 255);
      let k = ${bias + 2 * outputs} + tap * ${outputs}; ${each('s# += w[k + #] * v;')} }`;
  const start = kind === 'tail' ? 'vec4f(0)' : `w[${bias} + #]`;
  const scale = kind === 'tail' ? each(`s# = s# * w[${bias + outputs} + #] + w[${bias} + #];`) : each(`s# *= w[${bias + outputs} + #];`);
  return `${kHead}struct Out { ${each('@location(#) o#: vec4f,')} };
@fragment fn main(@builtin(position) at: vec4f) -> Out {
  let q = vec2i(at.xy); let p = q + pass_.origin;
  ${each(`var s# = ${start};`)}
  ${conv} ${scale} ${skip}
  return Out(${all.map((o) => `clamp(round(s${o}), vec4f(0), vec4f(${kind === 'tail' ? 255 : most})) / 255`).join(', ')});
}`;
}

const kPlanes = `${kHead}struct Out { @location(0) y: vec4f, @location(1) u: vec4f, @location(2) v: vec4f };
@fragment fn main(@builtin(position) at: vec4f) -> Out {
  let c = mat4x4f(w[0], w[1], w[2], w[3]) * vec4f(textureLoad(t, vec2i(at.xy), 0, 0).rgb, 1);
  return Out(vec4f(c.x), vec4f(c.y), vec4f(c.z));
}`;

// w: the matrix, then subsampling and size of restored chroma, then the scale and where chroma is sited.
const kShow = `${kHead}fn phase(p: vec2i, s: i32) -> vec3i { let n = (p.y % s) * s + p.x % s; return vec3i(n >> 2, n & 3, 0); }
fn read(u: bool, p: vec2i, s: i32) -> f32 {
  let n = phase(p, s);
  if (u) { return textureLoad(plane, p / s, n.x, 0)[n.y]; }
  return textureLoad(other, p / s, n.x, 0)[n.y];
}
fn between(u: bool, p: vec2f, s: i32) -> f32 {
  let last = vec2i(w[4].zw) - 1; let f = fract(p); let low = vec2i(floor(p));
  let a = clamp(low, vec2i(0), last); let b = clamp(low + 1, vec2i(0), last);
  return mix(mix(read(u, a, s), read(u, vec2i(b.x, a.y), s), f.x), mix(read(u, vec2i(a.x, b.y), s), read(u, b, s), f.x), f.y);
}
@fragment fn main(@builtin(position) at: vec4f) -> @location(0) vec4f {
  let p = vec2i(at.xy); let n = phase(p, i32(w[5].x)); let s = i32(w[5].y);
  let c = (vec2f(p) + .5) / w[4].xy - .5 + w[5].zw;
  let y = textureLoad(t, p / i32(w[5].x), n.x, 0)[n.y];
  return vec4f((mat4x4f(w[0], w[1], w[2], w[3]) * vec4f(y, between(true, c, s), between(false, c, s), 1)).rgb, 1);
}`;

export class GpuRestorer {
  name = 'WebGPU';
  static async make(canvas) {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) throw new Error('no WebGPU');
    return new GpuRestorer(canvas, await adapter.requestDevice());
  }
  constructor(canvas, device) {
    this.canvas = canvas;
    this.device = device;
    this.context = canvas.getContext('webgpu');
    this.format = navigator.gpu.getPreferredCanvasFormat();
    this.context.configure({ device, format: this.format, alphaMode: 'opaque' });
    const texture = { sampleType: 'unfilterable-float', viewDimension: '2d-array' }, visibility = GPUShaderStage.FRAGMENT;
    this.layout = device.createBindGroupLayout({ entries: [
      { binding: 0, visibility: visibility | GPUShaderStage.VERTEX, buffer: {} },
      { binding: 1, visibility, buffer: { type: 'read-only-storage' } },
      ...[2, 3, 4].map((binding) => ({ binding, visibility, texture })),
    ] });
    this.pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
    this.pipelines = new Map();
    this.pending = 0;
    this.passing = [];  // buffers of one frame
  }

  pipeline(code, targets) {
    const key = code + targets;
    if (!this.pipelines.has(key)) {
      const module = this.device.createShaderModule({ code });
      this.pipelines.set(key, this.device.createRenderPipeline({
        layout: this.pipelineLayout,
        vertex: { module, entryPoint: 'corner', buffers: [{ arrayStride: 16, stepMode: 'instance', attributes: [{ shaderLocation: 0, offset: 0, format: 'float32x4' }] }] },
        fragment: { module, entryPoint: 'main', targets: targets.map((format) => ({ format })) },
        primitive: { topology: 'triangle-strip' },
      }));
    }
    return this.pipelines.get(key);
  }
  buffer(data, usage) {
    const buffer = this.device.createBuffer({ size: Math.max(data.byteLength, 16), usage, mappedAtCreation: true });
    new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    buffer.unmap();
    return buffer;
  }
  brief(data, usage) {
    const buffer = this.buffer(data, usage);
    this.passing.push(buffer);
    return buffer;
  }
  texture(width, height, layers, format) {
    const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC | GPUTextureUsage.RENDER_ATTACHMENT;
    const texture = this.device.createTexture({ size: [width, height, layers], format, usage });
    return { texture, width, height, format, whole: texture.createView({ dimension: '2d-array' }),
      layers: Array.from({ length: layers }, (_, i) => texture.createView({ dimension: '2d', baseArrayLayer: i, arrayLayerCount: 1 })) };
  }
  load(network) {
    const made = plan(network, 1 << 20, 4);
    for (const pass of made.passes) {
      pass.source = layerShader(pass);
      pass.buffer = this.buffer(pass.data, GPUBufferUsage.STORAGE);
    }
    return made;
  }
  unload(made) {
    for (const pass of made.passes) pass.buffer.destroy();
  }

  prepare({ width, height, chroma }) {
    const key = `${width} ${height} ${chroma}`;
    if (this.key === key) return;
    for (const t of Object.values(this.textures ?? {})) t.texture.destroy();
    this.key = key;
    this.textures = {};
    [[width, height], chroma, chroma].forEach(([w, h], i) => (this.textures[`plane${i}`] = this.texture(w, h, 1, 'r8unorm')));
  }
  scratch(name, width, height, layers) {
    return (this.textures[`${name} ${width} ${height} ${layers}`] ??= this.texture(width, height, layers, 'rgba8unorm'));
  }
  upload(format, planes) {
    this.prepare(format);
    planes.forEach((bytes, i) => {
      const { texture, width, height } = this.textures[`plane${i}`];
      this.device.queue.writeTexture({ texture }, bytes, { bytesPerRow: width }, [width, height]);
    });
  }
  uploadPicture(format, picture, matrix) {
    const { width, height } = format;
    this.prepare({ ...format, chroma: [width, height] });
    const rgb = this.scratch('rgb', width, height, 1), planes = [0, 1, 2].map((i) => this.textures[`plane${i}`]);
    this.device.queue.copyExternalImageToTexture({ source: picture }, { texture: rgb.texture }, [width, height]);
    this.encoder = this.device.createCommandEncoder();
    this.pass(kPlanes, planes.map((t) => t.layers[0]), ['r8unorm', 'r8unorm', 'r8unorm'], planes[0], [0, 0, width, height],
      { grown: 0, moved: 0, origin: 0 }, this.brief(matrix, GPUBufferUsage.STORAGE), [rgb, rgb, rgb]);
    this.device.queue.submit([this.encoder.finish()]);
  }

  pass(code, views, formats, size, rects, { grown, moved, origin }, weights, textures) {
    const uniform = new ArrayBuffer(32), plane = textures[1], pipeline = this.pipeline(code, formats);
    new Float32Array(uniform).set([grown, moved, size.width, size.height]);
    new Int32Array(uniform, 16).set([plane.width - 1, plane.height - 1, origin, origin]);
    const pass = this.encoder.beginRenderPass({ colorAttachments: views.map((view) => ({ view, loadOp: 'load', storeOp: 'store' })) });
    const entries = [{ buffer: this.brief(new Uint8Array(uniform), GPUBufferUsage.UNIFORM) }, { buffer: weights }, ...textures.map((t) => t.whole)];
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.device.createBindGroup({ layout: this.layout, entries: entries.map((resource, binding) => ({ binding, resource })) }));
    pass.setVertexBuffer(0, this.brief(new Float32Array(rects), GPUBufferUsage.VERTEX));
    pass.draw(4, rects.length / 4);
    pass.end();
  }

  run(made, number, rects) {
    const plane = this.textures[`plane${number}`], { width, height } = plane, last = made.layers - 1;
    const out = this.scratch(`out${number}`, width, height, Math.ceil(made.scale ** 2 / 4));
    const hidden = made.hidden && [0, 1].map((i) => this.scratch(`hidden${i}`, width + 2 * last, height + 2 * last, made.hidden));
    for (const pass of made.passes) {
      const tail = pass.kind === 'tail', target = tail ? out : hidden[pass.layer % 2];
      const from = pass.kind === 'head' || !hidden ? plane : hidden[(pass.layer + 1) % 2];
      this.pass(pass.source, target.layers.slice(pass.first, pass.first + pass.outputs), Array(pass.outputs).fill('rgba8unorm'), target, rects,
        { grown: last - pass.layer, moved: tail ? 0 : last, origin: pass.kind === 'head' ? -last : tail ? last : 0 }, pass.buffer, [from, plane, plane]);
    }
    return out;
  }

  draw(luma, chroma, show) {
    const scale = luma[0][0].scale, planes = [0, 1, 2].map((i) => this.textures[`plane${i}`]);
    if (this.canvas.width !== show.width || this.canvas.height !== show.height) {
      this.canvas.width = show.width;
      this.canvas.height = show.height;
    }
    this.encoder = this.device.createCommandEncoder();
    for (const [made, rects] of luma) this.luma = this.run(made, 0, rects);
    let rest = planes.slice(1);
    if (!chroma && scale > 1) chroma = this.plain?.scale === scale ? this.plain : (this.plain = this.load(plainNetwork(scale)));
    if (chroma) rest = rest.map((plane, i) => this.run(chroma, i + 1, [0, 0, plane.width, plane.height]));
    const half = [planes[0].width > planes[1].width ? 2 : 1, planes[0].height > planes[1].height ? 2 : 1];
    const numbers = new Float32Array([...show.matrix, ...half, Math.ceil(show.width / half[0]), Math.ceil(show.height / half[1]),
      scale, scale, half[0] === 2 ? show.sited[0] : 0, half[1] === 2 ? show.sited[1] : 0]);
    this.pass(kShow, [this.context.getCurrentTexture().createView()], [this.format], show, [0, 0, show.width, show.height],
      { grown: 0, moved: 0, origin: 0 }, this.brief(numbers, GPUBufferUsage.STORAGE), [this.luma, ...rest]);
    this.device.queue.submit([this.encoder.finish()]);
    this.pending++;
    const passing = this.passing.splice(0);
    this.device.queue.onSubmittedWorkDone().then(() => {
      this.pending--;
      for (const buffer of passing) buffer.destroy();
    }, () => {});
  }
  idle() {
    return this.pending === 0;
  }
}
