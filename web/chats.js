// The list of conversations.
import { $, make } from "./dom.js";
import { deleteChat, listChats, loadChat, saveChat } from "./store.js";

// current: of which is shown; open(id), gone(id)
export function showChats(current, open, gone) {
  const rows = listChats().map(({ id, title }) => {
    const name = title || "Without words";
    const choose = make("button", { type: "button", className: "chat", title: name, onclick: () => open(id),
                                    "aria-current": id === current ? "true" : undefined }, name);
    choose.addEventListener("dblclick", () => rename(row, id, () => showChats(current, open, gone)));
    choose.addEventListener("keydown", (event) => {
      if (event.key === "F2") rename(row, id, () => showChats(current, open, gone));
    });
    const row = make("li", {}, choose,
                     make("button", { type: "button", className: "quiet", "aria-label": `Delete ${name}`, title: "Delete",
                                      onclick: () => { deleteChat(id); gone(id); } }, "×"));
    return row;
  });
  $("chats").replaceChildren(...rows);
}

function rename(row, id, done) {
  const chat = loadChat(id);
  if (!chat) return;
  const input = make("input", { value: chat.title, "aria-label": "The chat's name" });
  const leave = (keep) => {
    if (!input.isConnected) return;
    if (keep && input.value.trim()) {
      chat.renamed = input.value.trim();
      saveChat(chat);
    }
    done();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") leave(true);
    if (event.key === "Escape") {
      event.stopPropagation();  // it ends this, and no answer
      leave(false);
    }
  });
  input.addEventListener("blur", () => leave(true));
  row.replaceChildren(input);
  input.select();
}
