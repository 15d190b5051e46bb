/* The verification under way, as the application shows it. */

import { act, complaint, failed } from "./acts.js";
import { openLink } from "./chat.js";
import { $, el, show, showAll } from "./dom.js";
import { CHANNELS, label, lasting, plural } from "./words.js";

export let current = null;
let looking = false;

/* Take up a verification that has just begun. */
export function begin(verification) {
  $("code").value = "";
  told("");
  keep(verification);
  lookSoon(); // what happened before its answer came was not yet known to be ours
  ($("check").hidden ? $("verify-title") : $("code")).focus();
}

function keep(verification) {
  current = verification;
  const { id, link, challenge } = verification ?? {};
  sessionStorage.setItem("verification", JSON.stringify({ id, link, challenge }));
  draw();
}

/* Read the verification again; its link and its challenge were told once, at its creation. */
export async function look() {
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
  if (answer.status === 404) keep(null); // of a gateway that is gone
  if (failed(answer)) return;
  current = { ...answer.body, link: answer.body.link ?? link, challenge: answer.body.challenge ?? challenge };
  draw();
}

let soon;
export function lookSoon() {
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

function draw() {
  showAll({ "sign-in": !current, verify: current });
  $("verify").dispatchEvent(new Event("drawn"));
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

function leave() {
  keep(null);
  $("sign-in").querySelector(".main").focus();
}

$("check").onsubmit = check;
$("resend").onclick = () => again("resend");
$("cancel").onclick = () => again("cancel");
$("again").onclick = leave;
$("open-chat").onclick = () => openLink(current.link);
const kept = JSON.parse(sessionStorage.getItem("verification") ?? "{}");
if (kept.id) current = kept; // read again with the first snapshot
setInterval(tick, 1000);
