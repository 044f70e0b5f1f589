// Recent samples of one waveform, each chunk with its own time: a gap stays a gap.

const MISSING = -32768;

export function decoded(text, scale) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const whole = new DataView(bytes.buffer);
  const samples = new Float32Array(bytes.length / 2);
  for (let i = 0; i < samples.length; i++) {
    const value = whole.getInt16(2 * i, true);
    samples[i] = value === MISSING ? NaN : value / scale;
  }
  return samples;
}

export class Trace {
  constructor(keep) {
    this.keep = keep; // s
    this.chunks = []; // {t: s since the Unix epoch, rate: Hz, samples}
  }

  get end() {
    const last = this.chunks.at(-1);
    return last ? last.t + last.samples.length / last.rate : NaN;
  }

  push(item) {
    const chunk = { t: item.t, rate: item.rate, samples: item.samples ?? decoded(item.data, item.scale) };
    if (item.t < this.end - 1) this.chunks.length = 0; // the stream has begun again
    this.chunks.push(chunk);
    while (this.chunks[0].t < chunk.t - this.keep) this.chunks.shift();
    return chunk;
  }

  // Index of the first chunk that ends after t.
  first(t) {
    let low = 0, high = this.chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1, chunk = this.chunks[middle];
      if (chunk.t + chunk.samples.length / chunk.rate > t) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  // Call visit(time, value, gap) for every sample in (from, to]; gap: no sample directly before.
  each(from, to, visit) {
    let previous = -Infinity;
    for (let i = this.first(from); i < this.chunks.length; i++) {
      const { t, rate, samples } = this.chunks[i];
      if (t > to) return;
      let k = Math.max(0, Math.floor((from - t) * rate + 1e-6) + 1);
      for (; k < samples.length; k++) {
        const time = t + k / rate;
        if (time > to) return;
        visit(time, samples[k], time - previous > 1.5 / rate);
        previous = time;
      }
    }
  }

  // Value of the sample nearest to t, at most half a sample away; NaN without one.
  at(t) {
    const i = this.first(t - 0.004);
    for (const chunk of this.chunks.slice(i, i + 2)) {
      const k = Math.round((t - chunk.t) * chunk.rate);
      if (k >= 0 && k < chunk.samples.length) return chunk.samples[k];
    }
    return NaN;
  }
}
