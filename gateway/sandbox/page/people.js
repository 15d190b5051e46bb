/* The people who hold the phone: who does now, their chats, and what they do. */

import { act, complaint, failed } from "./acts.js";
import { $ } from "./dom.js";
import { toast } from "./phone.js";

export let person = 4242;
/* Hand the phone to somebody else. */
export const hand = (whose) => { person = whose; };

export const chats = new Map();
export const chatOf = (whose) => chats.get(whose) ?? { messages: [], blocked: false, keyboard: null };
export const ownPhone = () => $("to-phone").value.replace(/[^+\d]/g, "") || "+4915112345678";
/* Whoever the bot meets has the browser's language; to change it they have the bot's own /lang. */
export const language = navigator.language.split("-")[0];

/* Act as the person; what went wrong is told on their phone. */
export async function perform(path, body) {
  const answer = await act(path, { person, ...body });
  if (failed(answer)) toast(complaint(answer));
  return !failed(answer);
}
