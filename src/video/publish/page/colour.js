// Between Y'CbCr and RGB (ITU-T H.273), both as samples / 255; column-major 4×4.

const kWeights = { 1: [0.2126, 0.0722], 4: [0.3, 0.11], 7: [0.212, 0.087], 9: [0.2627, 0.0593], 10: [0.2627, 0.0593] };

function parts({ matrix, full }) {
  const [kr, kb] = kWeights[matrix] ?? [0.299, 0.114];
  const [black, luma, chroma] = full ? [0, 255, 255] : [16, 219, 224];
  return { kr, kb, kg: 1 - kr - kb, black, luma: 255 / luma, chroma: 255 / chroma };
}

export function toRgb(index) {
  const { kr, kb, kg, black, luma, chroma } = parts(index);
  const red = 2 * (1 - kr) * chroma, blue = 2 * (1 - kb) * chroma, low = (luma * black) / 255, middle = 128 / 255;
  const u = [0, (-blue * kb) / kg, blue], v = [red, (-red * kr) / kg, 0];
  return new Float32Array([luma, luma, luma, 0, ...u, 0, ...v, 0, ...u.map((b, i) => -low - (b + v[i]) * middle), 1]);
}

export function toYuv(index) {
  const { kr, kb, kg, black, luma, chroma } = parts(index);
  const y = [kr, kg, kb], b = 1 / (2 * (1 - kb) * chroma), r = 1 / (2 * (1 - kr) * chroma);
  const u = [-kr, -kg, 1 - kb], v = [1 - kr, -kg, -kb];
  return new Float32Array([...[0, 1, 2].flatMap((i) => [y[i] / luma, u[i] * b, v[i] * r, 0]), black / 255, 128 / 255, 128 / 255, 1]);
}
