// Elements are made here alone, and text only ever becomes text: nothing that a model writes is parsed as HTML.
export const $ = (id) => document.getElementById(id);

// make("a", {href, onclick, "aria-label": …}, "text", other elements …)
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; count >= 1024 && unit < 3; ++unit) count /= 1024;
  return `${unit === 0 ? count : count.toFixed(unit === 3 ? 2 : 0)} ${units[unit]}`;
}

// Grows a textarea with its text.
export function fit(area) {
  area.rows = 1;
  const line = parseFloat(getComputedStyle(area).lineHeight);
  area.rows = Math.min(12, Math.max(1, Math.floor((area.scrollHeight - 8) / line)));
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // no secure context, or not allowed
    const area = make("textarea", { value: text, className: "hidden" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}
