/* The acts of the sandbox, and what it says where one fails. */

/* Have the sandbox do something; the answer as {status, body}, with status 0 where there is none. */
export async function act(path, body) {
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`/act/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    const found = await answer.json();
    return answer.ok && found.body ? found : { status: answer.status, body: found };
  } catch {
    return { status: 0, body: { detail: "The sandbox did not answer. Is it still running?" } };
  }
}
export const failed = ({ status }) => status < 200 || status > 299;

export function complaint({ body }) {
  const faults = (body.errors ?? []).map((fault) => `${fault.pointer.slice(1)}: ${fault.detail}`);
  const text = faults.join("; ") || body.detail || body.title || "That did not work.";
  return text[0].toUpperCase() + text.slice(1);
}
