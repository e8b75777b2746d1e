// The planes of the frame that a video element shows. WebCodecs gives the decoder's own samples; without it the
// picture's RGB is taken, whose rounding costs some luma (docs/video_web.md).

// {time, width, height, planes} or {time, picture}; time: seconds, or null. close() when it was used.
export async function grab(video, planesWanted = true) {
  if (!planesWanted || !globalThis.VideoFrame) return { time: null, picture: video, close() {} };
  const frame = new VideoFrame(video), time = frame.timestamp / 1e6, { width, height } = frame.visibleRect;
  const half = [(width + 1) >> 1, (height + 1) >> 1], luma = width * height, chroma = half[0] * half[1];
  const close = () => frame.close();
  if (frame.format !== 'I420' && frame.format !== 'NV12') return { time, width, height, picture: frame, close };
  try {
    const bytes = new Uint8Array(frame.allocationSize());
    const [y, u, v] = await frame.copyTo(bytes), planes = [bytes.subarray(0, luma)];
    if (frame.format === 'I420') {
      if (y.stride !== width || u.stride !== half[0]) throw new Error('rows of another length');
      planes.push(bytes.subarray(u.offset, u.offset + chroma), bytes.subarray(v.offset, v.offset + chroma));
    } else {
      const pairs = bytes.subarray(u.offset), us = new Uint8Array(chroma), vs = new Uint8Array(chroma);
      for (let i = 0; i < chroma; i++) {
        us[i] = pairs[2 * i];
        vs[i] = pairs[2 * i + 1];
      }
      planes.push(us, vs);
    }
    return { time, width, height, chroma: half, planes, close };
  } catch {
    return { time, width, height, picture: frame, close };
  }
}
