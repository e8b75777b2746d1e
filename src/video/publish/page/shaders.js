// What a fragment of each pass computes, in GLSL; wgsl() makes WGSL of it. q is the fragment's pixel, w a pass' numbers
// (plan.js), edge the last pixel of a plane, origin what to add to q; o0 … are the outputs. fetch(texture, pixel, layer)
// reads a texture: t, plane, other.

// Activations are whole numbers / 255; sums of their products with whole weights are rounded to what they are, so that
// ties, which are frequent, are ties.
export function layerBody({ kind, inputs, outputs, most }) {
  const all = [...Array(outputs).keys()], bias = 9 * inputs * outputs * (kind === 'head' ? 1 : 4);
  const each = (text) => all.map((o) => text.replaceAll('#', o)).join(' ');
  const taps = (count, text) => Array.from({ length: count }, (_, tap) => text(tap)).join('\n');
  const one = (from, pixel, x, y) => `fetch(${from}, clamp(${pixel} + ivec2(${x}, ${y}), ivec2(0), edge), 0).r`;
  const conv = (tap) => {
    const x = (tap % 3) - 1, y = Math.floor(tap / 3) - 1;
    if (kind === 'head') return `{ float v = ${one('t', 'p', x, y)}; ${all.map((o) => `s${o} += w[${tap * outputs + o}] * v;`).join(' ')} }`;
    return taps(inputs, (i) => `{ vec4 v = fetch(t, p + ivec2(${x}, ${y}), ${i}); ${all.map((o) => [0, 1, 2, 3].map((c) =>
      `s${o} += w[${((tap * inputs + i) * outputs + o) * 4 + c}] * v[${c}];`).join(' ')).join(' ')} }`);
  };
  const filter = (tap) => `{ float v = roundEven(${one('plane', 'q', (tap % 5) - 2, Math.floor(tap / 5) - 2)} * 255.); ${all.map((o) => `s${o} += w[${bias + (2 + tap) * outputs + o}] * v;`).join(' ')} }`;
  const tail = kind === 'tail';
  return `ivec2 p = q + origin;
${each('vec4 s# = vec4(0.);')}
${inputs ? taps(9, conv) : ''}
${each(`s# = roundEven(s# * 255.)${tail ? '' : ` + w[${bias} + #]`};`)}
${each(`s# = s# * w[${bias + outputs} + #]${tail ? ` + w[${bias} + #]` : ''};`)}
${tail ? taps(25, filter) : ''}
${each(`o# = clamp(roundEven(s#), vec4(0.), vec4(${tail ? 255 : most}.)) / 255.;`)}`;
}

// Y, U, V of RGB, where the browser gives no planes. w: a matrix.
export const kPlanes = `vec4 c = fetch(t, q, 0);
vec4 s = w[0] * c.r + w[1] * c.g + w[2] * c.b + w[3];
o0 = s.xxxx; o1 = s.yyyy; o2 = s.zzzz;`;

// Restored samples (t: Y, plane: U, other: V; scale² of them a texel) to RGB; chroma is interpolated between its restored
// samples. w: a matrix; subsampling and size of restored chroma; scales of luma and chroma, where chroma is sited.
const sample = (texture, x, y, scale) => `fetch(${texture}, ivec2(${x}, ${y}) / ${scale}, (${y} % ${scale} * ${scale} + ${x} % ${scale}) >> 2)[(${y} % ${scale} * ${scale} + ${x} % ${scale}) & 3]`;
const chroma = (texture) => `mix(mix(${sample(texture, 'a.x', 'a.y', 'n')}, ${sample(texture, 'b.x', 'a.y', 'n')}, f.x),
  mix(${sample(texture, 'a.x', 'b.y', 'n')}, ${sample(texture, 'b.x', 'b.y', 'n')}, f.x), f.y)`;
export const kShow = `vec2 p = (vec2(q) + .5) / w[4].xy - .5 + w[5].zw; vec2 f = fract(p);
ivec2 last = ivec2(w[4].zw) - 1; ivec2 low = ivec2(floor(p)); ivec2 a = clamp(low, ivec2(0), last); ivec2 b = clamp(low + 1, ivec2(0), last);
int m = int(w[5].x); int n = int(w[5].y);
vec4 c = w[0] * ${sample('t', 'q.x', 'q.y', 'm')} + w[1] * ${chroma('plane')} + w[2] * ${chroma('other')} + w[3];
o0 = vec4(c.rgb, 1.);`;

const outs = (count, text) => Array.from({ length: count }, (_, i) => text.replaceAll('#', i)).join(' ');
const kCorner = 'mix(rect.xy - place.x, rect.zw + place.x, corner) + place.y';

export const kGlslHead = `#version 300 es
precision highp float; precision highp int; precision highp sampler2DArray; uniform vec4 place;  // grown by, moved by, size
`;
export const kGlslVertex = `${kGlslHead}in vec4 rect;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4((${kCorner}) / place.zw * 2. - 1., 0., 1.);
}`;
// flipped: rows go upwards, as on a canvas.
export const glsl = (body, outputs, vectors, flipped) => `${kGlslHead}#define fetch(t, p, layer) texelFetch(t, ivec3(p, layer), 0)
uniform sampler2DArray t, plane, other; uniform ivec2 edge, origin;
layout(std140) uniform Weights { vec4 w[${vectors}]; };
${outs(outputs, 'layout(location = #) out vec4 o#;')}
void main() { ivec2 q = ivec2(gl_FragCoord.x, ${flipped ? 'place.w - gl_FragCoord.y' : 'gl_FragCoord.y'});
${body} }`;

export const wgsl = (body, outputs) => `alias ivec2 = vec2i;
fn fetch(t: texture_2d_array<f32>, p: vec2i, layer: i32) -> vec4f { return textureLoad(t, p, layer, 0); }
struct Pass { place: vec4f, edge: vec2i, origin: vec2i };
@group(0) @binding(0) var<uniform> given: Pass;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var t: texture_2d_array<f32>;
@group(0) @binding(3) var plane: texture_2d_array<f32>;
@group(0) @binding(4) var other: texture_2d_array<f32>;
@vertex fn place_corner(@builtin(vertex_index) i: u32, @location(0) rect: vec4f) -> @builtin(position) vec4f {
  let corner = vec2f(f32(i & 1), f32(i >> 1)); let place = given.place;
  return vec4f((${kCorner}) / place.zw * vec2f(2, -2) + vec2f(-1, 1), 0, 1);
}
struct Out { ${outs(outputs, '@location(#) o#: vec4f,')} };
@fragment fn main(@builtin(position) at: vec4f) -> Out {
  let q = vec2i(at.xy); let edge = given.edge; let origin = given.origin; ${outs(outputs, 'var o#: vec4f;')}
  ${body.replaceAll('for (int ', 'for (var ').replaceAll('roundEven', 'round').replace(/= ?int\(/g, '= i32(').replaceAll('vec2(q)', 'vec2f(q)')
    .replace(/\b(?:float|int|vec2|vec4|ivec2) (\w+) = /g, 'var $1 = ')}
  return Out(${outs(outputs, 'o#,')});
}`;
