// The moment that is drawn: it runs evenly although samples come in chunks.

const MARGIN = 0.08; // s that the newest samples wait, against uneven arrival
const JUMP = 2.5; // s behind after which the head jumps

export class Playhead {
  constructor() {
    this.head = NaN; // s since the Unix epoch, of the signal
    this.end = NaN;
    this.rate = 1; // s of signal a second
    this.speed = 1;
    this.arrival = NaN;
  }

  // Samples from start to end (s of signal) have arrived at now (s of this computer).
  arrived(start, end, now) {
    if (isNaN(this.head) || start < this.head - JUMP - 60) this.head = start - MARGIN;
    if (now - this.arrival > 0.02) {
      const measured = Math.min(200, (end - this.end) / (now - this.arrival));
      if (measured > 0) this.rate += 0.15 * (measured - this.rate);
      if (Math.abs(this.rate - 1) < 0.12) this.rate = 1;
    }
    this.arrival = now;
    this.end = end;
    const late = end - this.head - (end - start) - MARGIN;
    if (late > JUMP * Math.max(1, this.rate)) {
      this.head = start - MARGIN;
      this.speed = this.rate;
    } else {
      this.speed = this.rate * Math.min(2.5, Math.max(0.6, 1 + (0.4 * late) / Math.max(0.3, end - start)));
    }
  }

  // Advance by dt seconds of this computer.
  step(dt) {
    if (!isNaN(this.head)) this.head = Math.min(this.end, this.head + this.speed * Math.min(dt, 0.5));
    return this.head;
  }
}
