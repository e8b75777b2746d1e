// Restoring by WebGL 2: a fragment shader a layer, activations in 8-bit textures.
import { Passes } from './passes.js';
import { glsl, kGlslVertex } from './shaders.js';

export class GlRestorer extends Passes {
  name = 'WebGL 2';
  constructor(canvas) {
    super();
    const gl = (this.gl = canvas.getContext('webgl2', { alpha: false, antialias: false, depth: false }));
    if (!gl) throw new Error('no WebGL 2');
    this.canvas = canvas;
    this.programs = new Map();
    // Of a lost context all is null.
    this.mostOutputs = Math.min(gl.getParameter(gl.MAX_DRAW_BUFFERS), gl.getParameter(gl.MAX_COLOR_ATTACHMENTS), 4);
    this.mostVectors = gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) / 16;
    if (!this.mostOutputs || !this.mostVectors) throw new Error('the graphics context was lost');
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.disable(gl.DITHER);
    gl.bindVertexArray(gl.createVertexArray());
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 4, gl.FLOAT, false, 0, 0);
    gl.vertexAttribDivisor(0, 1);
  }

  program(body, outputs, vectors, flipped) {
    const key = body + vectors, gl = this.gl;
    if (this.programs.has(key)) return this.programs.get(key);
    const program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, kGlslVertex], [gl.FRAGMENT_SHADER, glsl(body, outputs, vectors, flipped)]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, 'rect');
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(`a shader: ${gl.getProgramInfoLog(program)}`);
    gl.useProgram(program);
    const at = (name) => gl.getUniformLocation(program, name);
    ['t', 'plane', 'other'].forEach((name, unit) => gl.uniform1i(at(name), unit));
    const made = { program, place: at('place'), edge: at('edge'), origin: at('origin') };
    this.programs.set(key, made);
    return made;
  }
  texture(width, height, layers, one) {
    const gl = this.gl, texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, one ? gl.R8 : gl.RGBA8, width, height, layers);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D_ARRAY, filter, gl.NEAREST);
    return { texture, width, height, frames: new Map() };
  }
  remove({ texture, frames }) {
    this.gl.deleteTexture(texture);
    for (const frame of frames.values()) this.gl.deleteFramebuffer(frame);
  }
  fill({ texture, width, height }, bytes) {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, width, height, 1, gl.RED, gl.UNSIGNED_BYTE, bytes);
  }
  picture({ texture, width, height }, source) {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, width, height, 1, gl.RGBA, gl.UNSIGNED_BYTE, source);
  }
  numbers(data) {
    const gl = this.gl, buffer = gl.createBuffer();
    gl.bindBuffer(gl.UNIFORM_BUFFER, buffer);
    gl.bufferData(gl.UNIFORM_BUFFER, data, gl.STATIC_DRAW);
    return buffer;
  }

  // targets: [texture, layer] each; null: the canvas.
  target(targets) {
    const gl = this.gl;
    if (!targets) return void gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    const { frames } = targets[0][0], key = targets.map(([, layer]) => layer).join();
    if (!frames.has(key)) {
      frames.set(key, gl.createFramebuffer());
      gl.bindFramebuffer(gl.FRAMEBUFFER, frames.get(key));
      targets.forEach(([t, layer], i) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + i, t.texture, 0, layer));
      gl.drawBuffers(targets.map((_, i) => gl.COLOR_ATTACHMENT0 + i));
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, frames.get(key));
  }
  begin() {}
  pass({ body, numbers, vectors, targets, textures, rects, grown = 0, moved = 0, origin = 0 }) {
    const gl = this.gl, { program, ...at } = this.program(body, targets?.length ?? 1, vectors, !targets), size = targets?.[0][0] ?? this.canvas;
    gl.useProgram(program);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, numbers);
    textures.forEach(({ texture }, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    });
    gl.uniform4f(at.place, grown, moved, size.width, size.height);
    gl.uniform2i(at.edge, textures[1].width - 1, textures[1].height - 1);
    gl.uniform2i(at.origin, origin, origin);
    this.target(targets);
    gl.viewport(0, 0, size.width, size.height);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(rects), gl.STREAM_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, rects.length / 4);
  }
  end(shown) {
    const gl = this.gl;
    if (shown) this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }
  // Whether what was drawn is done.
  idle() {
    const gl = this.gl;
    if (this.fence && gl.clientWaitSync(this.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return false;
    gl.deleteSync(this.fence ?? null);
    this.fence = null;
    return true;
  }
}
