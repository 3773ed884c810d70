// The connection: every request is sent at once, the server answers the latest one with frames.

/** Decode header and arrays of a message; `fastnn/play/frames.py` describes the format. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  for (const [name, type, size] of frame.arrays) {
    frame[name] = new (type === "f8" ? Float64Array : Float32Array)(buffer, at, size);
    at += size * (type === "f8" ? 8 : 4);
  }
  return frame;
}

export class Link {
  constructor({ onframe, onerror, onstate }) {
    Object.assign(this, { onframe, onerror, onstate });
    this.number = 0;
    this.asked = new Map(); // time of each request, to measure the time to the picture
    this.wait = 250;
    this.open();
  }

  open() {
    this.socket = new WebSocket(`ws://${location.host}/train`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.wait = 250;
      this.onstate(true);
      if (this.last) this.ask(this.last);
    };
    this.socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return this.onframe(unpack(data));
      const { error } = JSON.parse(data);
      this.onerror(error);
    };
    this.socket.onclose = () => {
      this.onstate(false);
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(8000, 2 * this.wait);
    };
  }

  ask(settings) {
    this.last = settings;
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.number += 1;
    this.asked.set(this.number, performance.now());
    for (const number of this.asked.keys()) if (number < this.number - 200) this.asked.delete(number);
    this.socket.send(JSON.stringify({ id: this.number, settings }));
  }
}

/** Post settings or a file; returns the response, or throws an error with the server's message. */
export async function post(address, settings) {
  const body = settings instanceof Blob ? settings : JSON.stringify({ id: 0, settings });
  const response = await fetch(address, { method: "POST", body });
  if (!response.ok) {
    const text = await response.text();
    let message = text;
    try { message = JSON.parse(text).error; } catch { /* plain text */ }
    throw new Error(message);
  }
  return response;
}
