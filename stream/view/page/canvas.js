// Canvases of a plot, and shapes that several plots draw.

export class Plot {
  // Canvases one over the other that fill `host`; the origin is `gutter` px from the left.
  constructor(host, { layers = 1, gutter = 0 } = {}) {
    this.host = host;
    this.gutter = gutter;
    this.style = getComputedStyle(document.documentElement);
    this.layers = Array.from({ length: layers }, () => {
      const canvas = document.createElement("canvas");
      host.append(canvas);
      return canvas.getContext("2d");
    });
    new ResizeObserver(() => this.resize()).observe(host);
  }

  get layer() {
    return this.layers[0];
  }

  resize() {
    this.ratio = window.devicePixelRatio || 1;
    this.w = Math.max(10, this.host.clientWidth - this.gutter);
    this.h = Math.max(10, this.host.clientHeight);
    for (const layer of this.layers) {
      layer.canvas.width = Math.round((this.w + this.gutter) * this.ratio);
      layer.canvas.height = Math.round(this.h * this.ratio);
      layer.setTransform(this.ratio, 0, 0, this.ratio, this.gutter * this.ratio, 0);
    }
    this.repaint();
  }

  // Colour of the theme.
  paint(name) {
    return this.style.getPropertyValue(`--${name}`).trim();
  }

  clear(layer = this.layer) {
    layer.clearRect(-this.gutter, 0, this.w + this.gutter, this.h);
  }

  write(layer, name, align = "left") {
    layer.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    layer.fillStyle = this.paint(name);
    layer.textAlign = align;
    layer.textBaseline = "middle";
  }

  // Hatch a stretch from x on, w px wide and h px high.
  hatch(layer, x, w, h) {
    layer.save();
    layer.beginPath();
    layer.rect(x, 0, w, h);
    layer.clip();
    layer.globalAlpha = 0.5;
    layer.strokeStyle = this.paint("hatch");
    layer.lineWidth = 1;
    layer.beginPath();
    for (let k = Math.floor((x - h) / 9) * 9; k < x + w; k += 9) {
      layer.moveTo(k, h);
      layer.lineTo(k + h, 0);
    }
    layer.stroke();
    layer.restore();
  }

  // Line from top to bottom at x.
  upright(layer, x, h, name, width, dash) {
    layer.strokeStyle = this.paint(name);
    layer.lineWidth = width;
    layer.setLineDash(dash);
    layer.beginPath();
    layer.moveTo(x, 0);
    layer.lineTo(x, h);
    layer.stroke();
    layer.setLineDash([]);
  }
}
