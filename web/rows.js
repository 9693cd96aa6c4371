/** How a row looks. Its values reach the document as text and bounded numbers, never as markup. */

const PICTURES_AT_ONCE = 100; // lazy loading then fetches only those in sight
const PICTURES_PER_SECOND = 20; // beyond that they are loaded later, newest first
const MAX_WAITING = 500;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

const byId = (id) => document.getElementById(id);
export const put = (root, part, text) => (root.querySelector(`[data-part="${part}"]`).textContent = text);

/** What differs between the channels: what a row is grouped by, and how it looks. */
export const CHANNELS = {
  cctv_updates: { key: (row) => row.cctv_id, name: (key) => `Camera ${key}`, fill: fillDetection },
  scraped_updates: { key: (row) => row.account, name: (key) => String(key), fill: fillScraped },
};

function fillDetection(element, row) {
  const data = objectOf(row.data);
  const label = String(data.label ?? "unlabelled");
  put(element, "label", label);
  element.style.setProperty("--hue", hueOf(label));
  element.querySelector(".tag").hidden = data.demo !== true;
  const sure = confidenceOf(data.confidence);
  put(element, "percent", sure === null ? "–" : `${Math.round(sure * 100)}%`);
  element.querySelector(".fill").style.width = `${(sure ?? 0) * 100}%`;
  const shot = element.querySelector(".shot");
  shot.setAttribute("aria-label", `Show ${label}, camera ${row.cctv_id}`);
  shot.addEventListener("click", () => showDetail(`${label} · camera ${row.cctv_id}`, row));
  const picture = addressOf(row.snapshoot_url);
  if (picture) pictures.add(shot.firstElementChild, picture);
  else shot.firstElementChild.remove(); // without an address it would be drawn as a broken picture
}

function fillScraped(element, row) {
  put(element, "url", row.url ?? "");
  const data = element.querySelector(".data");
  data.textContent = JSON.stringify(row.data)?.slice(0, 200) ?? "–";
  data.addEventListener("click", () => showDetail(`${row.account} · #${row.id}`, row));
}

export function fillTime(element, text) {
  const time = element.querySelector("time");
  const when = new Date(/T.*(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`); // DATETIME has no zone; ours are UTC
  time.textContent = text ?? "";
  if (Number.isNaN(when.getTime())) return;
  const today = when.toDateString() === new Date().toDateString();
  time.textContent = (today ? clock : day).format(when);
  time.dateTime = when.toISOString();
  time.title = `${full.format(when)} (${text})`;
}

/** `data` as an object: it may be any JSON value, or its text where the column is one. */
function objectOf(data) {
  try {
    return Object(typeof data === "string" ? JSON.parse(data) : data);
  } catch {
    return { label: data };
  }
}

function confidenceOf(value) {
  const number = value === null || value === "" ? NaN : Number(value);
  if (Number.isNaN(number)) return null;
  return Math.min(1, Math.max(0, number > 1 ? number / 100 : number));
}

function hueOf(label) {
  const known = { person: 160, car: 215, bicycle: 35, dog: 285 };
  let hash = 0;
  for (const letter of label) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  return known[label] ?? hash;
}

/** A picture's address if it is one that a browser should fetch, else null. */
function addressOf(text) {
  try {
    const url = text ? new URL(text, location.href) : null;
    return ["http:", "https:"].includes(url?.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Pictures are fetched at a bounded rate, the newest first; those of rows that have left are never fetched. */
export const pictures = {
  waiting: [],
  budget: PICTURES_AT_ONCE,
  add(image, address) {
    image.addEventListener("error", () => image.remove()); // the row's own colour is the better placeholder
    this.waiting.push([image, address]);
  },
  /** Once a second: room for some more. */
  refill() {
    this.budget = Math.min(PICTURES_AT_ONCE, this.budget + PICTURES_PER_SECOND);
    this.fetch();
  },
  fetch() {
    this.waiting = this.waiting.slice(-MAX_WAITING).filter(([image]) => image.isConnected);
    while (this.budget > 0 && this.waiting.length) {
      const [image, address] = this.waiting.pop();
      image.src = address;
      this.budget -= 1;
    }
  },
};

function showDetail(title, row) {
  const picture = addressOf(row.snapshoot_url);
  byId("detail-title").textContent = title;
  byId("detail-picture").hidden = !picture;
  if (picture) byId("detail-picture").src = picture;
  const lines = JSON.stringify(row, null, 2);
  // A list of plain values stands on one line. (Text inside it has no line breaks of its own: JSON escapes them.)
  byId("detail-row").textContent = lines.replace(/\[\n[^[\]{}]*\]/g, (list) => list.replace(/\n\s*/g, " "));
  byId("detail").showModal();
}
