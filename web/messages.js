// The conversation on the page: messages with what can be done to each.
import { $, copy, fit, make } from "./dom.js";
import { markdown } from "./markdown.js";

const log = $("messages");

// Stays at the end of what is written as long as the reader is there.
const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

function figures(stats) {
  if (!stats) return "";
  const parts = [`${stats.tokens} tokens`];
  if (stats.rate) parts.push(`${stats.rate.toFixed(1)} tok/s`);
  if (stats.first) parts.push(`first after ${stats.first.toFixed(2)} s`);
  if (stats.prompt) parts.push(`${stats.prompt} read${stats.cached ? `, ${stats.cached} of them kept from before` : ""}`);
  return parts.join(" · ");
}

const endings = { length: "cut off: the most tokens, or the context's end, is reached", stopped: "stopped" };

// A message's element with update(message), for while it is written.
function element(message, index, actions) {
  const answer = message.role === "assistant";
  const body = make("div", { className: "text" });
  const thoughts = make("details", { hidden: true }, make("summary", {}, "Thoughts"), make("div"));
  const note = make("p", { className: "note" });
  const tools = make("div", { className: "tools" });
  const button = (label, action) => make("button", { type: "button", className: "quiet", onclick: action }, label);
  const copying = button("Copy", () => copy(message.content, copying));
  tools.append(copying);
  const article = make("article", { className: message.role, "aria-label": answer ? "Answer" : "You" },
                       thoughts, body, note, tools);
  if (answer) tools.append(button("Again", () => actions.again(index)));
  else tools.append(button("Edit", () => edit(article, body, tools, message, index, actions)));
  const update = (now) => {
    message = now;
    if (answer) body.replaceChildren(markdown(now.content));
    else body.textContent = now.content;
    thoughts.hidden = !now.reasoning;
    if (now.reasoning) thoughts.lastChild.textContent = now.reasoning;
    note.textContent = [figures(now.stats), endings[now.finish], now.error].filter(Boolean).join(" · ");
    note.classList.toggle("error", Boolean(now.error));
    article.classList.toggle("writing", Boolean(now.writing));
    article.setAttribute("aria-busy", Boolean(now.writing));
    tools.hidden = Boolean(now.writing);
  };
  update(message);
  return { article, update };
}

function edit(article, body, tools, message, index, actions) {
  const area = make("textarea", { value: message.content, "aria-label": "Your message" });
  const close = () => {
    form.replaceWith(body);
    tools.hidden = false;
    tools.querySelector("button:last-child").focus();
  };
  const form = make("form", { className: "edit", onsubmit: (event) => {
    event.preventDefault();
    if (area.value.trim()) actions.edit(index, area.value.trim());
  } }, area, make("div", { className: "row" },
                  make("button", { type: "submit", className: "strong" }, "Send"),
                  make("button", { type: "button", onclick: close }, "Leave it")));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();  // it ends this, and no answer
      close();
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  area.addEventListener("input", () => fit(area));
  body.replaceWith(form);
  tools.hidden = true;
  fit(area);
  area.focus();
}

let shown = [];

export function show(chat, actions) {
  shown = chat.messages.map((message, index) => element(message, index, actions));
  const welcome = make("div", { className: "welcome" }, make("p", {}, "What is said here stays on the server's machine and in this browser."));
  log.replaceChildren(...(shown.length ? shown.map((one) => one.article) : [welcome]));
  toEnd();
}

// Drawn again at most so often: an answer is parsed anew each time.
let drawn = 0, later = 0;

export function update(index, message) {
  clearTimeout(later);
  const wait = drawn + 60 - performance.now();
  if (message.writing && wait > 0) {
    later = setTimeout(() => update(index, message), wait);
    return;
  }
  drawn = performance.now();
  const end = atEnd();
  shown[index]?.update(message);
  if (end) toEnd();
}
