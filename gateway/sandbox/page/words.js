/* What channels, moments and numbers are called. */

export const CHANNELS = {
  telegram: { label: "Telegram", icon: "i-chat", kind: "telegram" },
  sms: { label: "SMS", icon: "i-sms", kind: "phone" },
  email: { label: "E-mail", icon: "i-mail", kind: "email" },
};

const two = (number) => String(number).padStart(2, "0");
export const iso = (seconds) => new Date(seconds * 1000).toISOString();
export function clock(seconds, precise = false) {
  const at = new Date(seconds * 1000);
  const minutes = `${two(at.getHours())}:${two(at.getMinutes())}`;
  return precise ? `${minutes}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}` : minutes;
}
export const lasting = (seconds) => `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
export const label = (channel) => CHANNELS[channel]?.label ?? channel;
export const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
