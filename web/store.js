// Conversations and settings in this browser's localStorage, each conversation an entry of its own.
const prefix = "cairn.chat.";

export class Full extends Error {}

export function newChat() {
  return { id: `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`, changed: Date.now(),
           title: "", system: "", messages: [] };
}

export function loadChat(id) {
  try {
    const chat = JSON.parse(localStorage.getItem(prefix + id));
    return chat && Array.isArray(chat.messages) ? chat : null;
  } catch {
    return null;
  }
}

// The latest first.
export function listChats() {
  const all = [];
  for (let i = 0; i < localStorage.length; ++i) {
    const name = localStorage.key(i);
    const chat = name.startsWith(prefix) ? loadChat(name.slice(prefix.length)) : null;
    if (chat) all.push({ id: chat.id, title: chat.title, changed: chat.changed });
  }
  return all.sort((a, b) => b.changed - a.changed);
}

export function saveChat(chat) {
  chat.changed = Date.now();
  chat.title = chat.renamed || title(chat);
  try {
    localStorage.setItem(prefix + chat.id, JSON.stringify(chat));
  } catch {
    throw new Full("This browser has no room for more: delete a chat");
  }
}

function title(chat) {
  const first = chat.messages.find((message) => message.role === "user");
  return first ? first.content.trim().replace(/\s+/g, " ").slice(0, 60) : "";
}

export const deleteChat = (id) => localStorage.removeItem(prefix + id);

export function deleteAll() {
  for (const { id } of listChats()) deleteChat(id);
}

export function settings() {
  try {
    return JSON.parse(localStorage.getItem("cairn.settings")) ?? {};
  } catch {
    return {};
  }
}

export function saveSettings(change) {
  localStorage.setItem("cairn.settings", JSON.stringify({ ...settings(), ...change }));
}

export const key = () => sessionStorage.getItem("cairn.key") ?? localStorage.getItem("cairn.key") ?? "";

export function saveKey(value, keep) {
  for (const [place, holds] of [[sessionStorage, !keep], [localStorage, keep]]) {
    if (value && holds) place.setItem("cairn.key", value);
    else place.removeItem("cairn.key");
  }
}

export const keyIsKept = () => localStorage.getItem("cairn.key") !== null;
