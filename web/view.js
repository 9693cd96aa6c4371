/** One channel on the page: its list, newest first, its filter chips and its tab. What it keeps is bounded. */
import { fillTime, put } from "./rows.js";

export const MAX_ROWS = 500; // in the list, and waiting while paused
const MAX_CHIPS = 40;
const ALL = "all of them"; // the key of the first chip
const CALM = 12; // rows per frame that may still be animated

const GAPS = {
  retention: ({ after, before }) => `${(before - after - 1).toLocaleString()} older rows are no longer kept.`,
  purged: () => "The database discarded part of its log before it was read: rows may be missing here.",
  reset: () => "The database's log was reset: rows may be missing here.",
  epoch: () => "The journal was rebuilt: rows may be missing here.",
};

const CHANGES = { update: "updated", delete: "deleted" };

const inOrder = new Intl.Collator(undefined, { numeric: true }).compare;
const stamp = (name) => document.getElementById(name).content.firstElementChild.cloneNode(true);

export class View {
  #channel; #kind; #onChange; #list; #panel; #tab; #chips;
  #waiting = []; // functions that make an element, each given whether it may be animated
  #rows = new Map(); // id of the row → its element
  #counts = new Map(); // key → rows since the page was opened
  #chosen = new Set(); // keys shown; none: all
  #total = 0;
  #unseen = 0;

  /** `onChange` is called when something waits to be flushed. */
  constructor(channel, kind, onChange) {
    this.#channel = channel;
    this.#kind = kind;
    this.#onChange = onChange;
    this.#panel = document.getElementById(channel);
    this.#tab = document.getElementById(`tab-${channel}`);
    this.#list = this.#panel.querySelector(".rows");
    this.#chips = this.#panel.querySelector(".chips");
  }

  get waiting() {
    return this.#waiting.length;
  }

  row(row, event, fresh) {
    const key = String(this.#kind.key(row));
    if (this.#counts.has(key) || this.#counts.size < MAX_CHIPS) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    this.#total += 1;
    if (fresh) this.#unseen += 1;
    this.#push((calm) => this.#rowElement(row, key, event, fresh && calm));
  }

  gap(gap) {
    this.#push(() => this.#gapElement(gap));
  }

  #push(make) {
    this.#waiting.push(make);
    // A hidden tab gets no animation frames, a paused one wants none: keep what the list can show.
    if (this.#waiting.length > 2 * MAX_ROWS) this.#waiting = this.#waiting.slice(-MAX_ROWS);
    this.#onChange();
  }

  /** Brings the document up to date with everything that waits. */
  flush() {
    const waiting = this.#waiting.slice(-MAX_ROWS);
    this.#waiting = [];
    const fragment = document.createDocumentFragment();
    for (const make of waiting) fragment.prepend(make(waiting.length <= CALM));
    this.#list.prepend(fragment);
    while (this.#list.childElementCount > MAX_ROWS) this.#forget(this.#list.lastElementChild);
    this.#panel.querySelector(".empty").hidden = this.#list.childElementCount > 0;
  }

  /** Chips and badge need no frame rate: once in a while is enough. */
  tick() {
    if (!this.#panel.hidden) this.#unseen = 0;
    const badge = this.#tab.querySelector(".badge");
    badge.hidden = this.#unseen === 0;
    badge.textContent = this.#unseen > 999 ? "999+" : this.#unseen;
    if (this.#total) this.#chip(ALL, "All", this.#total);
    for (const [key, count] of this.#counts) this.#chip(key, this.#kind.name(key), count);
  }

  #rowElement(row, key, { epoch, offset, op }, animated) {
    const id = String(row.id ?? `${epoch}:${offset}`);
    this.#forget(this.#rows.get(id)); // changed, or read once more from the table after a loss: shown once
    const element = stamp(`row-${this.#channel}`);
    Object.assign(element.dataset, { epoch, offset, id, key });
    put(element, "id", `#${id}`);
    put(element, "key", this.#kind.name(key));
    this.#kind.fill(element, row);
    element.dataset.op = op;
    const change = element.querySelector(".change");
    change.textContent = CHANGES[op] ?? "";
    change.hidden = !change.textContent;
    fillTime(element, row.timestamp);
    element.classList.toggle("fresh", animated);
    element.hidden = !this.#shows(element);
    this.#rows.set(id, element);
    return element;
  }

  #gapElement(gap) {
    const element = stamp("row-gap");
    Object.assign(element.dataset, { offset: gap.before - 1, gap: gap.reason });
    put(element, "text", (GAPS[gap.reason] ?? (() => "Rows are missing here."))(gap));
    return element;
  }

  #forget(element) {
    element?.remove();
    if (this.#rows.get(element?.dataset.id) === element) this.#rows.delete(element?.dataset.id);
  }

  #shows(element) {
    return element.dataset.gap !== undefined || this.#chosen.size === 0 || this.#chosen.has(element.dataset.key);
  }

  #chip(key, name, count) {
    const chip = [...this.#chips.children].find((other) => other.dataset.key === key) ?? this.#newChip(key, name);
    chip.lastElementChild.textContent = count.toLocaleString();
  }

  #newChip(key, name) {
    const chip = Object.assign(document.createElement("button"), { type: "button" });
    chip.dataset.key = key;
    chip.append(document.createElement("span"), " ", document.createElement("small"));
    chip.firstElementChild.textContent = name;
    chip.addEventListener("click", () => this.#choose(key));
    const later = [...this.#chips.children].find(({ dataset }) => key === ALL || (dataset.key !== ALL && inOrder(key, dataset.key) < 0));
    this.#chips.insertBefore(chip, later ?? null);
    this.#mark();
    return chip;
  }

  #choose(key) {
    if (key === ALL) this.#chosen.clear();
    else if (!this.#chosen.delete(key)) this.#chosen.add(key);
    for (const element of this.#list.children) element.hidden = !this.#shows(element);
    this.#mark();
  }

  #mark() {
    for (const chip of this.#chips.children) {
      const { key } = chip.dataset;
      chip.setAttribute("aria-pressed", key === ALL ? this.#chosen.size === 0 : this.#chosen.has(key));
    }
  }
}
