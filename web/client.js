/**
 * Rowcast in the browser: every row of a channel, in commit order, each once, and again after a reconnect.
 *
 *     const feed = new Rowcast();
 *     feed.subscribe("cctv_updates", (row) => show(row), {last: 100});
 *
 * A client's whole memory is one cursor per subscription, the pair (epoch, offset): "everything up to and including
 * this offset of this epoch has been handed over". Offsets count 1, 2, 3, … so the client proves to itself that
 * nothing is missing. Needs a global WebSocket: every browser, Node 22 (Node 20 with --experimental-websocket).
 *
 * @typedef {{epoch: string, offset: number}} Cursor
 * @typedef {{channel: string, epoch: string, offset: number, op: "insert" | "read" | "update" | "delete", old?: object}}
 *     RowEvent  `old`: what an update's changed columns were
 * @typedef {{subscription: string, after: number, before: number, reason: string}} Gap  rows between the two are gone
 * @typedef {{name: string, type: string, nullable: boolean, key: boolean}} Column  as in SQL; `key`: the primary one
 * @typedef {"connecting" | "catching_up" | "live" | "source_down" | "offline" | "closed"} State
 * @typedef {object} SubscribeOptions
 * @property {number} [last]  begin with the newest so many rows; without it, live from now on
 * @property {object} [where]  only the rows that match, as docs/protocol.md has it: {cctv_id: [3, 7]}
 * @property {(gap: Gap) => void} [onGap]  rows are missing here, and why
 * @property {(columns: Column[]) => void} [onSchema]  the rows that follow have these columns
 * @property {(cursor: Cursor) => void} [onLive]  everything older has been handed over
 * @typedef {object} Options
 * @property {Pick<Storage, "getItem" | "setItem">} [storage]  keeps the cursors, so that a reload resumes (sessionStorage)
 * @property {[number, number]} [backoffMs]  ceiling of the first and of the longest pause between attempts
 * @property {number} [silenceMs]  a link without any frame for so long is dead
 */

const CONNECT_MS = 10_000; // for the handshake
const PROBE_MS = 5_000; // for any answer to our ping
const STABLE_MS = 5_000; // a connection that lived so long starts the back-off afresh
const SAVE_MS = 200; // cursors are written to the storage this often
const FRAMES_OF_SUBSCRIPTIONS = new Set(["subscribed", "gap", "live", "progress", "schema"]);

/** One channel's cursor and handlers. It knows no socket: frames go in, `false` comes out when one is missing. */
export class Subscription {
  /** @type {Cursor | null} */ cursor = null;
  /** @type {"waiting" | "replaying" | "live" | "failed"} */ phase = "waiting";
  request = 0; // id of the subscribe frame whose answer counts; answers to older ones come late
  #loss = false; // the server said that rows are lost; its gap frame follows
  #handler;
  #leave;

  constructor(channel, handler, options, leave) {
    this.channel = channel;
    this.options = options;
    this.#handler = handler;
    this.#leave = leave;
  }

  /** No more rows from now on. */
  close() {
    this.#leave(this);
  }

  ask(id) {
    const { where, last, onSchema } = this.options;
    this.request = id;
    this.phase = "waiting";
    const schema = onSchema ? true : undefined;
    return { type: "subscribe", channel: this.channel, id, where, schema, ...(this.cursor ?? { last }) };
  }

  subscribed({ id, epoch, offset, recovered }) {
    if (id !== undefined && id !== this.request) return true;
    this.phase = "replaying";
    this.#loss = recovered === false;
    // When the server continues where we are, our own cursor is the judge of what it sends, not its word.
    if (this.#loss || this.cursor?.epoch !== epoch) this.cursor = { epoch, offset };
    return true;
  }

  event({ offset, op = "insert", old, message }) {
    if (this.phase === "waiting" || offset <= this.cursor.offset) return true; // of the one before us; or seen
    if (this.#misses(offset - 1)) return false;
    this.#loss = false;
    this.#pass(offset);
    this.#handler(message, { channel: this.channel, ...this.cursor, op, ...(old && { old }) });
    return true;
  }

  gap(frame) {
    if (this.phase === "waiting" || (frame.before <= this.cursor.offset + 1 && !this.#loss)) return true;
    if (!this.#loss && this.#misses(frame.after)) return false;
    this.#loss = false;
    this.#pass(frame.before - 1);
    this.options.onGap?.(frame);
    return true;
  }

  schema({ columns }) {
    if (this.phase !== "waiting") this.options.onSchema?.(columns);
    return true;
  }

  live(frame) {
    if (this.phase === "waiting") return true;
    if (!this.progress(frame)) return false;
    this.phase = "live";
    this.options.onLive?.(this.cursor);
    return true;
  }

  /** Nothing up to `offset` passes the filter but what came: after a reconnect nobody has to look through it again. */
  progress({ offset }) {
    if (this.phase === "waiting") return true;
    if (this.#misses(offset)) return false;
    this.#pass(offset);
    return true;
  }

  /** Whether `offset` exists and was never seen. With a filter, offsets that do not match are skipped rightly. */
  #misses(offset) {
    return !this.options.where && offset > this.cursor.offset;
  }

  #pass(offset) {
    this.cursor = { epoch: this.cursor.epoch, offset: Math.max(offset, this.cursor.offset) };
  }
}

/** A connection to the gateway that mends itself, and the subscriptions on it. */
export class Rowcast {
  /** @type {Map<string, Subscription>} */ #subscriptions = new Map();
  /** @type {Map<string, Set<Function>>} */ #listeners = new Map();
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {State} */ #state = "connecting";
  /** @type {[number, number] | null} */ #drain = null; // the pause that a draining server asked for
  #url; #options; #watch; #retry; #saving;
  #requests = 0;
  #attempt = 0;
  #openedAt = 0; // 0: not open
  #deadline = 0; // by then a frame must have come
  #source = "live";
  #closed = false;

  /**
   * @param {string | URL} [url]  of the gateway; by default the one that belongs to this page
   * @param {Options} [options]
   */
  constructor(url = gatewayOf(document, location), options = {}) {
    this.#url = String(url);
    this.#options = { backoffMs: [200, 10_000], silenceMs: 35_000, ...options };
    this.#connect();
    this.#watch = setInterval(() => this.#checkLink(), Math.min(1000, this.#options.silenceMs / 4));
    globalThis.addEventListener?.("online", this.#nudge);
    globalThis.document?.addEventListener("visibilitychange", this.#nudge);
    globalThis.addEventListener?.("pagehide", this.#save);
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /**
   * Hands every row of a channel to `handler`, once per (epoch, offset), oldest first, now and after each reconnect.
   * @param {string} channel
   * @param {(row: any, event: RowEvent) => void} handler
   * @param {SubscribeOptions} [options]
   * @returns {Subscription}
   */
  subscribe(channel, handler, options = {}) {
    if (this.#subscriptions.has(channel)) throw new Error(`already subscribed to ${channel}: close that one first`);
    const subscription = new Subscription(channel, this.#guarded(handler), {
      ...options,
      onGap: this.#guarded((gap) => { this.#emit("gap", gap); options.onGap?.(gap); }),
      onLive: this.#guarded((cursor) => options.onLive?.(cursor)),
      onSchema: options.onSchema && this.#guarded(options.onSchema),
    }, this.#leave);
    subscription.cursor = this.#load(subscription);
    this.#subscriptions.set(channel, subscription);
    if (this.#openedAt) this.#send(subscription.ask(++this.#requests));
    this.#settle();
    return subscription;
  }

  /**
   * Calls `listener` on "state" (State), "heartbeat" ({source, lag_ms}), "gap" (Gap) or "error" (Error with a code).
   * @returns {() => void} to stop listening
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Ends the connection for good. */
  close() {
    this.#closed = true;
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
    globalThis.removeEventListener?.("online", this.#nudge);
    globalThis.document?.removeEventListener("visibilitychange", this.#nudge);
    globalThis.removeEventListener?.("pagehide", this.#save);
    this.#hangUp();
    this.#save();
    this.#settle();
  }

  // ---- the connection, in the order of its life

  #connect() {
    this.#retry = undefined;
    this.#deadline = Date.now() + CONNECT_MS;
    const socket = (this.#socket = new WebSocket(this.#url));
    const ours = (act) => (event) => socket === this.#socket && act(event); // what a replaced socket says is void
    socket.onopen = ours(() => this.#opened());
    socket.onmessage = ours(({ data }) => this.#receive(data));
    socket.onclose = ours(({ code, reason }) => this.#lost(code, reason));
    socket.onerror = ours(() => this.#lost(1006, "")); // Node 20 sends no close event after a failed handshake
  }

  #opened() {
    this.#openedAt = Date.now();
    this.#deadline = this.#openedAt + this.#options.silenceMs;
    this.#source = "live"; // until a heartbeat says otherwise
    for (const subscription of this.#subscriptions.values()) this.#send(subscription.ask(++this.#requests));
    this.#settle();
  }

  #receive(text) {
    this.#deadline = Date.now() + this.#options.silenceMs;
    const frame = parsed(text);
    if (!frame) return this.#lost(1006, "");
    if (frame.channel !== undefined) this.#follow(frame.channel, "event", frame);
    else if (FRAMES_OF_SUBSCRIPTIONS.has(frame.type)) this.#follow(frame.subscription, frame.type, frame);
    else if (frame.type === "heartbeat") this.#beat(frame);
    else if (frame.type === "drain") this.#drain = frame.reconnect_ms;
    else if (frame.type === "error") this.#refused(frame);
    this.#settle();
  }

  #follow(channel, step, frame) {
    const subscription = this.#subscriptions.get(channel);
    if (!subscription) return; // closed by us, the frame was already under way
    if (subscription[step](frame)) return this.#saveSoon();
    this.#fail("hole", `a frame of ${channel} is missing after offset ${subscription.cursor.offset}: resuming there`);
    this.#lost(1006, "");
  }

  #beat(frame) {
    this.#source = frame.source;
    this.#emit("heartbeat", frame);
  }

  #refused({ id, code, reason }) {
    for (const subscription of this.#subscriptions.values()) {
      if (id !== undefined && subscription.request === id) subscription.phase = "failed";
    }
    this.#fail(code, reason);
  }

  #lost(code, reason) {
    const lived = this.#openedAt ? Date.now() - this.#openedAt : 0;
    this.#hangUp();
    if (code >= 4500 && code <= 4999) { // the server asks us not to come back
      this.#fail(String(code), reason || "the server closed the connection for good");
      return this.close();
    }
    if (lived >= STABLE_MS) this.#attempt = 0;
    const [first, longest] = this.#options.backoffMs;
    const [low, high] = this.#drain ?? [0, Math.min(longest, first * 2 ** this.#attempt)];
    this.#drain = null;
    this.#attempt += 1;
    // Full jitter: a thousand clients that lost one server must not come back in step.
    this.#retry = setTimeout(() => this.#connect(), low + Math.random() * (high - low));
    this.#settle();
  }

  #hangUp() {
    const socket = this.#socket;
    this.#socket = null;
    this.#openedAt = 0;
    for (const subscription of this.#subscriptions.values()) subscription.phase = "waiting";
    socket?.close(); // on a dead link its close event comes minutes late: nobody waits for it
  }

  /** A dead link makes no sound, and a browser shows no WebSocket pings: only missing frames tell. */
  #checkLink() {
    if (this.#socket && Date.now() > this.#deadline) this.#lost(1006, "");
  }

  /** The network is back or the tab is looked at: no time for pauses, and no trust in an old link. */
  #nudge = ({ type }) => {
    if (type === "visibilitychange" && document.visibilityState === "hidden") return;
    if (this.#retry !== undefined) {
      clearTimeout(this.#retry);
      this.#connect();
    } else if (this.#openedAt) {
      this.#deadline = Math.min(this.#deadline, Date.now() + PROBE_MS);
      this.#send({ type: "ping" });
    }
  };

  #leave = (subscription) => {
    if (this.#subscriptions.get(subscription.channel) !== subscription) return;
    this.#subscriptions.delete(subscription.channel);
    if (this.#openedAt) this.#send({ type: "unsubscribe", channel: subscription.channel });
    this.#settle();
  };

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  // ---- what the outside hears

  #settle() {
    const state = this.#currentState();
    if (state === this.#state) return;
    this.#state = state;
    this.#emit("state", state);
  }

  /** @returns {State} */
  #currentState() {
    if (this.#closed) return "closed";
    if (!this.#openedAt) return this.#attempt ? "offline" : "connecting";
    if (this.#source === "down" || this.#source === "stalled") return "source_down";
    const behind = [...this.#subscriptions.values()].some(({ phase }) => phase === "waiting" || phase === "replaying");
    return behind || this.#source === "catching_up" ? "catching_up" : "live";
  }

  #emit(name, value) {
    for (const listener of this.#listeners.get(name) ?? []) listener(value);
  }

  #fail(code, reason, cause) {
    if (!this.#listeners.get("error")?.size) console.error(`rowcast: ${reason}`, cause ?? "");
    this.#emit("error", Object.assign(new Error(reason, { cause }), { code }));
  }

  /** A handler that throws must not stop the rows after it; the row counts as handed over. */
  #guarded(handler) {
    return (...values) => {
      try {
        handler(...values);
      } catch (error) {
        this.#fail("handler", `a handler threw: ${error}`, error);
      }
    };
  }

  // ---- cursors that outlive the page

  #key({ channel, options: { where } }) {
    return `rowcast ${this.#url} ${channel} ${JSON.stringify(where ?? {})}`;
  }

  #load(subscription) {
    try {
      return JSON.parse(this.#options.storage?.getItem(this.#key(subscription)) ?? "null");
    } catch {
      return null; // not ours, or storage is forbidden here: begin as if for the first time
    }
  }

  #saveSoon() {
    if (this.#options.storage) this.#saving ??= setTimeout(this.#save, SAVE_MS);
  }

  #save = () => {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    for (const subscription of this.#subscriptions.values()) {
      const { cursor } = subscription;
      if (cursor) this.#options.storage?.setItem(this.#key(subscription), JSON.stringify(cursor));
    }
  };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // no gateway says that: something on the way does
  }
}

/** The gateway that belongs to a page: same host, the port in its `rowcast-gateway-port` meta element. */
export function gatewayOf(document, location) {
  const port = document.querySelector('meta[name="rowcast-gateway-port"]')?.content;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.hostname}:${/^\d+$/.test(port) ? port : 8080}/`;
}
