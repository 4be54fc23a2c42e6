// A Line takes messages to the agent, one JSON object a line, over its Unix
// socket. Nothing waits for it: say puts a message into a queue of at most
// QUEUE and returns. While the agent is away it is asked again at most once a
// second, and only when there is something to say. What does not fit into the
// queue is dropped, oldest first, and counted; the agent is told the count.

import { createConnection } from "node:net";

const QUEUE = 256;
const RETRY = 1000; // ms

export class Line {
  #path;
  #hello;
  #queue = [];
  #lost = 0;
  #socket;
  #ready = false; // connected, and the socket takes more
  #retryAt = 0;

  // hello is said first on every connection.
  constructor(path, hello) {
    this.#path = path;
    this.#hello = hello;
  }

  say(message) {
    if (this.#queue.length >= QUEUE) {
      this.#queue.shift(); // the oldest is worth least
      this.#lost++;
    }
    this.#queue.push({ v: 1, t: Date.now(), ...message });
    this.#flush();
  }

  // waiting is how many messages are queued, for the tests.
  get waiting() {
    return this.#queue.length;
  }

  get lost() {
    return this.#lost;
  }

  #flush() {
    if (!this.#socket) {
      this.#connect();
      return;
    }
    while (this.#ready && this.#queue.length > 0) this.#write(this.#queue.shift());
  }

  #write(message) {
    if (this.#lost > 0) message = { ...message, lost: this.#lost };
    this.#lost = 0;
    this.#ready = this.#socket.write(JSON.stringify(message) + "\n");
  }

  #connect() {
    if (Date.now() < this.#retryAt) return;
    this.#retryAt = Date.now() + RETRY;
    const socket = createConnection(this.#path);
    this.#socket = socket;
    socket.unref(); // it must not keep the process from ending
    socket.on("connect", () => {
      if (socket !== this.#socket) return;
      this.#ready = true;
      this.#write({ v: 1, t: Date.now(), ...this.#hello });
      this.#flush();
    });
    socket.on("drain", () => {
      if (socket !== this.#socket) return;
      this.#ready = true;
      this.#flush();
    });
    socket.on("data", () => {}); // the agent has nothing to say; what is not read would hide its end
    socket.on("error", () => {}); // close follows
    socket.on("close", () => this.#drop(socket));
  }

  #drop(socket) {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    this.#ready = false;
  }
}
