// Short names for what the page does with its elements.

const PAUSE = 160; // Milliseconds after the last move of a slider.

export const element = (id) => document.getElementById(id);

export const on = (id, event, act) => element(id).addEventListener(event, act);

/** Calls `tell` at each move of a slider, and `act` when it rests. */
export function slider(id, tell, act) {
  let timer;
  on(id, "input", () => {
    tell();
    clearTimeout(timer);
    timer = setTimeout(act, PAUSE);
  });
}
