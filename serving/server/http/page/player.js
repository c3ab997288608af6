// Plays pictures one after another, forth and back, until it is stopped.

const FRAME_TIME = 180; // Milliseconds.

export class Player {
  #timer = null;

  /** `frames` returns the pictures; `show` shows one and returns a promise. */
  constructor(button, frames, show) {
    this.button = button;
    this.frames = frames;
    this.show = show;
    button.addEventListener("click", () => (this.#timer === null ? this.#play() : this.stop()));
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.button.setAttribute("aria-pressed", "false");
    this.button.textContent = "Play";
  }

  #play() {
    this.button.setAttribute("aria-pressed", "true");
    this.button.textContent = "Stop";
    const forth = this.frames();
    const all = [...forth, ...forth.slice(1, -1).reverse()];
    let at = 0;
    const step = async () => {
      const mine = this.#timer;
      await this.show(all[at++ % all.length]);
      if (this.#timer === mine && mine !== null) this.#timer = setTimeout(step, FRAME_TIME);
    };
    this.#timer = setTimeout(step, 0);
  }
}
