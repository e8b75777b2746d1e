// Restoring by WebGPU: the same passes as by WebGL.
import { Passes } from './passes.js';
import { wgsl } from './shaders.js';

export class GpuRestorer extends Passes {
  name = 'WebGPU';
  mostVectors = 1 << 20;
  mostOutputs = 4;
  pending = 0;
  pipelines = new Map();
  passing = [];  // buffers of one frame

  // A software adapter is slower than WebGL 2: taken only where it is asked for.
  static async make(canvas, asked) {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) throw new Error('no WebGPU');
    const soft = adapter.info?.isFallbackAdapter || adapter.info?.architecture === 'swiftshader';
    if (soft && !asked) throw new Error('WebGPU is software here');
    return new GpuRestorer(canvas, await adapter.requestDevice(), soft);
  }
  constructor(canvas, device, soft) {
    super();
    Object.assign(this, { canvas, device, soft });
    this.context = canvas.getContext(soft ? '2d' : 'webgpu');
    this.format = soft ? 'rgba8unorm' : navigator.gpu.getPreferredCanvasFormat();
    if (!soft) this.context.configure({ device, format: this.format, alphaMode: 'opaque' });
    const texture = { sampleType: 'unfilterable-float', viewDimension: '2d-array' }, visibility = GPUShaderStage.FRAGMENT;
    this.group = device.createBindGroupLayout({ entries: [
      { binding: 0, visibility: visibility | GPUShaderStage.VERTEX, buffer: {} },
      { binding: 1, visibility, buffer: { type: 'read-only-storage' } },
      ...[2, 3, 4].map((binding) => ({ binding, visibility, texture })),
    ] });
    this.layout = device.createPipelineLayout({ bindGroupLayouts: [this.group] });
  }

  pipeline(body, formats) {
    const key = body + formats;
    if (!this.pipelines.has(key)) {
      const module = this.device.createShaderModule({ code: wgsl(body, formats.length) });
      const buffers = [{ arrayStride: 16, stepMode: 'instance', attributes: [{ shaderLocation: 0, offset: 0, format: 'float32x4' }] }];
      this.pipelines.set(key, this.device.createRenderPipeline({ layout: this.layout, vertex: { module, buffers },
        fragment: { module, targets: formats.map((format) => ({ format })) }, primitive: { topology: 'triangle-strip' } }));
    }
    return this.pipelines.get(key);
  }
  buffer(data, usage) {
    const buffer = this.device.createBuffer({ size: data.byteLength, usage, mappedAtCreation: true });
    new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(data.buffer ?? data));
    buffer.unmap();
    return buffer;
  }
  brief(data, usage) {
    this.passing.push(this.buffer(data, usage));
    return this.passing.at(-1);
  }
  numbers(data) {
    return this.buffer(data, GPUBufferUsage.STORAGE);
  }
  texture(width, height, layers, one) {
    const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC | GPUTextureUsage.RENDER_ATTACHMENT;
    const format = one ? 'r8unorm' : 'rgba8unorm', texture = this.device.createTexture({ size: [width, height, layers], format, usage });
    return { texture, width, height, format, whole: texture.createView({ dimension: '2d-array' }),
      layers: Array.from({ length: layers }, (_, i) => texture.createView({ dimension: '2d', baseArrayLayer: i, arrayLayerCount: 1 })) };
  }
  remove({ texture }) {
    texture.destroy();
  }
  fill({ texture, width, height }, bytes) {
    this.device.queue.writeTexture({ texture }, bytes, { bytesPerRow: width }, [width, height]);
  }
  picture({ texture, width, height }, source) {
    this.device.queue.copyExternalImageToTexture({ source }, { texture }, [width, height]);
  }

  begin() {
    this.encoder = this.device.createCommandEncoder();
  }
  pass({ body, numbers, targets, textures, rects, grown = 0, moved = 0, origin = 0 }) {
    const given = new ArrayBuffer(32), plane = textures[1], size = targets?.[0][0] ?? this.canvas;
    new Float32Array(given).set([grown, moved, size.width, size.height]);
    new Int32Array(given, 16).set([plane.width - 1, plane.height - 1, origin, origin]);
    if (!targets && this.soft) targets = [[this.scratch('shown', size.width, size.height, 1), 0]];
    const views = targets?.map(([t, layer]) => t.layers[layer]) ?? [this.context.getCurrentTexture().createView()];
    const pass = this.encoder.beginRenderPass({ colorAttachments: views.map((view) => ({ view, loadOp: 'load', storeOp: 'store' })) });
    const resources = [{ buffer: this.brief(given, GPUBufferUsage.UNIFORM) }, { buffer: numbers }, ...textures.map((t) => t.whole)];
    pass.setPipeline(this.pipeline(body, targets?.map(([t]) => t.format) ?? [this.format]));
    pass.setBindGroup(0, this.device.createBindGroup({ layout: this.group, entries: resources.map((resource, binding) => ({ binding, resource })) }));
    pass.setVertexBuffer(0, this.brief(new Float32Array(rects), GPUBufferUsage.VERTEX));
    pass.draw(4, rects.length / 4);
    pass.end();
  }
  end(shown) {
    if (shown && this.soft) this.copy(this.canvas);
    this.device.queue.submit([this.encoder.finish()]);
    if (!shown) return;
    this.pending++;
    const passing = this.passing.splice(0);
    this.device.queue.onSubmittedWorkDone().then(() => {
      this.pending--;
      for (const buffer of passing) buffer.destroy();
    }, () => {});
  }
  // Chromium's software adapter cannot show what it drew.
  copy({ width, height }) {
    const row = Math.ceil(width / 64) * 256, buffer = this.device.createBuffer({ size: row * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    this.encoder.copyTextureToBuffer({ texture: this.scratch('shown', width, height, 1).texture }, { buffer, bytesPerRow: row }, [width, height]);
    this.pending++;
    queueMicrotask(() => buffer.mapAsync(GPUMapMode.READ).then(() => {
      this.context.putImageData(new ImageData(new Uint8ClampedArray(buffer.getMappedRange()), row / 4), 0, 0);
      buffer.destroy();
      this.pending--;
    }, () => {}));
  }
  idle() {
    return this.pending === 0;
  }
}
