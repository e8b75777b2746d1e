// Restoring by WebGL 2: a fragment shader a layer, activations in 8-bit textures.
import { plan, plainNetwork } from './plan.js';

const kHead = `#version 300 es
precision highp float; precision highp int; precision highp sampler2DArray;
`;
const kVertex = `${kHead}in vec4 rect; uniform vec4 place;  // grown by, moved by, size of the target
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  vec2 at = mix(rect.xy - place.x, rect.zw + place.x, corner) + place.y;
  gl_Position = vec4(at / place.zw * 2. - 1., 0., 1.);
}`;

function layerShader({ kind, inputs, outputs, most, data }) {
  const all = [...Array(outputs).keys()], bias = 9 * inputs * outputs * (kind === 'head' ? 1 : 4);
  const each = (text) => all.map((o) => text.replaceAll('#', o)).join(' ');
  const read = kind === 'head'
    ? `float v = roundEven(texelFetch(t, ivec3(clamp(p + d, ivec2(0), edge), 0), 0).r * 255.); int k = tap * ${outputs}; ${each('s# += w[k + #] * v;')}`
    : `for (int i = 0; i < ${inputs}; i++) { vec4 v = roundEven(texelFetch(t, ivec3(p + d, i), 0) * 255.); int k = (tap * ${inputs} + i) * ${4 * outputs};
        ${all.map((o) => [0, 1, 2, 3].map((c) => `s${o} += w[k + ${4 * o + c}] * v[${c}];`).join(' ')).join(' ')} }`;
  const conv = inputs ? `for (int tap = 0; tap < 9; tap++) { ivec2 d = ivec2(tap % 3, tap / 3) - 1; ${read} }` : '';
  const skip = kind !== 'tail' ? '' : `for (int tap = 0; tap < 25; tap++) {
      float v = roundEven(texelFetch(plane, ivec3(clamp(q + ivec2(tap % 5, tap / 5) - 2, ivec2(0), edge), 0), 0).r * 255.);
      int k = ${bias + 2 * outputs} + tap * ${outputs}; ${each('s# += w[k + #] * v;')} }`;
  const start = kind === 'tail' ? '0.' : `w[${bias} + #]`;
  const scale = kind === 'tail' ? each(`s# = s# * w[${bias + outputs} + #] + w[${bias} + #];`) : each(`s# *= w[${bias + outputs} + #];`);
  return `${kHead}uniform sampler2DArray t, plane; uniform ivec2 edge, origin;
layout(std140) uniform Weights { vec4 w[${data.length / 4}]; };
${each('layout(location = #) out vec4 o#;')}
void main() {
  ivec2 q = ivec2(gl_FragCoord.xy), p = q + origin;
  ${each(`vec4 s# = vec4(${start});`)}
  ${conv} ${scale} ${skip}
  ${each(`o# = clamp(roundEven(s#), 0., ${kind === 'tail' ? 255 : most}.) / 255.;`)}
}`;
}

// Y, U, V of RGB, where the browser gives no planes.
const kPlanes = `${kHead}uniform sampler2D t; uniform mat4 m;
layout(location = 0) out vec4 y; layout(location = 1) out vec4 u; layout(location = 2) out vec4 v;
void main() { vec4 c = m * vec4(texelFetch(t, ivec2(gl_FragCoord.xy), 0).rgb, 1.); y = vec4(c.x); u = vec4(c.y); v = vec4(c.z); }`;

// Restored samples to RGB; chroma is interpolated between its own restored samples.
const kShow = `${kHead}uniform sampler2DArray y, u, v; uniform mat4 m; uniform ivec4 size; uniform ivec4 chroma; uniform ivec2 scale; uniform vec2 sited;
out vec4 colour;
float at(sampler2DArray t, ivec2 p, int s) {
  ivec2 q = p / s; int phase = (p.y % s) * s + p.x % s;
  return texelFetch(t, ivec3(q, phase >> 2), 0)[phase & 3];
}
float between(sampler2DArray t, vec2 p) {
  ivec2 a = ivec2(floor(p)), last = chroma.zw - 1; vec2 f = p - floor(p); ivec2 b = clamp(a + 1, ivec2(0), last); a = clamp(a, ivec2(0), last);
  return mix(mix(at(t, a, scale.y), at(t, ivec2(b.x, a.y), scale.y), f.x), mix(at(t, ivec2(a.x, b.y), scale.y), at(t, b, scale.y), f.x), f.y);
}
void main() {
  ivec2 p = ivec2(int(gl_FragCoord.x), size.y - 1 - int(gl_FragCoord.y));
  vec2 c = (vec2(p) + .5) / vec2(chroma.xy) - .5 + sited;
  colour = m * vec4(at(y, p, scale.x), between(u, c), between(v, c), 1.); colour.a = 1.;
}`;

export class GlRestorer {
  name = 'WebGL 2';
  constructor(canvas) {
    const gl = (this.gl = canvas.getContext('webgl2', { alpha: false, antialias: false, depth: false }));
    if (!gl) throw new Error('no WebGL 2');
    this.canvas = canvas;
    this.programs = new Map();
    this.rects = gl.createBuffer();
    this.mostOutputs = Math.min(gl.getParameter(gl.MAX_DRAW_BUFFERS), gl.getParameter(gl.MAX_COLOR_ATTACHMENTS), 4);
    this.mostVectors = Math.floor(gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) / 16);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.disable(gl.DITHER);
    gl.bindVertexArray(gl.createVertexArray());
  }

  program(source) {
    if (this.programs.has(source)) return this.programs.get(source);
    const gl = this.gl, program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, kVertex], [gl.FRAGMENT_SHADER, source]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, 'rect');
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
      throw new Error(`a shader: ${gl.getProgramInfoLog(program)}`);
    const at = new Proxy({}, { get: (known, name) => (known[name] ??= gl.getUniformLocation(program, name)) });
    this.programs.set(source, { program, at });
    return this.programs.get(source);
  }

  texture(width, height, layers, format) {
    const gl = this.gl, texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, format, width, height, layers);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D_ARRAY, filter, gl.NEAREST);
    return { texture, width, height, frames: new Map() };
  }
  // A framebuffer of layers first … first + count - 1.
  target(t, first, count) {
    const gl = this.gl, key = first * 8 + count;
    if (!t.frames.has(key)) {
      const frame = gl.createFramebuffer(), list = [];
      gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
      for (let i = 0; i < count; i++) {
        gl.framebufferTextureLayer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + i, t.texture, 0, first + i);
        list.push(gl.COLOR_ATTACHMENT0 + i);
      }
      gl.drawBuffers(list);
      t.frames.set(key, frame);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, t.frames.get(key));
    gl.viewport(0, 0, t.width, t.height);
  }
  bind(unit, t, program, name) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, t.texture);
    gl.uniform1i(program.at[name], unit);
  }

  // A network that is ready to run.
  load(network) {
    const gl = this.gl, made = plan(network, this.mostVectors, this.mostOutputs);
    for (const pass of made.passes) {
      pass.source = layerShader(pass);
      pass.buffer = gl.createBuffer();
      gl.bindBuffer(gl.UNIFORM_BUFFER, pass.buffer);
      gl.bufferData(gl.UNIFORM_BUFFER, pass.data, gl.STATIC_DRAW);
    }
    return made;
  }
  unload(made) {
    for (const pass of made.passes) this.gl.deleteBuffer(pass.buffer);
  }

  // Textures of one size of small video, made anew when it changes. format: {width, height, chroma: [width, height]}.
  prepare(format) {
    const { width, height, chroma } = format, key = `${width} ${height} ${chroma}`, gl = this.gl;
    if (this.key === key) return;
    for (const t of Object.values(this.textures ?? {})) {
      gl.deleteTexture(t.texture);
      for (const frame of t.frames.values()) gl.deleteFramebuffer(frame);
    }
    this.key = key;
    this.textures = {};
    [[width, height], chroma, chroma].forEach(([w, h], i) => (this.textures[`plane${i}`] = this.texture(w, h, 1, gl.R8)));
  }
  scratch(name, width, height, layers) {
    return (this.textures[`${name} ${width} ${height} ${layers}`] ??= this.texture(width, height, layers, this.gl.RGBA8));
  }

  upload(format, planes) {
    const gl = this.gl;
    this.prepare(format);
    planes.forEach((bytes, i) => {
      const t = this.textures[`plane${i}`];
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, t.texture);
      gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, t.width, t.height, 1, gl.RED, gl.UNSIGNED_BYTE, bytes);
    });
  }
  // The same from the element itself.
  uploadPicture(format, picture, matrix) {
    const gl = this.gl, { width, height } = format;
    this.prepare({ ...format, chroma: [width, height] });
    this.rgb ??= gl.createTexture();
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.rgb);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    const t = this.scratch('yuv', width, height, 3), program = this.program(kPlanes);
    gl.useProgram(program.program);
    gl.uniform1i(program.at.t, 0);
    gl.uniformMatrix4fv(program.at.m, false, matrix);
    this.target(t, 0, 3);
    this.quads(program, [0, 0, width, height], 0, 0, t);
    for (let i = 0; i < 3; i++) {
      this.target(t, i, 1);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.textures[`plane${i}`].texture);
      gl.copyTexSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, 0, 0, width, height);
    }
  }

  quads(program, rects, grown, moved, target) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.rects);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(rects), gl.STREAM_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 4, gl.FLOAT, false, 0, 0);
    gl.vertexAttribDivisor(0, 1);
    gl.uniform4f(program.at.place, grown, moved, target.width, target.height);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, rects.length / 4);
  }

  // Runs a loaded network on rectangles of a plane; returns the texture with its samples, scale² a texel.
  run(made, number, rects) {
    const gl = this.gl, plane = this.textures[`plane${number}`], { width, height } = plane, last = made.layers - 1;
    const out = this.scratch(`out${number}`, width, height, Math.ceil(made.scale ** 2 / 4));
    const hidden = made.hidden && [0, 1].map((i) => this.scratch(`hidden${i}`, width + 2 * last, height + 2 * last, made.hidden));
    for (const pass of made.passes) {
      const program = this.program(pass.source), tail = pass.kind === 'tail', target = tail ? out : hidden[pass.layer % 2];
      gl.useProgram(program.program);
      gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, pass.buffer);
      this.bind(0, pass.kind === 'head' || !hidden ? plane : hidden[(pass.layer + 1) % 2], program, 't');
      this.bind(1, plane, program, 'plane');
      gl.uniform2i(program.at.edge, width - 1, height - 1);
      const origin = pass.kind === 'head' ? -last : tail ? last : 0;
      gl.uniform2i(program.at.origin, origin, origin);
      this.target(target, pass.first, pass.outputs);
      this.quads(program, rects, last - pass.layer, tail ? 0 : last, target);
    }
    return out;
  }

  // luma: [[loaded network, rectangles], …]; chroma: a loaded network, or null; show: {width, height, matrix, sited}.
  draw(luma, chroma, show) {
    const gl = this.gl, scale = luma[0][0].scale, planes = [0, 1, 2].map((i) => this.textures[`plane${i}`]);
    if (this.canvas.width !== show.width || this.canvas.height !== show.height) {
      this.canvas.width = show.width;
      this.canvas.height = show.height;
    }
    for (const [made, rects] of luma) this.luma = this.run(made, 0, rects);
    let rest = [planes[1], planes[2]];
    if (!chroma && scale > 1) chroma = this.plain?.scale === scale ? this.plain : (this.plain = this.load(plainNetwork(scale)));
    if (chroma) rest = rest.map((plane, i) => this.run(chroma, i + 1, [0, 0, plane.width, plane.height]));
    const program = this.program(kShow), half = [planes[0].width > planes[1].width ? 2 : 1, planes[0].height > planes[1].height ? 2 : 1];
    gl.useProgram(program.program);
    [this.luma, ...rest].forEach((t, i) => this.bind(i, t, program, 'yuv'[i]));
    gl.uniformMatrix4fv(program.at.m, false, show.matrix);
    gl.uniform4i(program.at.size, show.width, show.height, 0, 0);
    gl.uniform4i(program.at.chroma, ...half, Math.ceil(show.width / half[0]), Math.ceil(show.height / half[1]));
    gl.uniform2i(program.at.scale, scale, scale);
    gl.uniform2f(program.at.sited, half[0] === 2 ? show.sited[0] : 0, half[1] === 2 ? show.sited[1] : 0);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, show.width, show.height);
    this.quads(program, [0, 0, show.width, show.height], 0, 0, show);
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
  }

  // Whether what was drawn is done.
  idle() {
    const gl = this.gl;
    if (!this.fence) return true;
    const state = gl.clientWaitSync(this.fence, 0, 0);
    if (state === gl.TIMEOUT_EXPIRED) return false;
    gl.deleteSync(this.fence);
    this.fence = null;
    return true;
  }
}
