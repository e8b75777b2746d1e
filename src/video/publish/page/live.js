// A stream that runs: its index again and again, until that says that it has ended.
import { load } from './stream.js';

// A button that goes to where it is; changed(): called when there is more.
export function follow(player, index, button, tell, changed) {
  const { video } = player, joined = player.joined;
  const length = () => Math.max(0.5, ...player.rates[0].segments.slice(-3).map(({ start, end }) => end - start));
  let news = performance.now(), quiet = false;
  const toEdge = () => {
    video.currentTime = player.edge();
    if (video.paused) video.play().catch((error) => tell(error.message));
  };
  button.hidden = false;
  button.onclick = toEdge;
  // Who begins to watch later begins with what there is then.
  video.addEventListener('play', () => {
    if (index.live && Math.abs(video.currentTime - joined) < 0.1 && player.edge() > joined + 2 * length()) toEdge();
  }, { once: true });
  const wait = () => setTimeout(look, Math.min(Math.max(500 * length(), 500), 5000));
  async function look() {
    try {
      const before = index.seconds;
      player.grow(JSON.parse(new TextDecoder().decode(await load('video.json', player.tally))));
      if (index.seconds > before || !index.live) {
        news = performance.now();
        quiet = false;
        changed();
      }
    } catch (error) {
      tell(`video.json is ${error.message}`);
    }
    if (!index.live) {
      button.hidden = true;
      return tell('The stream has ended');
    }
    if (!quiet && performance.now() - news > Math.max(10000, 4000 * length())) {
      quiet = true;
      tell(`Nothing new since ${Math.round((performance.now() - news) / 1000)} s`);
    }
    wait();
  }
  wait();
}
