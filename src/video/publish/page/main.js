// The page: what it shows and what its controls do.
import { Player } from './player.js';
import { load } from './stream.js';

const find = (id) => document.getElementById(id);
const video = find('video'), stage = find('stage');

const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}`;
const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`);
const notes = [];
function note(text) {
  if (notes.at(-1) === text) return;
  notes.push(text);
  find('notes').textContent = notes.slice(-4).join('\n');
}
function options(select, names) {
  names.forEach((name, value) => select.append(new Option(name, value)));
}

// The line between before and after comes when it is first wanted.
async function compareBy(mode, index) {
  const { Compare } = await import('./compare.js');
  cairn.compare ??= new Compare(stage, find('line'), video, find('other'), index, note);
  return cairn.compare.choose(mode);
}

function controls(player, restoration, index) {
  const paint = () => {
    find('play').textContent = video.paused ? '▶' : '⏸';
    find('mute').textContent = video.muted ? 'muted' : 'sound';
    find('time').textContent = `${clock(video.currentTime)} / ${clock(index.seconds)}`;
    find('seek').max = index.seconds;
    if (!find('seek').matches(':active')) find('seek').value = video.currentTime;
    bytes(player, index);
  };
  for (const event of ['play', 'pause', 'timeupdate', 'volumechange', 'progress']) video.addEventListener(event, paint);
  const toggle = () => (video.paused ? video.play().catch((error) => note(error.message)) : video.pause());
  find('play').onclick = video.onclick = toggle;
  find('mute').onclick = () => (video.muted = !video.muted);
  find('volume').oninput = ({ target }) => (video.volume = target.value);
  find('seek').oninput = ({ target }) => (video.currentTime = target.value);
  find('full').onclick = () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen?.());
  document.addEventListener('keydown', (event) => {
    if (event.target !== document.body) return;
    const by = { ArrowLeft: -5, ArrowRight: 5 }[event.key];
    if (by) video.currentTime += by;
    else if (event.key === ' ') toggle();
    else return;
    event.preventDefault();
  });
  options(find('rate'), player.rates.map((rate) => `${rate.width}×${rate.height}, ${Math.round(rate.bandwidth / 1000)} kbit/s`));
  find('rate').onchange = ({ target }) => (player.wanted = target.value === '' ? null : +target.value);
  const levels = player.rates.reduce((most, rate) => (rate.levels.length > most.length ? rate.levels : most), []);
  options(find('level'), [...levels, 'not restored']);
  find('level').onchange = ({ target }) => {
    restoration.wanted = target.value === '' ? null : +target.value;
    restoration.now();
  };
  options(find('sound'), index.sounds.map((sound, i) => sound.label || sound.language || `sound ${i + 1}`));
  find('sound').value = player.sound;
  find('sound').hidden = index.sounds.length < 2;
  find('sound').onchange = ({ target }) => {
    player.sound = +target.value;
    player.restart();
  };
  find('compare').onchange = ({ target }) => compareBy(target.value, index);
  if (index.original) find('compare').append(new Option('original | restored', 'original'));
  if (index.live) import('./live.js').then(({ follow }) => follow(player, index, find('live'), note, paint));
}

// Cues are drawn here: the video's own lie under the restored picture.
function subtitles(index) {
  const tracks = index.texts.map((text, i) => {
    const track = document.createElement('track');
    Object.assign(track, { kind: 'subtitles', src: text.file, srclang: text.language, label: text.label || text.language || `${i + 1}` });
    video.append(track);
    track.addEventListener('error', () => note(`${text.file} is missing`));
    return track.track;
  });
  const select = find('text');
  options(select, tracks.map((track) => track.label));
  select.hidden = !tracks.length;
  select.onchange = () => {
    tracks.forEach((track, i) => (track.mode = String(i) === select.value ? 'hidden' : 'disabled'));
    find('cues').replaceChildren();
  };
  for (const track of tracks) track.oncuechange = () => find('cues').replaceChildren(...[...(track.activeCues ?? [])].flatMap((cue) => [cue.getCueAsHTML(), '\n']));
  const usual = index.texts.findIndex((text) => text.usual);
  if (usual >= 0) {
    select.value = usual;
    select.onchange();
  }
}

function bytes(player, index) {
  const seconds = player.pictures?.shown.reduce((sum, entry) => sum + entry.end - entry.start, 0) ?? 0;
  const original = (index.originalBytes * seconds) / index.seconds, saved = original - player.bytes;
  find('bytes').textContent = `${size(player.bytes)} received` +
    (original > 0 && seconds > 0 ? `; the original's pictures would have been ${size(original)}: ${saved > 0 ? `${Math.round((100 * saved) / original)} % saved` : 'nothing saved'}` : '');
}

async function main() {
  let index;
  try {
    index = JSON.parse(new TextDecoder().decode(await load('video.json')));
    if (index.version !== 1) throw new Error(`of another version (${index.version})`);
  } catch (error) {
    find('state').textContent = `Cannot be played: video.json is ${error.message}`;
    return;
  }
  document.title = document.querySelector('h1').textContent = index.title;
  stage.style.aspectRatio = (index.width * index.aspect) / index.height;
  const player = new Player(video, index, note), query = new URLSearchParams(location.search);
  globalThis.cairn = { player, notes };  // for the console
  subtitles(index);
  try {
    await player.begin();
  } catch (error) {
    find('state').textContent = `Cannot be played: ${error.message}`;
    return;
  }
  // The first frame does not wait for what restores it.
  const { Restoration } = await import('./restore.js');
  const restoration = new Restoration(video, stage, index, player, (name) => load(name, player.tally), (restored, words) => {
    if (find('state').textContent !== words) find('state').textContent = words;
    cairn.compare?.place(cairn.compare.at);
  });
  player.onappend = (entry) => {
    restoration.prefetch(entry);
    if (video.paused) restoration.now();
  };
  cairn.restoration = restoration;
  controls(player, restoration, index);
  restoration.planes = !query.has('rgb');
  await restoration.begin(query.get('by') ?? undefined);
}

main();
