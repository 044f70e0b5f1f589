// Connection to the run. The page asks when it has drawn; nothing comes unasked.

const AGAIN = 700; // ms until the next attempt
const SILENCE = 1900; // ms after which the server counts as lost; it answers within 1 s

export class Connection {
  constructor(onAnswer, onTrouble) {
    this.onAnswer = onAnswer;
    this.onTrouble = onTrouble;
    this.epoch = "";
    this.last = 0;
    this.asked = 0; // time of the request without an answer, ms; 0 for none
    this.replies = new Map();
    this.id = 0;
    this.open();
  }

  open() {
    const url = new URL("live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = "";
    url.hash = "";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.asked = 0;
    socket.onmessage = (message) => this.take(JSON.parse(message.data));
    socket.onclose = () => this.lost(socket);
  }

  lost(socket) {
    if (socket !== this.socket) return;
    this.socket = null;
    this.asked = 0;
    this.onTrouble("The run does not answer. Trying again …");
    for (const reply of this.replies.values()) reply({ ok: false, error: "the run does not answer" });
    this.replies.clear();
    setTimeout(() => this.open(), AGAIN);
  }

  take(answer) {
    if ("reply" in answer) {
      this.replies.get(answer.reply)?.(answer);
      this.replies.delete(answer.reply);
      return;
    }
    this.asked = 0;
    const restarted = this.epoch !== answer.epoch;
    this.epoch = answer.epoch;
    this.last = answer.last;
    this.onTrouble(null);
    this.onAnswer(answer, restarted);
  }

  // Ask for what is new, once the page has drawn what it has.
  ask(now) {
    const ready = this.socket && this.socket.readyState === WebSocket.OPEN;
    if (ready && !this.asked) {
      this.asked = now;
      this.socket.send(JSON.stringify({ epoch: this.epoch, after: this.last }));
    } else if (this.asked && now - this.asked > SILENCE) {
      const socket = this.socket;
      this.lost(socket);
      socket.close();
    }
  }

  // Send a command; resolves to {ok, error}.
  command(name, device, body) {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) {
      return Promise.resolve({ ok: false, error: "the run does not answer" });
    }
    const id = ++this.id;
    return new Promise((resolve) => {
      this.replies.set(id, resolve);
      this.socket.send(JSON.stringify({ command: name, device, body, id }));
    });
  }
}
