// What the models hold, drawn as it changes, and the budget for stacks.
import { memory, setMemory } from "./api.js";
import { $, bytes } from "./dom.js";

const every = 1000, most = 180;  // ms; looks
const looks = [];
let chosen = 0;      // when the slider was last moved
let asked = null;    // what is to be set, once the last answer is here
let asking = false;
let refused = 0;     // ms; when the server did not do as it was asked

export function startMemory() {
  const slider = $("memory-budget"), automatic = $("memory-auto");
  slider.addEventListener("input", () => {
    chosen = Date.now();
    automatic.checked = false;
    const whole = Number(slider.value) >= Number(slider.max);
    tell(whole ? "all" : Number(slider.value));
    wish(whole ? "all" : Number(slider.value));
  });
  automatic.addEventListener("change", () => {
    chosen = Date.now();
    wish(automatic.checked ? "auto" : "all");
  });
  setInterval(look, every);
  document.addEventListener("visibilitychange", look);
  look();
}

function tell(value) {
  const text = typeof value === "number" ? bytes(value) : value === "auto" ? "what the system can spare" : "no limit";
  $("memory-wanted").value = text;
  $("memory-budget").setAttribute("aria-valuetext", text);
}

// The slider is faster than the server: only its last place counts.
async function wish(value) {
  asked = value;
  if (asking) return;
  asking = true;
  while (asked !== null) {
    const now = asked;
    asked = null;
    try {
      draw(await setMemory(now));
    } catch (error) {
      $("memory-note").textContent = error.message;
      refused = Date.now();
    }
  }
  asking = false;
}

async function look() {
  if (document.hidden) return;
  try {
    draw(await memory());
  } catch (error) {
    if (error.status === 401) $("memory-note").textContent = "The server asks for a key (Settings).";
  }
}

function draw(now) {
  let stack = 0, all = 0, weighted = 0, kept = 0;
  const problems = [];
  for (const model of now.models) {
    kept += model.kept_bytes ?? 0;
    if (!model.stack) continue;
    stack += model.stack.bytes;
    all += model.stack.all_bytes;
    weighted += model.stack.bits * model.stack.all_bytes;
    problems.push(...model.stack.problems);
  }
  $("memory-process").textContent = bytes(now.process_bytes);
  $("memory-bits").textContent = all ? (weighted / all).toFixed(2) : "–";
  $("memory-stack").textContent = all ? `${bytes(stack)} of ${bytes(all)}` : "–";
  $("memory-kept").textContent = bytes(kept);
  $("memory-control").hidden = !now.elastic;
  if (Date.now() - refused > 5000) $("memory-note").textContent = problems[0] ?? (now.elastic ? "" : fixed(now.models));
  if (now.elastic && Date.now() - chosen > 1500) {
    const slider = $("memory-budget"), step = 1 << 20;
    slider.min = Math.ceil(now.least_bytes / step) * step;
    slider.max = Math.ceil(now.all_bytes / step + 1) * step;
    slider.step = step;
    slider.value = now.budget_bytes ?? slider.max;
    $("memory-auto").checked = now.automatic;
    tell(now.automatic ? "auto" : now.budget_bytes !== null && now.budget_bytes < slider.max ? now.budget_bytes : "all");
  }
  looks.push({ process: now.process_bytes, bits: all ? weighted / all : null });
  if (looks.length > most) looks.shift();
  curve();
}

function fixed(models) {
  return models.some((model) => model.status === "loaded")
    ? "These models have a fixed size. A stack gives memory back while it writes." : "No model is loaded.";
}

function curve() {
  const svg = $("memory-curve"), highest = Math.max(...looks.map((one) => one.process)) * 1.05;
  const line = (name, value) => {
    const points = looks.map((one, i) => `${240 - (looks.length - 1 - i) * (240 / (most - 1))},${46 - 44 * value(one)}`);
    const element = document.createElementNS(svg.namespaceURI, "polyline");
    element.setAttribute("class", name);
    element.setAttribute("points", points.join(" "));
    return element;
  };
  const lines = [line("process", (one) => one.process / highest)];
  const deepest = Math.max(...looks.map((one) => one.bits ?? 0));
  if (deepest > 0) lines.push(line("bits", (one) => (one.bits ?? 0) / deepest * 0.95));
  svg.replaceChildren(...lines);
}
