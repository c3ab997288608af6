// What the page tells its user: the state, errors, and the text for screen readers.

import * as api from "./api.js";
import { element } from "./dom.js";

export const say = (text) => (element("live").textContent = text);

export function state(text, kind = "") {
  element("state").textContent = text;
  element("state").className = `state ${kind}`;
}

/** Shows an error. A refused token shows the form for one. */
export function report(error) {
  if (error.status === 401) {
    element("token-form").hidden = false;
    if (api.token.get()) element("token").value = "";
    element("token").focus();
  }
  const first = error.status === 401 && !api.token.get();
  element("alert").hidden = first; // The form alone says that a token is needed.
  element("alert-text").textContent =
    error instanceof api.Failure ? error.message : `The page failed: ${error.message}`;
  state(error.status === 401 ? "token needed" : "error", "bad");
  if (!(error instanceof api.Failure)) console.error(error);
}
