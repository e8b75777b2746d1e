// Which networks restore the frame that is shown, and whether there is time for them.
import { toRgb, toYuv } from './colour.js';
import { readNetworkFile, rectangles } from './files.js';
import { grab } from './frames.js';

const kSited = { 2: [0, 0], 3: [0.25, 0.25], 4: [0, 0.25] };  // libav's AVCHROMA_LOC_*; left otherwise
const kWindow = 2000, kRetry = 15000;  // milliseconds

export class Restoration {
  // stream: what is shown when. show(restored, words): called when what is seen changes.
  constructor(video, stage, index, stream, load, show) {
    // files: a network file's name → what was read of it, or why not; level: that the machine manages, 0 the best, as many
    // as there are: none; wanted: the level that the user chose.
    Object.assign(this, { video, stage, index, stream, load, show, files: new Map(), level: 0, wanted: null, planes: true, losses: 0 });
    this.size = { width: index.width, height: index.height, matrix: toRgb(index), sited: kSited[index.siting] ?? [0.25, 0] };
    this.toYuv = toYuv(index.guessed ? { ...index, matrix: 1 } : index);  // as browsers guess
    this.seen = this.done = 0;
    this.windowStart = performance.now();
    this.wait = kRetry;
  }

  // Finds what can restore; without it the small video stays. only: 'gpu', 'gl' or neither.
  async begin(only) {
    if ([16, 18].includes(this.index.transfer)) return this.tell(false, 'Not restored: HDR is shown by the browser');
    const why = [];
    for (const kind of ['gpu', 'gl']) {
      if (this.backend || (only && only !== kind)) continue;
      const canvas = document.createElement('canvas');
      try {
        if (kind === 'gpu') {
          if (!navigator.gpu) throw new Error('no WebGPU');
          const { GpuRestorer } = await import('./gpu.js');
          this.backend = await GpuRestorer.make(canvas, only === 'gpu');
          this.backend.device.lost.then(() => this.lost('The GPU was lost', canvas));
          this.backend.device.onuncapturederror = ({ error }) => this.lost(`WebGPU: ${error.message.slice(0, 200)}`, canvas);
        } else {
          const { GlRestorer } = await import('./gl.js');
          this.backend = new GlRestorer(canvas);
          canvas.addEventListener('webglcontextlost', (event) => {
            event.preventDefault();
            this.lost('The graphics context was lost', canvas);
          });
        }
        this.stage.append((this.canvas = canvas));
      } catch (error) {
        why.push(error.message);
      }
    }
    if (!this.backend) {
      if (why.at(-1)?.includes('lost') && ++this.losses <= 3) setTimeout(() => this.begin(only), 500);
      return this.tell(false, `Not restored: ${why.join(', ')}`);
    }
    if (!this.looping) this.loop();
    this.looping = true;
    this.now();
  }
  lost(why, canvas) {
    if (canvas !== this.canvas) return;
    this.backend = this.canvas = null;
    canvas.remove();
    this.losses++;
    for (const file of this.files.values()) file.made = null;
    this.tell(false, this.losses > 3 ? `Not restored: ${why}` : `${why}: begun anew`);
    if (this.losses <= 3) setTimeout(() => this.begin(this.losses > 1 ? 'gl' : undefined), 500);
  }

  tell(restored, words) {
    if (this.canvas) this.canvas.hidden = !restored;
    this.restored = restored;
    this.show(restored, words);
  }

  loop() {
    const next = () => (this.video.requestVideoFrameCallback ? this.video.requestVideoFrameCallback(each) : requestAnimationFrame(() => each(0, {})));
    const each = (_, { mediaTime }) => {
      next();
      this.frame(mediaTime);
    };
    next();
    for (const event of ['loadeddata', 'canplay', 'seeked', 'pause']) this.video.addEventListener(event, () => this.now());
  }
  // The frame that stands still, anew.
  now() {
    // While seeking the picture is still the old one, and the time is not: seeked comes.
    if (this.video.readyState >= 2 && !this.video.seeking) this.frame();
  }

  async frame(mediaTime = this.video.currentTime) {
    if (!this.backend) return;
    this.seen++;
    if (this.busy || !this.backend.idle()) {
      this.missed = true;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.missed && this.now(), 40);
      return;
    }
    this.busy = true;
    this.missed = false;
    try {
      await this.restore(mediaTime);
    } catch (error) {
      this.tell(false, `Not restored: ${error.message}`);
    }
    this.busy = false;
    this.judge();
    // The browser gets its turn: until then it shows what it showed.
    if (this.missed && this.video.paused) setTimeout(() => this.missed && this.now(), 20);
  }

  // Not for want of time: the frame does not count where that is judged.
  without(words) {
    this.seen--;
    this.tell(false, words);
  }

  async restore(mediaTime) {
    const entry = this.stream.at(mediaTime + 1e-4), levels = entry?.rate.levels ?? [];
    const level = this.wanted ?? this.level;
    if (!entry || !levels.length) return this.without(entry ? 'This rate has no networks' : 'Not restored: an unknown frame');
    if (entry.why) return this.without(`Not restored: ${entry.why}`);
    if (level >= levels.length) return this.tell(false, this.wanted === null ? 'Not restored: too slow here' : 'Not restored, as chosen');
    if (!entry.file) return this.without('Not restored yet');
    const chosen = entry.file.levels[Math.min(level, entry.file.levels.length - 1)];
    const backend = this.backend, grabbed = await grab(this.video, this.planes);
    try {
      // The frame may be a later one than the call was for.
      const time = grabbed.time !== null && Math.abs(grabbed.time - mediaTime) < 0.5 ? grabbed.time : mediaTime;
      const shown = this.stream.at(time + 1e-4);
      if (shown !== entry || backend !== this.backend) return void (this.missed = true);
      const { rate, start } = entry, ticks = (time - start) * rate.timescale + rate.timescale / 2000;
      if (grabbed.width && (grabbed.width !== rate.width || grabbed.height !== rate.height)) return void (this.missed = true);
      let frame = 0;
      while (frame + 2 < entry.file.starts.length && entry.file.starts[frame + 1] <= ticks) frame++;
      const luma = [];
      let chroma = null;
      for (const [number, rects] of rectangles(chosen, frame, rate.width, rate.height)) {
        const file = this.network(chosen.networks[number]);
        if (file.error) return this.without(`Not restored: ${file.error}`);
        if (!file.luma) return this.without('Not restored yet: the networks are on their way');
        file.made ??= { luma: backend.load(file.luma), chroma: file.chroma && backend.load(file.chroma) };
        luma.push([file.made.luma, rects]);
        chroma ??= file.made.chroma;
      }
      const format = { width: rate.width, height: rate.height, chroma: grabbed.chroma };
      if (grabbed.planes) backend.upload(format, grabbed.planes);
      else backend.uploadPicture(format, grabbed.picture, this.toYuv);
      backend.draw(luma, chroma, this.size);
      this.done++;
      this.last = { time, frame, segment: entry.number, folder: rate.folder, level, planes: !!grabbed.planes };
      this.tell(true, `Restored by ${levels[Math.min(level, levels.length - 1)]}, ${backend.name}`);
    } finally {
      grabbed.close();
    }
  }

  // A network, or nothing yet, or why there is none. A failure is tried again after a while.
  network(name) {
    const known = this.files.get(name);
    if (known && !(known.error && performance.now() > known.again)) return known;
    this.files.set(name, {});
    this.load(`networks/${name}.bin`).then(readNetworkFile).then(
      (file) => this.files.set(name, file),
      (error) => this.files.set(name, { error: `a network is ${error.message}`, again: performance.now() + 10000 }),
    ).then(() => this.video.paused && this.now());
    return this.files.get(name);
  }
  // What a segment will need.
  prefetch(entry) {
    const level = this.wanted ?? this.level;
    entry.file?.levels[level]?.networks.forEach((name) => this.network(name));
  }

  // Fewer than three of four frames in time: the next smaller network; later once more the larger one.
  judge() {
    const now = performance.now(), levels = this.stream.at(this.video.currentTime)?.rate.levels.length ?? 1;
    if (this.video.paused) [this.seen, this.done, this.windowStart] = [0, 0, now];
    if (now - this.windowStart < kWindow || this.seen < 10) return;
    if (this.done < 0.75 * this.seen && this.level < levels && this.wanted === null) {
      this.level++;
      this.stepped = now;
    }
    [this.seen, this.done, this.windowStart] = [0, 0, now];
    if (this.level > 0 && now - this.stepped > this.wait) {
      this.level--;
      this.wait *= 2;
      this.stepped = now;
    }
  }
}
