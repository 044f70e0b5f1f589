// Playback of a recording: play, pause, speed and seek.

import { put } from "./numbers.js";

const $ = (id) => document.getElementById(id);

export class PlayerBar {
  constructor(page) {
    this.page = page;
    $("play").onclick = () => this.send({ playing: !this.state.playing });
    $("speed").onchange = () => this.send({ speed: Number($("speed").value) });
    $("seek").onchange = () => this.send({ seek: Number($("seek").value) });
    $("seek").oninput = () => put("position", this.words(Number($("seek").value)));
  }

  send(body) {
    this.page.connection.command("player", "", body).then(({ error }) => error && this.page.controls.say(error));
  }

  refresh() {
    this.state = this.page.run.player;
    $("player").hidden = !this.state;
    if (!this.state) return;
    $("play").textContent = this.state.playing ? "Pause playback" : "Play";
    for (const id of ["play", "speed", "seek"]) $(id).disabled = !this.page.commands;
    $("seek").max = this.state.length ?? 3600;
    const seconds = this.position();
    if (document.activeElement !== $("seek")) $("seek").value = seconds;
    put("position", this.words(seconds));
  }

  // Seconds from the beginning of the recording to the end of the traces.
  position() {
    const ppg = this.page.shown?.traces.ppg;
    if (!ppg?.chunks.length) return this.state.begin;
    if (this.from !== this.state.begin || this.first > ppg.chunks[0].t) {
      this.from = this.state.begin;
      this.first = ppg.chunks[0].t;
    }
    return this.from + ppg.end - this.first;
  }

  words(seconds) {
    const time = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
    const end = this.state.over ? "end of the recording, " : "";
    return end + time(seconds) + (this.state.length ? ` of ${time(this.state.length)}` : "");
  }
}
