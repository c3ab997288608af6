// A list of small pictures, each a button that puts its picture on stage.

import { bytesOf } from "./api.js";
import { rendered } from "./pictures.js";

export const sourceOf = (bytes) => URL.createObjectURL(new Blob([bytes], { type: "image/png" }));

export class Shelf {
  #round = 0;
  #pictures = [];

  constructor(list, show, report) {
    this.list = list;
    this.show = show;
    this.report = report;
  }

  /** Shows these pictures; the elements stay, so the focus stays too. */
  fill(scene, pictures, shown, caption = (picture) => picture.name) {
    const mine = ++this.#round;
    const wanted = () => mine === this.#round;
    this.#pictures = pictures;
    while (this.list.children.length > pictures.length) this.list.lastElementChild.remove();
    while (this.list.children.length < pictures.length) this.#add();
    pictures.forEach((picture, i) => this.#load(scene, picture, i, caption(picture, i), wanted));
    this.mark(shown);
  }

  /** Cancels the requests that have not started. */
  drop() {
    this.#round++;
    for (const { firstElementChild: button } of this.list.children) {
      button.removeAttribute("aria-busy");
    }
  }

  /** Marks the picture on stage. */
  mark(shown) {
    this.#pictures.forEach((picture, i) => {
      const button = this.list.children[i].firstElementChild;
      if (shown && picture.key === shown.key) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
  }

  #add() {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "thumb";
    button.append(document.createElement("img"));
    const index = this.list.children.length;
    button.addEventListener("click", () => this.show(this.#pictures[index]));
    item.append(button, document.createElement("p"));
    this.list.append(item);
  }

  async #load(scene, picture, i, caption, wanted) {
    const [button, text] = this.list.children[i].children;
    const image = button.firstElementChild;
    image.alt = "";
    button.setAttribute("aria-label", `Show ${picture.name}`);
    button.setAttribute("aria-busy", "true");
    button.classList.remove("failed");
    text.textContent = caption;
    try {
      const answer = await rendered(scene, picture, wanted);
      if (!wanted() || answer === null) return;
      const old = image.src;
      image.src = sourceOf(bytesOf(answer));
      await image.decode().catch(() => {});
      image.classList.toggle("small", image.naturalWidth < 200);
      if (old) URL.revokeObjectURL(old);
      if (wanted()) button.removeAttribute("aria-busy");
    } catch (error) {
      if (!wanted()) return;
      button.removeAttribute("aria-busy");
      button.classList.add("failed");
      image.removeAttribute("src"); // The old picture belongs to another entry.
      this.report(error);
    }
  }
}
