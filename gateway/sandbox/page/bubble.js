/* A message of the chat: its text with everything Telegram marks in one, its contact and its buttons. */

import { el, icon, press, stamp } from "./dom.js";
import { perform } from "./people.js";
import { copy, toast } from "./phone.js";

/* A text with its entities, whose offsets count UTF-16 units as JavaScript's own do. */
function rich(text, entities, from = 0, to = text.length) {
  const parts = [];
  let at = from;
  entities.forEach((entity, index) => {
    const end = entity.offset + entity.length;
    if (entity.offset < at || end > to) return; // drawn within an earlier one, or beyond this part
    const within = entities.slice(index + 1).filter((other) => other.offset + other.length <= end);
    const inner = rich(text, within, entity.offset, end);
    parts.push(...plain(text.slice(at, entity.offset)), dressed(entity, text.slice(entity.offset, end), inner));
    at = end;
  });
  return [...parts, ...plain(text.slice(at, to))];
}

const TAGS = {
  bold: "b", italic: "i", underline: "u", strikethrough: "s", code: "code", pre: "pre",
  blockquote: "blockquote", expandable_blockquote: "blockquote",
};

function dressed({ type, url }, text, inner) {
  if (TAGS[type]) return el(TAGS[type], {}, ...inner);
  if (type === "bot_command") return command(text);
  if (type === "spoiler") {
    const onclick = ({ target }) => target.closest("button").setAttribute("aria-expanded", "true");
    return press({ className: "spoiler", "aria-expanded": "false", title: "Hidden text", onclick }, ...inner);
  }
  // Links are shown and not followed: what a bot sends leads out of the sandbox.
  return el("span", { className: "ref", title: url ?? text }, ...inner);
}

const command = (text) => press({ className: "code ref", onclick: () => perform("write", { text }) }, text);

/* Plain text, in which Telegram lets one press commands. */
function plain(text) {
  const parts = text.split(/(?<![\w/])(\/[a-z][a-z0-9_]{1,31})\b/);
  return parts.map((part, index) => (index % 2 ? command(part) : part)).filter((part) => part !== "");
}

function key(message, { label: text, copy: copied, data }) {
  if (copied) return press({ onclick: () => copy(copied) }, icon("i-copy"), text);
  const onclick = () => (data ? perform("press", { message: message.id, data }) : toast("Links are not followed here."));
  return press({ onclick }, text);
}

/* What a message holds: a shared contact as a card, everything else as text. */
function content({ mine, contact, forwarded, text, entities }) {
  // As Telegram does it, the token of a link is not shown.
  if (!contact) return rich(mine ? text.replace(/^\/start .*/, "/start") : text, entities);
  const whose = forwarded ? "Forwarded contact" : contact.own ? "My contact" : "Contact of somebody else";
  return [el("span", { className: "contact" }, el("span", { className: "avatar", "aria-hidden": "true" }, icon("i-phone")),
    el("span", {}, el("b", {}, contact.phone), el("br"), whose))];
}

export function bubble(message) {
  const { mine, edited, at } = message;
  const locked = message.protected ? "Protected: it cannot be forwarded or copied as a whole" : "";
  const meta = el("span", { className: "meta", title: locked }, edited ? "edited " : null, stamp(at),
    locked ? icon("i-lock") : null, mine ? icon("i-checks") : null);
  const keys = message.buttons.map((row) => el("div", {}, ...row.map((button) => key(message, button))));
  return el("div", { className: `message${mine ? " mine" : ""}${locked ? " protected" : ""}` },
    el("div", { className: "bubble" }, el("span", { className: "hidden" }, mine ? "You: " : "Bot: "), ...content(message), meta),
    keys.length ? el("div", { className: "keys" }, ...keys) : null);
}
