// Segments into Media Source: which rate comes next, what to do where one is missing.
import { readSegmentFile } from './files.js';

const kAhead = 20, kBehind = 20, kGap = 0.3;  // seconds

// Bytes of a file; errors say "missing", "cut". tally(bytes, seconds): what it took.
export async function load(url, tally, signal) {
  const began = performance.now();
  let response;
  try {
    response = await fetch(url, { signal, cache: url === 'video.json' ? 'no-cache' : 'default' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error('missing (no connection)');
  }
  if (!response.ok) throw new Error(`missing (${response.status})`);
  const buffer = await response.arrayBuffer().catch((error) => {
    throw error.name === 'AbortError' ? error : new Error('cut');
  });
  tally?.(buffer.byteLength, (performance.now() - began) / 1000);
  return buffer;
}

// Whole boxes from end to end.
function checkBoxes(buffer) {
  const view = new DataView(buffer);
  let at = 0;
  while (at + 8 <= view.byteLength) {
    const size = view.getUint32(at);
    if (size < 8) throw new Error('damaged');
    at += size;
  }
  if (at !== view.byteLength || at === 0) throw new Error('cut');
}

// The index' track with its segments' times.
export function expand(track) {
  const segments = [];
  let at = track.start;
  for (const [ticks, count] of track.segments) {
    for (let i = 0; i < count; i++, at += ticks)
      segments.push({ number: segments.length + 1, start: at / track.timescale, end: (at + ticks) / track.timescale });
  }
  return { ...track, segments, bad: new Set() };
}

export const mimeOf = (track, kind = 'video') => `${kind}/mp4; codecs="${track.codecs}"`;

// One SourceBuffer. tracks: alternatives in order; choose(ahead): the index of the one wanted next.
export class Feed {
  constructor(media, video, tracks, kind, choose, player) {
    Object.assign(this, { video, tracks, kind, choose, player });
    this.buffer = media.addSourceBuffer(mimeOf(tracks[choose(0)], kind));
    this.media = media;
    this.shown = [];  // what was appended, as it is seen: {start, end, rate, number, file, why}
    this.run();
  }
  stop() {
    this.stopped = true;
    this.abort?.abort();
  }
  // The appended segment that is shown at a time.
  at(time) {
    const within = (more) => this.shown.findLast(({ start, end }) => start <= time && time < end + more);
    return within(0) ?? within(0.5);
  }

  // Until when there is something without a gap.
  until(time) {
    const ranges = this.buffer.buffered;
    let end = time;
    for (let i = 0; i < ranges.length; i++) if (ranges.start(i) <= end + kGap && ranges.end(i) > end) end = ranges.end(i);
    return end;
  }
  update(action) {
    return new Promise((done, failed) => {
      this.buffer.onupdateend = done;
      this.buffer.onerror = () => failed(new Error('damaged'));
      try {
        action();
      } catch (error) {
        failed(error);
      }
    });
  }

  async run() {
    this.init = new Map();
    while (!this.stopped) {
      try {
        if (!(await this.step())) await new Promise((done) => (this.wake = done) && setTimeout(done, 250));
      } catch (error) {
        if (error.name === 'AbortError') continue;
        if (this.stopped) return;
        this.player.trouble(error, this);
        await new Promise((done) => setTimeout(done, 250));
      }
    }
  }
  // A seek: what is on its way may not be wanted any more.
  seek() {
    if (this.wanted && !(this.wanted.start <= this.video.currentTime && this.video.currentTime < this.wanted.end)) this.abort?.abort();
    this.wake?.();
  }

  // Fetches and appends the next segment; false: nothing to do now.
  async step() {
    const { video } = this, now = video.currentTime;
    if (this.media.readyState === 'closed') return false;
    let next = this.until(now);
    const first = this.choose(next - now);
    // What no rate has is passed over.
    while (true) {
      const segments = this.tracks[first].segments, last = segments.at(-1);
      if (next >= last.end - 0.01 || next >= now + kAhead) {
        this.ended = next >= last.end - 0.01;
        this.player.filled();
        return false;
      }
      const found = [first, ...this.tracks.keys()].map((i) => this.tracks[i])
        .map((rate) => [rate, rate.segments.find((s) => s.end > next + 0.01)]).find(([rate, s]) => s && !rate.bad.has(s.number));
      if (found) {
        await this.append(...found);
        return true;
      }
      const hole = segments.find((s) => s.end > next + 0.01);
      this.player.hole(hole.start, hole.end);
      next = this.until(hole.end);
    }
  }

  async append(rate, segment) {
    this.ended = false;
    this.wanted = segment;
    this.abort = new AbortController();
    const { signal } = this.abort, name = `${rate.folder}/${segment.number}`, tally = this.player.tally;
    const small = rate.levels?.length ? load(`${name}.cairn`, tally, signal).then((b) => ({ file: readSegmentFile(b, rate) })).catch((error) => {
      return { why: `${name}.cairn is ${error.message}` };
    }) : {};
    let bytes;
    try {
      if (!this.init.has(rate)) this.init.set(rate, await load(`${rate.folder}/init.mp4`, tally, signal));
      const began = performance.now();
      bytes = await load(`${name}.m4s`, tally, signal);
      checkBoxes(bytes);
      this.player.speed?.(bytes.byteLength, (performance.now() - began) / 1000);
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      rate.bad.add(segment.number);
      this.player.tell(`${name}.m4s is ${error.message}`);
      return;
    } finally {
      this.wanted = null;
    }
    const entry = { ...(await small), rate, number: segment.number, start: segment.start, end: segment.end };
    if (this.stopped) return;
    if (this.rate !== rate) {
      if (this.rate && this.rate.codecs !== rate.codecs) this.buffer.changeType?.(mimeOf(rate, this.kind));
      await this.update(() => this.buffer.appendBuffer(this.init.get(rate)));
      this.rate = rate;
    }
    await this.tidy(segment.start);
    await this.update(() => this.buffer.appendBuffer(bytes)).catch(async (error) => {
      if (error.name !== 'QuotaExceededError') throw Object.assign(error, { rate, segment });
      await this.tidy(segment.start, 1);
      await this.update(() => this.buffer.appendBuffer(bytes));
    });
    this.shown = this.shown.filter((e) => e.start < entry.start - 0.01 || e.end > entry.end + 0.01);
    this.shown.push(entry);
    if (this.shown.length > 200) this.shown.splice(0, 100);
    this.player.onappend?.(entry);
  }
  // What lies far behind goes.
  async tidy(until, keep = kBehind) {
    const end = Math.min(this.video.currentTime, until) - keep, ranges = this.buffer.buffered;
    if (ranges.length && ranges.start(0) < end - 5) await this.update(() => this.buffer.remove(0, end));
  }
}
