/* The sandbox page: shows what the feed tells, and acts as the application and as the person.

   Whatever came over the wire is put in by textContent or as a text node; nothing here is ever parsed as HTML. */

const $ = (id) => document.getElementById(id);

const CHANNELS = {
  telegram: { label: "Telegram", icon: "i-chat", kind: "telegram" },
  sms: { label: "SMS", icon: "i-sms", kind: "phone" },
  email: { label: "E-mail", icon: "i-mail", kind: "email" },
};
const SERVERS = { telegram: ["Telegram", "Bot API"], twilio: ["SMS", "Twilio API"], smtp: ["E-mail", "SMTP"] };
const FAULTS = {
  none: ["Fine", "Works as it should"],
  slow: ["Slow", "Answers after 3 seconds"],
  down: ["Down", "Answers with a server error"],
  limit: ["Limit", "Answers with “too many requests”"],
  blocked: ["Refuse", "Refuses the recipient for good"],
};
/* What an event's last word says of its outcome; a word that is in no list is neutral. */
const TONES = {
  good: "approved sent delivered linked proved",
  warn: "check_failed resent retried rescued returned waiting left locked muted",
  bad: "failed expired max_attempts_reached reported undelivered blocked",
  busy: "created queued sending",
};
const MOST_EVENTS = 500;
/* Somebody else's number, for sharing a contact that is not one's own. */
const STRANGER = "+4915799887766";

// -- small things

function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && name !== "sandbox") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
const press = (properties, ...children) => el("button", { type: "button", ...properties }, ...children);

function icon(name) {
  const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  use.setAttribute("href", `#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}
const show = (node, visible) => { node.hidden = !visible; };
const showAll = (ids) => Object.entries(ids).forEach(([id, visible]) => show($(id), visible));
const toEnd = (list) => { list.scrollTop = list.scrollHeight; };
/* What grows at its end is shown from there; while it is hidden it cannot be scrolled. */
const ends = () => ["sms-list", "chat", "events"].map($).forEach(toEnd);
const nothing = (tag, shape, text) => el(tag, { className: "empty" }, icon(shape), text);

const two = (number) => String(number).padStart(2, "0");
const iso = (seconds) => new Date(seconds * 1000).toISOString();
function clock(seconds, precise = false) {
  const at = new Date(seconds * 1000);
  const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return precise ? `${minutes}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}` : minutes;
}
const stamp = (seconds, precise) => el("time", { dateTime: iso(seconds) }, clock(seconds, precise));
const lasting = (seconds) => `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
const label = (channel) => CHANNELS[channel]?.label ?? channel;
const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

let silence;
function toast(text) {
  clearTimeout(silence);
  $("toast").textContent = text;
  silence = setTimeout(() => { $("toast").textContent = ""; }, 2600);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the permission, or in a browser that gives the clipboard to https alone.
    const focused = document.activeElement;
    const field = el("textarea", { value: text, readOnly: true, className: "hidden" });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    focused?.focus();
  }
  toast(`Copied ${text}`);
}

/* Have the sandbox do something; the answer as {status, body}, with status 0 where there is none. */
async function act(path, body) {
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`/act/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    const found = await answer.json();
    return answer.ok && found.body ? found : { status: answer.status, body: found };
  } catch {
    return { status: 0, body: { detail: "The sandbox did not answer. Is it still running?" } };
  }
}
const failed = ({ status }) => status < 200 || status > 299;

function complaint({ body }) {
  const faults = (body.errors ?? []).map((fault) => `${fault.pointer.slice(1)}: ${fault.detail}`);
  const text = faults.join("; ") || body.detail || body.title || "That did not work.";
  return text[0].toUpperCase() + text.slice(1);
}

/* Act as the person; what went wrong is told on their phone. */
async function perform(path, body) {
  const answer = await act(path, { person, ...body });
  if (failed(answer)) toast(complaint(answer));
  return !failed(answer);
}

// -- tabs and menus

/* Of `all`, the one that a key leads to from the one in focus; nothing for other keys. */
function stepped(event, all, back, forth) {
  const at = all.indexOf(document.activeElement);
  const to = { [forth]: at + 1, [back]: at - 1, Home: 0, End: -1 }[event.key];
  if (to === undefined || at < 0) return null;
  event.preventDefault();
  all.at(to % all.length).focus();
  return document.activeElement;
}

/* Make tabs of a list; `chosen` is told of each panel whether it is open. Returns how to open one by name. */
function tabs(list, chosen) {
  const all = [...list.querySelectorAll('[role="tab"]')];
  const select = (tab) => all.forEach((other) => {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    chosen($(other.getAttribute("aria-controls")), other === tab);
  });
  all.forEach((tab) => { tab.onclick = () => select(tab); });
  list.onkeydown = (event) => {
    const tab = stepped(event, all, "ArrowLeft", "ArrowRight");
    if (tab) select(tab);
  };
  return (name) => select(all.find((tab) => tab.getAttribute("aria-controls") === name));
}

/* Let `button` open `box` with what `items` returns; arrows move, Escape and a press elsewhere close it. */
function menu(button, box, items) {
  const set = (open) => { show(box, open); button.setAttribute("aria-expanded", String(open)); };
  const leave = () => { set(false); button.focus(); };
  const open = () => {
    box.replaceChildren(...items());
    const all = box.querySelectorAll("button");
    all.forEach((item) => { item.role = "menuitem"; item.tabIndex = -1; });
    set(true);
    all[0].focus();
  };
  button.onclick = () => (box.hidden ? open() : leave());
  box.onclick = leave;
  box.onkeydown = (event) => {
    stepped(event, [...box.querySelectorAll("button")], "ArrowUp", "ArrowDown");
    if (["Escape", "Tab"].includes(event.key)) leave();
  };
  document.addEventListener("pointerdown", ({ target }) => {
    if (!box.hidden && !box.contains(target) && !button.contains(target)) set(false);
  });
}

const narrow = matchMedia("(max-width: 779.98px)");
const showPane = tabs($("panes"), (pane, open) => {
  pane.classList.toggle("open", open);
  if (pane.id === "phone" && open) seen();
  if (open) ends();
});

/* Panes are tab panels only where there are tabs. */
function arrange() {
  for (const pane of document.querySelectorAll(".pane")) {
    pane.role = narrow.matches ? "tabpanel" : null;
    pane.setAttribute("aria-labelledby", narrow.matches ? `tab-${pane.id}` : `${pane.id}-title`);
  }
}

// -- the application: sign in

const form = $("sign-in");
let route = [];
const onRoute = new Set();

function startRoute(channels) {
  route = [...channels];
  route.forEach((channel) => onRoute.add(channel));
  drawRoute();
}

function drawRoute(focus = []) {
  $("route").replaceChildren(...route.map(routeRow));
  focus.map($).find((button) => !button.disabled)?.focus();
}

function routeRow(channel, at) {
  const move = (by, name, shape) => press({
    id: `${name}-${channel}`, disabled: !route[at + by], "aria-label": `${label(channel)} ${name}`,
    onclick() {
      [route[at], route[at + by]] = [route[at + by], route[at]];
      drawRoute([this.id, `earlier-${channel}`, `later-${channel}`]);
    },
  }, icon(shape));
  const onchange = ({ target }) => {
    onRoute[target.checked ? "add" : "delete"](channel);
    target.closest("li").classList.toggle("off", !target.checked);
  };
  const box = el("input", { type: "checkbox", value: channel, checked: onRoute.has(channel), onchange });
  return el("li", { className: onRoute.has(channel) ? "" : "off" },
    el("label", {}, box, icon(CHANNELS[channel]?.icon ?? "i-sms"), el("span", {}, label(channel))),
    move(-1, "earlier", "i-up"), move(1, "later", "i-down"));
}

const mode = () => form.elements.mode.value;

function drawMode() {
  for (const part of form.querySelectorAll(".outbound, .inbound")) show(part, part.classList.contains(mode()));
  show($("refused"), false);
}

/* What the form asks for. Where the person confirms in the chat, the bot alone is on the route. */
function wish() {
  const inbound = mode() === "inbound";
  const fields = inbound ? ["phone", "telegram"] : ["phone", "email", "telegram"];
  const to = fields.map((name) => [name, $(`to-${name}`).value.trim()]).filter(([, value]) => value);
  const channels = inbound ? ["telegram"] : route.filter((channel) => onRoute.has(channel));
  return { to: Object.fromEntries(to), channels, mode: mode() };
}

async function signIn(event) {
  event.preventDefault();
  const button = form.querySelector(".main");
  button.disabled = true;
  const answer = await act("sign-in", wish());
  button.disabled = false;
  show($("refused"), failed(answer));
  if (failed(answer)) {
    $("refused").textContent = complaint(answer);
    return;
  }
  $("code").value = "";
  told("");
  begin(answer.body);
  lookSoon(); // what happened before this answer came was not yet known to be ours
  ($("check").hidden ? $("verify-title") : $("code")).focus();
}

// -- the application: the verification under way

let current = null;
let looking = false;

function begin(verification) {
  current = verification;
  const { id, link, challenge } = verification ?? {};
  sessionStorage.setItem("verification", JSON.stringify({ id, link, challenge }));
  drawVerification();
}

/* Read the verification again; its link and its challenge were told once, at its creation. */
async function look() {
  if (!current) return;
  if (looking) {
    lookSoon();
    return;
  }
  looking = true;
  const { id, link, challenge } = current;
  const answer = await act("look", { id });
  looking = false;
  if (current?.id !== id) return;
  if (answer.status === 404) begin(null); // of a gateway that is gone
  if (failed(answer)) return;
  current = { ...answer.body, link: answer.body.link ?? link, challenge: answer.body.challenge ?? challenge };
  drawVerification();
}

let soon;
function lookSoon() {
  clearTimeout(soon);
  soon = setTimeout(look, 120);
}

/* What the card says at an end: a title and a sentence. */
function ending({ status, challenge, events = [] }) {
  const reported = events.some((item) => item.event === "verification.reported");
  return {
    approved: ["Signed in", challenge ? "They confirmed it in the chat." : "That was the code, and it works only once."],
    canceled: reported
      ? ["Stopped", "The person says that they did not ask for this."] : ["Canceled", "The code no longer works."],
    expired: ["Too late", "The time for this ran out."],
    max_attempts_reached: ["Too many wrong codes", "This code is dead. Ask for a new one."],
    failed: ["Not delivered", "No channel of the route could reach the person."],
  }[status];
}

function progress({ messages, to, challenge }) {
  if (challenge) return "Only the owner of this account and number can.";
  const last = messages.at(-1);
  if (!last) return "On its way.";
  const by = label(last.channel);
  const whom = to[CHANNELS[last.channel]?.kind] ?? Object.values(to)[0];
  return {
    waiting: "Nobody has linked this account yet. Open the bot to get the code.",
    queued: `On its way by ${by}.`,
    sending: `On its way by ${by}.`,
    sent: `Sent by ${by} to ${whom}.`,
    delivered: `Delivered by ${by} to ${whom}.`,
  }[last.status] ?? `${by} could not reach the person.`;
}

function drawTrail({ messages, next_channels: next, status }) {
  const tones = { sent: "good", delivered: "good", queued: "", sending: "", waiting: "idle" };
  const gone = messages.map((message) =>
    el("li", { className: tones[message.status] ?? "bad" }, `${label(message.channel)} ${message.status}`));
  const ahead = (status === "pending" ? next : []).map((channel) => el("li", { className: "idle" }, `then ${label(channel)}`));
  $("trail").replaceChildren(...gone, ...ahead);
  show($("trail"), gone.length + ahead.length > 0);
}

function drawVerification() {
  showAll({ "sign-in": !current, verify: current });
  applyFilter();
  if (!current?.messages) return;
  const { status, challenge, link } = current;
  const pending = status === "pending";
  const [title, text] = ending(current) ?? [challenge ? "Confirm in the chat" : "Enter the code", progress(current)];
  $("verify-title").textContent = title;
  // Told to a screen reader only where it changes.
  if ($("verify-text").textContent !== text) $("verify-text").textContent = text;
  $("verify-mark").classList.toggle("bad", status !== "approved");
  $("verify-mark").querySelector("use").setAttribute("href", status === "approved" ? "#i-check" : "#i-cross");
  drawTrail(current);
  // What had the focus is about to go.
  if (!pending && $("verify").contains(document.activeElement)) $("verify-title").focus();
  showAll({
    "verify-mark": !pending, check: pending && !challenge, challenge: pending && challenge,
    "open-chat": pending && link, life: pending, "verify-actions": pending, resend: !challenge,
  });
  $("challenge-text").textContent = challenge ?? "";
  $("checks-left").textContent = challenge ? "" : `${plural(current.checks_left, "check")} left`;
  tick();
}

function tick() {
  const now = Date.now() / 1000;
  $("now").textContent = clock(now);
  if (current?.status !== "pending") return;
  const [made, end, again] = ["created_at", "expires_at", "resend_at"].map((name) => Date.parse(current[name]) / 1000);
  const [left, wait] = [end, again].map((moment) => Math.max(0, Math.ceil(moment - now)));
  $("left").textContent = `Valid for ${lasting(left)}`;
  $("bar").style.transform = `scaleX(${Math.max(0, Math.min(1, (end - now) / (end - made)))})`;
  $("resend").disabled = wait > 0;
  $("resend").textContent = wait > 0 ? `Resend in ${lasting(wait)}` : "Resend";
  if (left === 0) lookSoon();
}

function told(text) {
  $("check-result").textContent = text;
  $("code").setAttribute("aria-invalid", String(Boolean(text)));
}

async function check(event) {
  event.preventDefault();
  const answer = await act("check", { id: current.id, code: $("code").value });
  const wrong = answer.body.code === "wrong_code";
  told(wrong ? `That is not the code. ${plural(answer.body.checks_left, "check")} left.` : failed(answer) ? complaint(answer) : "");
  if (wrong) $("code").select();
  look();
}

async function again(path) {
  const answer = await act(path, { id: current.id });
  told(failed(answer) ? complaint(answer) : "");
  look();
}

async function makeLink() {
  const phone = $("link-phone").checked ? { phone: $("to-phone").value.trim() } : {};
  const answer = await act("subscribe", { reference: $("to-telegram").value.trim(), ...phone });
  const { link } = answer.body;
  $("link-result").textContent = failed(answer) ? complaint(answer) : link;
  show($("open-link"), !failed(answer));
  $("open-link").onclick = () => openLink(link);
}

// -- the phone: its apps, badges and banner

const APPS = { sms: "i-sms", mail: "i-mail", telegram: "i-chat" };
const unread = { sms: 0, mail: 0, telegram: 0 };
let app = "sms";

const showApp = tabs($("dock"), (panel, open) => {
  show(panel, open);
  if (!open) return;
  app = panel.id;
  seen();
  closeMail();
  ends();
});

function seen() {
  unread[app] = 0;
  drawBadges();
}

function drawBadges() {
  const put = (tab, number) => {
    const badge = $(tab).querySelector(".badge");
    show(badge, number > 0);
    badge.textContent = number;
  };
  Object.entries(unread).forEach(([name, number]) => put(`dock-${name}`, number));
  put("tab-phone", unread.sms + unread.mail + unread.telegram);
}

let away;
function notify(name, title, text, whose = person) {
  const inSight = !narrow.matches || $("phone").classList.contains("open");
  if (app === name && whose === person && inSight) return;
  unread[name] += 1;
  drawBadges();
  $("announce").textContent = `${title}: ${text}`;
  const onclick = () => {
    show($("banner"), false);
    if (whose !== person) meet(whose);
    showApp(name);
    $(`dock-${name}`).focus();
  };
  $("banner").replaceChildren(press({ onclick }, el("span", { className: "avatar" }, icon(APPS[name])),
    el("b", {}, title), el("time", {}, "now"), el("span", { className: "what" }, text)));
  show($("banner"), true);
  clearTimeout(away);
  away = setTimeout(() => show($("banner"), false), 6000);
}

// -- the phone: text messages and mails

let letters = [];
const read = new Set();
const sent = (protocol) => letters.filter((letter) => letter.protocol === protocol);

/* A text in which the code can be pressed to copy it. */
function withCode({ text, code }) {
  if (!code || !text.includes(code)) return [text];
  const at = text.indexOf(code);
  const button = press({ className: "code", title: "Copy", onclick: () => copy(code) }, code);
  return [text.slice(0, at), button, text.slice(at + code.length)];
}

function smsRows(letter, before) {
  const follows = before?.to === letter.to && letter.at - before.at < 300;
  return [
    ...(follows ? [] : [el("time", { dateTime: iso(letter.at) }, `${clock(letter.at)} · to ${letter.to}`)]),
    el("div", { className: "text" }, ...withCode(letter)),
    el("small", {}, plural(letter.segments, "segment")),
  ];
}

function drawSms() {
  const texts = sent("twilio");
  const list = $("sms-list");
  $("sms-from").textContent = texts.at(-1)?.from ?? "Messages";
  const drawn = list.querySelectorAll(".text").length;
  if (!drawn) list.replaceChildren();
  if (!texts.length) list.append(nothing("p", "i-sms", "Text messages appear here as they are sent."));
  texts.slice(drawn).forEach((letter, index) => list.append(...smsRows(letter, texts[drawn + index - 1])));
  toEnd(list);
}

const sender = (from) => from.replace(/\s*<[^>]*>$/, "").replace(/^"|"$/g, "") || from || "Unknown";

function mailRow(letter) {
  const snippet = letter.text.replace(/\s+/g, " ").trim().slice(0, 120);
  return el("li", {}, press({ className: read.has(letter.id) ? "" : "unread", onclick: () => openMail(letter) },
    el("i"), el("b", {}, sender(letter.from)), stamp(letter.at),
    el("span", { className: "subject" }, letter.subject || "(no subject)"), el("span", { className: "snippet" }, snippet)));
}

function drawMails() {
  const mails = sent("smtp").reverse();
  const rows = mails.length ? mails.map(mailRow) : [nothing("li", "i-mail", "Mails appear here as they are sent.")];
  $("mail-list").replaceChildren(...rows);
  $("mail-count").textContent = mails.length ? plural(mails.length, "mail") : "";
}

function openMail(letter) {
  const { id, code, html, subject, text, to, at } = letter;
  read.add(id);
  drawMails();
  $("mail-subject").textContent = subject || "(no subject)";
  $("mail-from").textContent = sender(letter.from);
  $("mail-avatar").textContent = sender(letter.from)[0].toUpperCase();
  $("mail-to").textContent = `to ${to}`;
  $("mail-at").textContent = clock(at);
  $("mail-copy").replaceChildren(icon("i-copy"), `Copy ${code}`);
  $("mail-copy").onclick = () => copy(code);
  // The mail's own HTML, without scripts, forms or an origin: what a careful mail program would show.
  const src = `/mail/${encodeURIComponent(id)}`;
  $("mail-body").replaceChildren(html
    ? el("iframe", { sandbox: "", src, title: `Mail: ${subject}` }) : el("pre", { tabIndex: 0 }, text));
  showAll({ "mail-copy": code, "mail-box": false, "mail-open": true });
  $("mail-subject").focus();
}

function closeMail() {
  showAll({ "mail-open": false, "mail-box": true });
  $("mail-body").replaceChildren();
}

function arrived(letter) {
  letters.push(letter);
  const { protocol, from, subject, text } = letter;
  if (protocol === "twilio") {
    drawSms();
    notify("sms", from, text);
  } else {
    drawMails();
    notify("mail", sender(from), subject || text);
  }
}

// -- the phone: the chat with the bot

let person = 4242;
let commands = {};
const chats = new Map();
/* Persons who opened a link and have not pressed Start yet, with its payload. */
const starting = new Map();
/* What the chat shows: of each message its node and what it was drawn from. */
const drawn = new Map();
const chatOf = (whose) => chats.get(whose) ?? { messages: [], blocked: false, keyboard: null };
const ownPhone = () => $("to-phone").value.replace(/[^+\d]/g, "") || "+4915112345678";

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

function bubble(message) {
  const { mine, edited, at } = message;
  const locked = message.protected ? "Protected: it cannot be forwarded or copied as a whole" : "";
  const meta = el("span", { className: "meta", title: locked }, edited ? "edited " : null, stamp(at),
    locked ? icon("i-lock") : null, mine ? icon("i-checks") : null);
  const keys = message.buttons.map((row) => el("div", {}, ...row.map((button) => key(message, button))));
  return el("div", { className: `message${mine ? " mine" : ""}${locked ? " protected" : ""}` },
    el("div", { className: "bubble" }, el("span", { className: "hidden" }, mine ? "You: " : "Bot: "), ...content(message), meta),
    keys.length ? el("div", { className: "keys" }, ...keys) : null);
}

/* Draw the chat anew, message by message: what is gone fades, what changed is marked, what stayed stays. */
function drawChat() {
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
  person = whose;
  $("person").value = whose;
  drawn.clear();
  $("chat").replaceChildren();
  drawChat();
}

function openLink(link) {
  starting.set(person, new URL(link).searchParams.get("start") ?? "");
  show($("open-link"), false); // a link works once
  $("link-result").textContent = "";
  showPane("phone");
  showApp("telegram");
  drawFoot();
  $("start").focus();
}

async function start() {
  const payload = starting.get(person) ?? "";
  starting.delete(person);
  await perform("start", { payload });
  drawFoot();
  $("message").focus();
}

function talked(chat) {
  const known = new Set(chatOf(chat.person).messages.map((message) => message.id));
  chats.set(chat.person, chat);
  drawPeople();
  if (chat.person === person) drawChat();
  const said = chat.messages.findLast((message) => !message.mine && !known.has(message.id));
  if (said) notify("telegram", chat.person === person ? $("bot").textContent : `Person ${chat.person}`, said.text, chat.person);
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

// -- the log: providers and events

function drawFaults(faults) {
  for (const [server, fault] of Object.entries(faults)) {
    const field = document.querySelector(`input[name="fault-${server}"][value="${fault}"]`);
    if (field) field.checked = true;
  }
}

function faultRow([server, [name, api]]) {
  const option = ([fault, [text, title]]) => el("label", { title },
    el("input", { type: "radio", name: `fault-${server}`, value: fault, onchange: () => act("fault", { server, fault }) }),
    el("span", { className: fault === "none" ? "" : "trouble" }, text));
  return el("fieldset", { className: "fault" }, el("legend", {}, name, el("small", {}, api)),
    el("div", { className: "segments" }, ...Object.entries(FAULTS).map(option)));
}

function eventRow({ at, name, channel, recipient, reason, provider_code: code, milliseconds, verification }) {
  const whom = [channel && label(channel), recipient].filter(Boolean).join(" ");
  const took = milliseconds >= 1 ? `${Math.round(milliseconds)} ms` : "";
  const why = reason ? [reason.replaceAll("_", " "), code].filter(Boolean).join(", ") : "";
  const tone = Object.keys(TONES).find((each) => TONES[each].split(" ").includes(name.split(".")[1])) ?? "";
  return el("li", { className: tone, title: verification ?? "", "data-verification": verification ?? "" },
    stamp(at, true), el("i"), el("b", {}, name), el("span", {}, [whom, took].filter(Boolean).join(" · ")),
    why ? el("span", {}, why) : null);
}

function happened(event) {
  const list = $("events");
  list.querySelector(".empty")?.remove();
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const row = eventRow(event);
  row.classList.toggle("first", list.lastElementChild?.dataset.verification !== row.dataset.verification);
  list.append(row);
  if (list.children.length > MOST_EVENTS) list.firstElementChild.remove();
  applyFilter([row]);
  if (atEnd) toEnd(list);
  if (current && event.verification === current.id) lookSoon();
}

function applyFilter(rows = $("events").querySelectorAll("[data-verification]")) {
  const all = !$("only-mine").checked || !current;
  rows.forEach((row) => show(row, all || row.dataset.verification === current.id));
}

const noEvents = () => $("events").replaceChildren(nothing("li", "i-log", "Every step of the gateway appears here."));

// -- the feed

const heard = {
  snapshot(all) {
    // What was there before is not read out as if it came now.
    const logs = ["sms-list", "chat"].map($);
    logs.forEach((log) => log.setAttribute("aria-live", "off"));
    setTimeout(() => logs.forEach((log) => log.setAttribute("aria-live", "polite")), 500);
    ({ letters, commands } = all);
    letters.forEach((letter) => read.add(letter.id));
    if (!route.length) startRoute(all.channels);
    $("brand").textContent = ` to ${all.brand}`;
    $("bot").textContent = all.bot;
    $("live").replaceChildren("Live", el("span", {}, ` at ${all.gateway.replace("http://", "")}`));
    $("docs").href = `${all.gateway}/docs`;
    show($("docs"), true);
    chats.clear();
    Object.entries(all.chats).forEach(([whose, chat]) => chats.set(Number(whose), chat));
    drawPeople();
    meet(person);
    $("sms-list").replaceChildren();
    drawSms();
    drawMails();
    drawFaults(all.faults);
    noEvents();
    all.events.forEach(happened);
    toEnd($("events"));
    look();
  },
  letter: ({ letter }) => arrived(letter),
  chat: talked,
  event: ({ event }) => happened(event),
  faults: ({ faults }) => drawFaults(faults),
  commands: (all) => { commands = all.commands; },
};

function listen() {
  const feed = new EventSource("/feed");
  feed.onopen = () => { $("live").dataset.state = "live"; };
  feed.onerror = () => { $("live").dataset.state = "lost"; $("live").textContent = "Reconnecting"; };
  feed.onmessage = ({ data }) => {
    const item = JSON.parse(data);
    heard[item.kind]?.(item);
  };
}

// -- what is there from the start

function startTheme() {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const dark = (localStorage.theme ?? (prefers.matches ? "dark" : "light")) === "dark";
    $("theme").setAttribute("aria-pressed", String(dark));
    document.documentElement.dataset.theme = localStorage.theme ?? "";
    return dark;
  };
  prefers.onchange = draw;
  $("theme").onclick = () => { localStorage.theme = draw() ? "light" : "dark"; draw(); };
  draw();
}

function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, [role=menu]")) return;
    event.preventDefault();
    showPane("phone");
    showApp("telegram");
    $("message").focus();
  });
}

const PRESSED = {
  resend: () => again("resend"), cancel: () => again("cancel"), again: () => { begin(null); form.querySelector(".main").focus(); },
  "open-chat": () => openLink(current.link), link: makeLink, start, clear: noEvents,
  "mail-back": () => { closeMail(); $("mail-list").focus(); },
  unblock: () => perform("block", { blocked: false }),
  share: () => perform("contact", { phone: ownPhone(), whose: "own" }),
};

startTheme();
startKeys();
arrange();
drawMode();
showPane("app");
showApp("sms");
narrow.onchange = arrange;
for (const field of form.elements.mode) field.onchange = drawMode;
for (const [id, does] of Object.entries(PRESSED)) $(id).onclick = does;
form.onsubmit = signIn;
$("check").onsubmit = check;
$("composer").onsubmit = write;
$("person").onchange = ({ target }) => (/^[1-9]\d{0,14}$/.test(target.value) ? meet(Number(target.value)) : meet(person));
$("only-mine").onchange = () => { applyFilter(); toEnd($("events")); };
$("faults").replaceChildren(...Object.entries(SERVERS).map(faultRow));
menu($("chat-more"), $("chat-menu"), chatMenu);
menu($("slash"), $("commands"), commandMenu);
const kept = JSON.parse(sessionStorage.getItem("verification") ?? "{}");
if (kept.id) current = kept; // read again with the first snapshot
setInterval(tick, 1000);
tick();
listen();
