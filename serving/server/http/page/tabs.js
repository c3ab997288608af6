// Tabs by the ARIA pattern: arrows, Home and End move between them, Tab leaves them.

export class Tabs {
  /** `opened` is called with the id of the panel that was opened. */
  constructor(tabs, opened) {
    this.tabs = tabs;
    this.opened = opened;
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => this.select(tab));
      tab.addEventListener("keydown", (event) => this.#move(event, i));
    });
  }

  /** The id of the panel that is open. */
  get open() {
    const tab = this.tabs.find((one) => one.getAttribute("aria-selected") === "true");
    return tab.getAttribute("aria-controls");
  }

  select(tab) {
    for (const one of this.tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = one !== tab;
    }
    this.opened(this.open);
  }

  #move(event, i) {
    const last = this.tabs.length - 1;
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const target = this.tabs[(to + this.tabs.length) % this.tabs.length];
    target.focus();
    this.select(target);
  }
}
