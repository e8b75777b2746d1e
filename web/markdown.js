// What models write most of Markdown, as elements. Links lead to http and https alone; there are no images and no HTML.
import { copy, make } from "./dom.js";

const deepest = 8;  // of lists and quotes in each other: a model may write any number

const inline = [
  [/`([^`]+)`/, (m) => make("code", {}, m[1])],
  [/\*\*(?=\S)(.+?\S?)\*\*/, (m) => make("strong", {}, ...spans(m[1]))],
  [/(?<![\w*])\*(?=[^\s*])([^*]*[^\s*])\*(?![\w*])/, (m) => make("em", {}, ...spans(m[1]))],
  [/~~(.+?)~~/, (m) => make("s", {}, ...spans(m[1]))],
  [/\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/, (m) => link(m[2], spans(m[1]))],
  [/https?:\/\/[^\s<>"')\]]+[^\s<>"')\].,;:!?]/, (m) => link(m[0], [m[0]])],
];

const link = (href, children) => make("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);

function spans(text) {
  const all = [];
  while (text) {
    let first = null, build = null;
    for (const [pattern, element] of inline) {
      const match = pattern.exec(text);
      if (match && (!first || match.index < first.index)) [first, build] = [match, element];
    }
    if (!first) break;
    if (first.index > 0) all.push(text.slice(0, first.index));
    all.push(build(first));
    text = text.slice(first.index + first[0].length);
  }
  if (text) all.push(text);
  return all;
}

// The lines of a paragraph, broken where they were.
function broken(lines) {
  return lines.flatMap((line, i) => (i === 0 ? spans(line) : [make("br"), ...spans(line)]));
}

function code(lines, language) {
  const text = lines.join("\n");
  const button = make("button", { type: "button", onclick: () => copy(text, button) }, "Copy");
  return make("figure", { className: "code" },
              make("figcaption", {}, make("span", {}, language || "text"), button),
              make("pre", { tabIndex: 0 }, make("code", {}, text)));
}

const item = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;

// Items from `lines[at]` on that are indented as the first one is, deeper ones within.
function list(lines, at, depth) {
  const [, indent, mark] = item.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const element = make(ordered ? "ol" : "ul", ordered ? { start: parseInt(mark, 10) } : {});
  while (at < lines.length) {
    const match = item.exec(lines[at]);
    if (!match) {
      // What goes on behind an item, indented.
      if (!/^\s+\S/.test(lines[at]) || !element.lastChild) break;
      element.lastChild.append(make("br"), ...spans(lines[at++].trim()));
    } else if (match[1].length > indent.length && element.lastChild && depth < deepest) {
      const [inner, next] = list(lines, at, depth + 1);
      element.lastChild.append(inner);
      at = next;
    } else if (match[1].length < indent.length || (depth < deepest && /\d/.test(match[2]) !== ordered)) {
      break;
    } else {
      element.append(make("li", {}, ...spans(match[3])));
      ++at;
    }
  }
  return [element, at];
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function table(lines) {
  const row = (line, kind) => make("tr", {}, ...cells(line).map((cell) => make(kind, {}, ...spans(cell))));
  return make("div", { className: "wide", tabIndex: 0 },
              make("table", {}, make("thead", {}, row(lines[0], "th")),
                   make("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")))));
}

const special = /^\s*(```|~~~)|^#{1,6}\s|^>\s?|^\s*([-*_])(\s*\2){2,}\s*$/;

export function markdown(text, depth = 0) {
  const lines = text.split("\n"), all = document.createDocumentFragment();
  for (let at = 0; at < lines.length;) {
    const line = lines[at], fence = /^\s*(```+|~~~+)\s*([\w+#.-]*)/.exec(line);
    const take = (pattern) => {
      const begin = at;
      while (at < lines.length && pattern(lines[at], at - begin)) ++at;
      return lines.slice(begin, at);
    };
    if (fence) {
      ++at;
      all.append(code(take((one) => !one.trim().startsWith(fence[1])), fence[2]));
      ++at;
    } else if (/^#{1,6}\s/.test(line)) {
      const [mark] = line.split(/\s/, 1);
      all.append(make(`h${Math.min(6, mark.length + 2)}`, {}, ...spans(line.slice(mark.length).trim())));
      ++at;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      all.append(make("hr"));
      ++at;
    } else if (/^>\s?/.test(line) && depth < deepest) {
      const inner = take((one) => /^>\s?/.test(one)).map((one) => one.replace(/^>\s?/, ""));
      all.append(make("blockquote", {}, markdown(inner.join("\n"), depth + 1)));
    } else if (item.test(line)) {
      const [element, next] = list(lines, at, 0);
      all.append(element);
      at = next;
    } else if (line.includes("|") && /^\s*\|?(\s*:?-+:?\s*\|)+\s*(:?-+:?)?\s*$/.test(lines[at + 1] ?? "")) {
      all.append(table(take((one, i) => i < 2 || one.includes("|"))));
    } else if (line.trim() === "") {
      ++at;
    } else {
      const paragraph = take((one, i) => i === 0 || (one.trim() !== "" && !special.test(one) && !item.test(one)));
      all.append(make("p", {}, ...broken(paragraph)));
    }
  }
  return all;
}
