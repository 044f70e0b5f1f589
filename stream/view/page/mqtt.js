// Subscriber of an MQTT 5 broker over a WebSocket: messages of one topic, at most once.

const AGAIN = 2000; // ms until the next attempt
const KEEPALIVE = 30; // s
const LARGEST = 1 << 20; // bytes of a packet
const CONNACK = 2, PUBLISH = 3, SUBACK = 9;
const USER_PROPERTY = 0x26;
// Bytes of the other properties of a message, by identifier; "text": two bytes of length before.
const PROPERTIES = { 0x01: 1, 0x02: 4, 0x23: 2, 0x08: "text", 0x09: "text", 0x03: "text", 0x0b: "number" };

const utf8 = new TextEncoder(), text = new TextDecoder();

function packet(type, body) {
  const length = [];
  let left = body.length;
  do {
    length.push((left % 128) | (left > 127 ? 128 : 0));
    left >>= 7;
  } while (left);
  return Uint8Array.from([type, ...length, ...body]);
}

function field(value) {
  const bytes = utf8.encode(value);
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
}

// Number of up to four bytes at `at`: [value, next position]; null where it is not complete.
function number(bytes, at) {
  let value = 0;
  for (let k = 0; k < 4; k++) {
    if (at + k >= bytes.length) return null;
    value += (bytes[at + k] & 127) << (7 * k);
    if (bytes[at + k] < 128) return [value, at + k + 1];
  }
  throw new RangeError("a length of more than four bytes");
}

function string(bytes, at) {
  const end = at + 2 + (bytes[at] << 8) + bytes[at + 1];
  return [text.decode(bytes.subarray(at + 2, end)), end];
}

// User properties of a message.
export function userProperties(bytes, at, end) {
  const found = {};
  while (at < end) {
    const id = bytes[at++], size = PROPERTIES[id];
    if (id === USER_PROPERTY) {
      const [name, after] = string(bytes, at);
      [found[name], at] = string(bytes, after);
    } else if (size === "text") [, at] = string(bytes, at);
    else if (size === "number") [, at] = number(bytes, at);
    else if (size) at += size;
    else return found; // unknown: what follows cannot be read
  }
  return found;
}

export class MqttSubscriber {
  // Call take(topic, payload, user properties) for every message, and state(connected, reason).
  constructor(url, topic, take, state) {
    Object.assign(this, { url, topic, take, state });
    this.open();
  }

  open() {
    const socket = (this.socket = new WebSocket(this.url, "mqtt"));
    socket.binaryType = "arraybuffer";
    this.rest = new Uint8Array();
    socket.onopen = () => {
      socket.send(packet(0x10, [...field("MQTT"), 5, 2, 0, KEEPALIVE, 0, ...field("")]));
      this.ping = setInterval(() => socket.send(Uint8Array.from([0xc0, 0])), 500 * KEEPALIVE);
    };
    socket.onmessage = ({ data }) => {
      try {
        this.bytes(new Uint8Array(data));
      } catch (error) {
        console.info(`the broker's messages cannot be read: ${error}`);
        socket.close();
      }
    };
    socket.onclose = () => {
      clearInterval(this.ping);
      this.state(false, this.refusal);
      setTimeout(() => this.open(), AGAIN);
    };
  }

  // Packets may be cut anywhere.
  bytes(more) {
    const all = new Uint8Array(this.rest.length + more.length);
    all.set(this.rest);
    all.set(more, this.rest.length);
    let at = 0;
    while (at < all.length) {
      const length = number(all, at + 1);
      if (!length || length[1] + length[0] > all.length) break;
      if (length[0] > LARGEST) throw new RangeError("a packet is too large");
      this.packet(all[at], all.subarray(length[1], length[1] + length[0]));
      at = length[1] + length[0];
    }
    this.rest = all.slice(at);
    if (this.rest.length > LARGEST) throw new RangeError("a packet is too large");
  }

  packet(head, body) {
    const type = head >> 4;
    if (type === CONNACK) {
      this.refusal = body[1] ? `refused (${body[1]})` : null;
      if (!body[1]) this.socket.send(packet(0x82, [0, 1, 0, ...field(this.topic), 0]));
    } else if (type === SUBACK) {
      const refused = body.at(-1) >= 128;
      this.refusal = refused ? `its user may not read ${this.topic}` : null;
      this.state(!refused, this.refusal);
    } else if (type === PUBLISH) {
      const [topic, after] = string(body, 0);
      const [length, begin] = number(body, after); // at most once: no packet identifier
      this.take(topic, body.subarray(begin + length), userProperties(body, begin, begin + length));
    }
  }
}
