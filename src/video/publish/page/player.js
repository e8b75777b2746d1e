// Video, sound and what is shown beside, from the index of a published folder.
import { Feed, expand, load, mimeOf } from './stream.js';

export class Player {
  // tell(text): what is wrong.
  constructor(video, index, tell) {
    Object.assign(this, { video, index, tell });
    this.rates = index.rates.map(expand);
    this.sounds = index.sounds.map(expand);
    this.sound = Math.max(0, index.sounds.findIndex((sound) => sound.usual));
    this.wanted = null;  // a rate that the user chose
    this.bits = 0;       // a second, as measured
    this.bytes = 0;      // fetched in all
    this.holes = [];
    this.tally = (bytes) => (this.bytes += bytes);
    video.addEventListener('seeking', () => this.feeds?.forEach((feed) => feed.seek()));
    video.addEventListener('error', () => setTimeout(() => this.broken()));
    video.addEventListener('play', () => (this.playing = true));
    video.addEventListener('pause', () => (this.playing &&= !!video.error || !!this.turn || video.ended));
    for (const event of ['waiting', 'timeupdate']) video.addEventListener(event, () => this.jump());
    setInterval(() => this.jump(), 500);
  }

  // Errors: what this browser cannot do.
  async begin() {
    const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
    if (!Source) return this.whole();
    this.rates = this.rates.filter((rate) => Source.isTypeSupported(mimeOf(rate)));
    if (!this.rates.length) throw new Error(`this browser does not play ${this.index.rates.map((rate) => rate.codecs).join(', ')}`);
    this.joined = this.index.live ? this.edge() : 0;
    await this.open(Source, this.joined);
  }
  async open(Source, from) {
    const media = (this.media = new Source());
    if (Source === globalThis.ManagedMediaSource) this.video.disableRemotePlayback = true;
    const url = URL.createObjectURL(media);
    this.video.src = url;
    await new Promise((done) => media.addEventListener('sourceopen', done, { once: true }));
    URL.revokeObjectURL(url);
    media.duration = this.index.live ? Infinity : this.index.seconds;
    if (this.index.live) media.setLiveSeekableRange?.(0, this.index.seconds);
    if (from) this.video.currentTime = from;
    this.pictures = new Feed(media, this.video, this.rates, 'video', (ahead) => this.choose(ahead), this);
    this.feeds = [this.pictures];
    const sound = this.sounds[this.sound];
    if (sound && Source.isTypeSupported(mimeOf(sound, 'audio'))) {
      const quiet = Object.assign(Object.create(this), { speed: null, onappend: null });
      this.feeds.push(new Feed(media, this.video, [sound], 'audio', () => 0, quiet));
    } else if (sound) this.tell(`No sound: this browser does not play ${sound.codecs}`);
  }

  // Anew from where it stands: after a decoder's error, or with another sound.
  async restart() {
    const { currentTime } = this.video, turn = (this.turn = {});
    this.feeds?.forEach((feed) => feed.stop());
    await this.open(globalThis.ManagedMediaSource ?? MediaSource, currentTime);
    if (this.turn === turn) this.turn = null;
    if (this.playing) this.video.play().catch(() => {});
  }
  broken() {
    if (!this.feeds) return this.tell(`Cannot be played: ${this.video.error?.message}`);
    this.breaks = (this.breaks ?? 0) + 1;
    if (this.breaks > 20) return this.tell(`Cannot be played: ${this.video.error?.message}`);
    // Decoders run ahead of what is shown. What could not be appended was blamed already.
    const near = this.blamed ? [] : [0.5, 0].map((ahead) => this.pictures.at(this.video.currentTime + ahead));
    const entry = near.find((e) => e && !e.rate.bad.has(e.number));
    this.blamed = false;
    entry?.rate.bad.add(entry.number);
    if (entry) this.tell(`${entry.rate.folder}/${entry.number}.m4s cannot be decoded`);
    this.restart();
  }
  trouble(error, feed) {
    if (!error.segment) return void (this.video.error || this.tell(`${feed.kind}: ${error.message}`));
    this.blamed = true;
    error.rate.bad.add(error.segment.number);
    this.tell(`${error.rate.folder}/${error.segment.number}.m4s is damaged`);
  }

  // Where to join a stream that runs: two segments before its end.
  edge() {
    const { segments } = this.rates[0], sound = this.sounds[this.sound];
    const end = Math.min(...[segments, ...(sound ? [sound.segments] : [])].map((all) => all.at(-1).end));
    return segments[Math.max(0, segments.findLastIndex((s) => s.end <= end + 0.1) - 1)].start;
  }
  // A stream that runs: there is more of what is known.
  grow(index) {
    const more = (tracks, now) => tracks.forEach((track) => {
      const found = now.find(({ folder }) => folder === track.folder);
      if (found) Object.assign(track, expand(found), { bad: track.bad });
    });
    const sounds = !this.sounds.length && index.sounds.length;
    Object.assign(this.index, { live: false }, index);
    more(this.rates, index.rates);
    more(this.sounds, index.sounds);
    if (sounds) this.sounds = index.sounds.map(expand);
    if (!this.feeds) return;
    if (sounds) this.restart();
    else if (this.media.readyState === 'open') this.media.setLiveSeekableRange?.(0, index.seconds);
    this.feeds.forEach((feed) => feed.wake?.());
  }

  // Without Media Source: HLS where the browser has it, otherwise the least rate whole.
  async whole() {
    if (this.video.canPlayType('application/vnd.apple.mpegurl')) {
      this.video.src = 'master.m3u8';
      this.tell('No Media Source here: played by HLS, not restored');
      return;
    }
    this.tell('No Media Source here: the smallest rate is loaded whole, without sound');
    const rate = this.rates[0], parts = [await load(`${rate.folder}/init.mp4`, this.tally)];
    for (const { number } of rate.segments) parts.push(await load(`${rate.folder}/${number}.m4s`, this.tally));
    this.video.src = URL.createObjectURL(new Blob(parts, { type: 'video/mp4' }));
  }

  // The most bits that the line carries; less while little is buffered.
  choose(ahead) {
    if (this.wanted !== null && this.rates[this.wanted]) return this.wanted;
    const share = ahead > 8 ? 0.9 : ahead > 3 ? 0.75 : 0.6, sound = this.sounds[this.sound]?.bandwidth ?? 0;
    const fits = this.rates.findLastIndex((rate) => rate.bandwidth + sound <= this.bits * share);
    return Math.max(0, fits);
  }
  speed(bytes, seconds) {
    const bits = (8 * bytes) / Math.max(seconds, 0.001), part = Math.min(0.5, bytes / 100000);
    this.bits = this.bits ? this.bits * (1 - part) + bits * part : bits;
  }
  at(time) {
    return this.pictures?.at(time);
  }
  filled() {
    if (!this.index.live && this.media.readyState === 'open' && this.feeds?.every((feed) => feed.ended && !feed.buffer.updating)) this.media.endOfStream();
  }
  // Nobody has pictures (or sound) from start to end.
  hole(start, end) {
    if (!this.holes.some((hole) => hole.start === start)) this.holes.push({ start, end });
  }
  jump() {
    const { video } = this, hole = this.holes.find(({ start, end }) => video.currentTime >= start - 0.3 && video.currentTime < end);
    if (!hole || video.seeking || !this.pictures) return;
    const ranges = video.buffered;
    for (let i = 0; i < ranges.length; i++) {
      if (ranges.start(i) <= video.currentTime && ranges.end(i) > video.currentTime + 0.1) return;
    }
    video.currentTime = hole.end + 0.01;
  }
}
