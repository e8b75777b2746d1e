// The page: one conversation is shown; each may have an answer under way.
import { answer, models } from "./api.js";
import { showChats } from "./chats.js";
import { $, fit } from "./dom.js";
import { startMemory } from "./memory.js";
import { show, update } from "./messages.js";
import { openOptions, showModels, startOptions, startTheme } from "./options.js";
import { deleteAll, listChats, loadChat, newChat, saveChat, saveSettings, settings } from "./store.js";

const running = new Map();  // by chat: {chat, stop: AbortController}
let chat = null;

const status = (text) => { $("status").textContent = text; };

function save(one) {
  try {
    saveChat(one);
  } catch (error) {
    status(error.message);
  }
}

function drawChats() {
  showChats(chat.id, open, (id) => {
    running.get(id)?.stop.abort();
    running.delete(id);
    if (id === chat.id) open(listChats()[0]?.id);
    else drawChats();
  });
}

function open(id) {
  chat = running.get(id)?.chat ?? loadChat(id) ?? { ...newChat(), system: settings().system ?? "" };
  for (const message of running.has(chat.id) ? [] : chat.messages) {
    if (message.writing) Object.assign(message, { writing: undefined, finish: "stopped" });  // when the page was left
  }
  show(chat, { again, edit });
  drawChats();
  drawButtons();
  saveSettings({ chat: chat.id });
  status("");
  closeSide();
}

function drawButtons() {
  const busy = running.has(chat.id);
  $("stop").hidden = !busy;
  $("send").hidden = busy;
}

function again(index) {
  if (running.has(chat.id)) return;
  chat.messages.length = index;
  write();
}

function edit(index, text) {
  if (running.has(chat.id)) return;
  chat.messages.length = index;
  chat.messages.push({ role: "user", content: text });
  write();
}

function request(one) {
  const messages = one.messages.filter((m) => m.content).map(({ role, content }) => ({ role, content }));
  if (one.system) messages.unshift({ role: "system", content: one.system });
  const { temperature, most } = settings(), body = { model: $("model").value || undefined, messages };
  if (temperature) body.temperature = Number(temperature);
  if (most) body.max_tokens = Number(most);
  return body;
}

// Has the shown conversation answered. It goes on when another one is shown.
async function write() {
  const own = chat, body = request(own), stop = new AbortController(), begun = performance.now();
  const index = own.messages.length, message = { role: "assistant", content: "", writing: true };
  own.messages.push(message);
  running.set(own.id, { chat: own, stop });
  save(own);
  open(own.id);
  status(`${body.model ?? "The model"} reads`);
  let pieces = 0, first = 0, last = 0, saved = begun;
  const draw = () => { if (chat === own) update(index, message); };
  try {
    for await (const piece of answer(body, stop.signal)) {
      if (piece.text || piece.reasoning) {
        last = performance.now();
        if (++pieces === 1) {
          first = last;
          if (chat === own) status(`${body.model ?? "The model"} writes`);
        }
        message.content += piece.text ?? "";
        if (piece.reasoning) message.reasoning = (message.reasoning ?? "") + piece.reasoning;
      }
      if (piece.finish) message.finish = piece.finish;
      const tokens = piece.usage?.completion_tokens ?? pieces, seconds = (last - first) / 1000;
      message.stats = { tokens, first: first ? (first - begun) / 1000 : 0, rate: seconds > 0 ? (tokens - 1) / seconds : 0,
                        prompt: piece.usage?.prompt_tokens, cached: piece.usage?.prompt_tokens_details?.cached_tokens };
      draw();
      if (performance.now() - saved > 2000) {
        saved = performance.now();
        save(own);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") message.finish = "stopped";
    else message.error = error.message;
    if (error.status === 401) openOptions(own, "key");
  }
  delete message.writing;
  const there = running.get(own.id)?.stop === stop;  // else it was deleted meanwhile
  if (there) {
    running.delete(own.id);
    save(own);
  }
  draw();
  if (chat !== own) return;
  status(message.error ? "" : message.finish === "stopped" ? "Stopped" : "Done");
  drawButtons();
  drawChats();
  refreshModels();
}

function send(event) {
  event?.preventDefault();
  const text = $("prompt").value.trim();
  if (!text || running.has(chat.id)) return;
  chat.messages.push({ role: "user", content: text });
  $("prompt").value = "";
  fit($("prompt"));
  write();
}

async function refreshModels() {
  try {
    const all = await models(), before = $("model").value || settings().model;
    showModels(all, all.some((one) => one.id === before) ? before : all[0]?.id);
  } catch (error) {
    status(error.message);
    if (error.status === 401) openOptions(chat, "key");
  }
}

function openSide() {
  document.body.classList.add("side");
  $("menu").setAttribute("aria-expanded", "true");
  $("new").focus();
}

function closeSide() {
  document.body.classList.remove("side");
  $("menu").setAttribute("aria-expanded", "false");
}

function keys(event) {
  if (event.key !== "Escape" || $("options").open) return;
  if (document.body.classList.contains("side")) {
    closeSide();
    $("menu").focus();
  } else {
    running.get(chat.id)?.stop.abort();
  }
}

function start() {
  startTheme();
  startOptions(() => chat, () => { if (chat.messages.length) save(chat); refreshModels(); }, () => {
    for (const { stop } of running.values()) stop.abort();
    running.clear();
    deleteAll();
    open();
  });
  $("composer").addEventListener("submit", send);
  $("stop").addEventListener("click", () => running.get(chat.id)?.stop.abort());
  $("new").addEventListener("click", () => { open(); $("prompt").focus(); });
  $("menu").addEventListener("click", () => (document.body.classList.contains("side") ? closeSide() : openSide()));
  $("shade").addEventListener("click", closeSide);
  $("model").addEventListener("change", () => saveSettings({ model: $("model").value }));
  $("prompt").addEventListener("input", () => fit($("prompt")));
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  document.addEventListener("keydown", keys);
  window.addEventListener("storage", (event) => { if (event.key?.startsWith("cairn.chat.")) drawChats(); });
  window.addEventListener("pagehide", () => { for (const one of running.values()) save(one.chat); });
  open(settings().chat ?? listChats()[0]?.id);
  refreshModels();
  startMemory();
  $("prompt").focus();
}

start();
