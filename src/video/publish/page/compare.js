// A line over the picture: on its left the small video or the original, on its right what is restored.
import { Player } from './player.js';

export class Compare {
  constructor(stage, line, video, other, index, words) {
    Object.assign(this, { stage, line, video, other, index, words, at: 50 });
    const move = (event) => event.buttons && this.place(((event.clientX - stage.getBoundingClientRect().left) / stage.clientWidth) * 100);
    line.addEventListener('pointerdown', (event) => line.setPointerCapture(event.pointerId));
    line.addEventListener('pointermove', move);
    line.addEventListener('keydown', ({ key }) => {
      if (key === 'ArrowLeft') this.place(this.at - 2);
      if (key === 'ArrowRight') this.place(this.at + 2);
    });
    for (const event of ['play', 'pause', 'seeked', 'timeupdate', 'ratechange']) video.addEventListener(event, () => this.follow());
  }
  place(at) {
    this.at = Math.min(Math.max(at, 0), 100);
    this.line.style.left = `${this.at}%`;
    this.line.setAttribute('aria-valuenow', Math.round(this.at));
    const left = this.mode ? this.at : 0;
    this.stage.style.setProperty('--left', `${left}%`);
    for (const canvas of this.stage.querySelectorAll('canvas')) canvas.style.clipPath = `inset(0 0 0 ${left}%)`;
    this.other.style.clipPath = `inset(0 ${100 - left}% 0 0)`;
  }
  // mode: '', 'small', 'original'
  async choose(mode) {
    this.mode = mode;
    this.line.hidden = !mode;
    this.other.hidden = mode !== 'original';
    if (mode === 'original' && !this.player) {
      const track = { ...this.index.original, width: 0, height: 0, levels: [] };
      this.player = new Player(this.other, { ...this.index, rates: [track], sounds: [] }, this.words);
      await this.player.begin().catch((error) => this.words(`The original: ${error.message}`));
    }
    this.place(this.at);
    this.follow();
  }
  // The original runs along; where it has left the other by more than a frame it is put right.
  follow() {
    const { video, other } = this;
    if (this.mode !== 'original') return void other.pause();
    const off = other.currentTime - video.currentTime;
    if (Math.abs(off) > (video.paused ? 0.001 : 0.25)) other.currentTime = video.currentTime;
    other.playbackRate = video.playbackRate * (video.paused || Math.abs(off) < 0.02 ? 1 : off > 0 ? 0.95 : 1.05);
    if (video.paused !== other.paused) video.paused ? other.pause() : other.play().catch(() => {});
  }
}
