// The server's paths that the page uses.
import { key } from "./store.js";

export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (options.body) headers["Content-Type"] = "application/json";
  if (key()) headers.Authorization = `Bearer ${key()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "The server does not answer");
  }
  if (response.ok) return response;
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message;
  } catch { /* no JSON: the status has to do */ }
  throw new ServerError(response.status, message);
}

export const models = async () => (await (await ask("/v1/models")).json()).data;
export const memory = async () => (await ask("/memory")).json();
export const setMemory = async (value) =>
  (await ask("/memory", { method: "PUT", body: JSON.stringify({ memory: value }) })).json();

// The data of server-sent events as they arrive.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      for (const line of part.split("\n")) {
        if (line.startsWith("data: ")) yield line.slice(6);
      }
    }
  }
}

// An answer's pieces: {text}, {reasoning}, {finish} and {usage}.
export async function* answer(request, signal) {
  const response = await ask("/v1/chat/completions", {
    method: "POST", signal, body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
  });
  for await (const data of events(response)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ServerError(503, event.error.message);
    if (event.usage) yield { usage: event.usage };
    const [choice] = event.choices ?? [];
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.delta?.reasoning_content) yield { reasoning: choice.delta.reasoning_content };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
  }
  throw new ServerError(0, "The answer broke off");
}
