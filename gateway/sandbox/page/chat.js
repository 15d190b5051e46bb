/* The chat with the bot. */

import { bubble } from "./bubble.js";
import { $, el, icon, menu, press, show, showAll, toEnd } from "./dom.js";
import { showPane } from "./frame.js";
import { chatOf, chats, hand, language, ownPhone, perform, person } from "./people.js";
import { notify, showApp } from "./phone.js";

/* Somebody else's number, for sharing a contact that is not one's own. */
const STRANGER = "+4915799887766";

let commands = {};
/* Persons who opened a link and have not pressed Start yet, with its payload. */
const starting = new Map();
/* What the chat shows: of each message its node and what it was drawn from. */
const drawn = new Map();

/* Draw the chat anew, message by message: what is gone fades, what changed is marked, what stayed stays. */
function draw() {
  const { messages } = chatOf(person);
  const list = $("chat");
  list.querySelector(".welcome, .day")?.remove();
  for (const [id, { node }] of [...drawn]) {
    if (messages.some((message) => message.id === id)) continue;
    drawn.delete(id);
    node.classList.add("leaving");
    setTimeout(() => node.remove(), 300);
  }
  const fresh = messages.filter((message) => drawMessage(list, message));
  list.prepend(messages.length ? el("p", { className: "day" }, "Today") : el("p", { className: "welcome" },
    el("b", {}, "What can this bot do?"), "It brings one-time codes from the services that you link to this chat."));
  drawFoot();
  // After the foot, which may take some of the chat's height.
  if (fresh.length) toEnd(list);
}

/* Draw a message where it is new or changed; tells whether it is new. */
function drawMessage(list, message) {
  const [before, text] = [drawn.get(message.id), JSON.stringify(message)];
  if (before?.text === text) return false;
  const node = bubble(message);
  drawn.set(message.id, { node, text });
  if (!before) {
    list.append(node);
    return true;
  }
  node.classList.add("changed");
  before.node.replaceWith(node);
  return false;
}

function drawFoot() {
  const { messages, blocked, keyboard } = chatOf(person);
  const start = starting.has(person) || (!messages.length && !blocked);
  showAll({ start, unblock: blocked && !start, composer: !start && !blocked, share: keyboard?.contact && !start && !blocked });
  $("share").textContent = keyboard?.label ?? "";
  $("bot-status").textContent = blocked ? "bot, blocked" : "bot";
}

function meet(whose) {
  hand(whose);
  $("person").value = whose;
  drawn.clear();
  $("chat").replaceChildren();
  draw();
}

/* Have the person open the bot by a link. */
export function openLink(link) {
  starting.set(person, new URL(link).searchParams.get("start") ?? "");
  showPane("phone");
  showApp("telegram");
  drawFoot();
  $("start").focus();
}

async function start() {
  const payload = starting.get(person) ?? "";
  starting.delete(person);
  await perform("start", { payload, language });
  drawFoot();
  $("message").focus();
}

export function talked(chat) {
  const known = new Set(chatOf(chat.person).messages.map((message) => message.id));
  chats.set(chat.person, chat);
  drawPeople();
  const elsewhere = chat.person !== person;
  if (!elsewhere) draw();
  const said = chat.messages.findLast((message) => !message.mine && !known.has(message.id));
  if (!said) return;
  const reach = () => { if (chat.person !== person) meet(chat.person); };
  notify("telegram", elsewhere ? `Person ${chat.person}` : $("bot").textContent, said.text, { elsewhere, reach });
}

function drawPeople() {
  $("people").replaceChildren(...[...chats].map(([whose, { name }]) => el("option", { value: whose }, name)));
}

function chatMenu() {
  const { blocked } = chatOf(person);
  const contact = (text, phone, whose) => press({ onclick: () => perform("contact", { phone, whose }) }, text);
  return [
    contact("Share my number", ownPhone(), "own"),
    contact("Share somebody else’s number", STRANGER, "other"),
    contact("Forward my contact", ownPhone(), "forwarded"),
    el("hr"),
    press({ className: blocked ? "" : "risky", onclick: () => perform("block", { blocked: !blocked }) },
      blocked ? "Unblock the bot" : "Block the bot"),
  ];
}

function commandMenu() {
  const list = commands[chatOf(person).language] ?? commands[""] ?? [];
  const known = list.length ? list : [{ command: "help", description: "What the bot can do" }];
  return known.map(({ command: name, description }) =>
    press({ onclick: () => perform("write", { text: `/${name}` }) }, el("code", {}, `/${name}`), description));
}

async function write(event) {
  event.preventDefault();
  const text = $("message").value.trim();
  if (!text) return;
  $("message").value = "";
  if (!await perform("write", { text })) $("message").value = text;
}

export function showChats(all) {
  chats.clear();
  Object.entries(all).forEach(([whose, chat]) => chats.set(Number(whose), chat));
  drawPeople();
  meet(person);
}

export const showCommands = (all) => { commands = all; };

$("start").onclick = start;
$("unblock").onclick = () => perform("block", { blocked: false });
$("share").onclick = () => perform("contact", { phone: ownPhone(), whose: "own" });
$("composer").onsubmit = write;
$("person").onchange = ({ target }) => meet(/^[1-9]\d{0,14}$/.test(target.value) ? Number(target.value) : person);
menu($("chat-more"), $("chat-menu"), chatMenu);
menu($("slash"), $("commands"), commandMenu);
