// The settings dialog.
import { $, make } from "./dom.js";
import { key, keyIsKept, saveKey, saveSettings, settings } from "./store.js";

// chat(): the one that is shown; saved(), forget(): what the page does then
export function startOptions(chat, saved, forget) {
  $("options-open").addEventListener("click", () => openOptions(chat()));
  $("options").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("options").close();
  });
  $("options").addEventListener("click", (event) => {
    if (event.target === $("options")) $("options").close();  // beside it
  });
  $("options").addEventListener("close", () => {
    chat().system = $("system").value.trim();
    saveSettings({ temperature: $("temperature").value, most: $("most").value, system: chat().system });
    saveKey($("key").value.trim(), $("keep-key").checked);
    saved();
  });
  let sure = 0;
  $("forget").addEventListener("click", () => {
    const button = $("forget");
    clearTimeout(sure);
    if (button.dataset.sure) {
      delete button.dataset.sure;
      button.textContent = "Delete all chats";
      $("options").close();
      forget();
      return;
    }
    button.dataset.sure = "yes";
    button.textContent = "Really all of them?";
    sure = setTimeout(() => { delete button.dataset.sure; button.textContent = "Delete all chats"; }, 4000);
  });
}

export function openOptions(chat, field = "system") {
  $("system").value = chat.system;
  const { temperature = "", most = "" } = settings();
  $("temperature").value = temperature;
  $("most").value = most;
  $("key").value = key();
  $("keep-key").checked = keyIsKept();
  if (!$("options").open) $("options").showModal();
  $(field).focus();
}

const themes = { "": ["◐", "as the system has it"], light: ["☀", "light"], dark: ["☾", "dark"] };

export function startTheme() {
  const root = document.documentElement;
  const tell = () => {
    const [sign, name] = themes[root.dataset.theme ?? ""];
    $("theme").textContent = sign;
    $("theme").title = `Theme: ${name}`;
    $("theme").setAttribute("aria-label", `Theme: ${name}`);
  };
  $("theme").addEventListener("click", () => {
    const names = Object.keys(themes), next = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    localStorage.setItem("cairn.theme", next);
    tell();
  });
  tell();
}

export function showModels(models, chosen) {
  $("model").replaceChildren(...models.map((model) => make("option", {
    value: model.id, selected: model.id === chosen,
  }, model.status?.value === "loaded" ? model.id : `${model.id} (${model.status?.value ?? "?"})`)));
}
